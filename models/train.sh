#!/bin/sh
# How the models were made: train.sh UNIFACE PICTURES RESEARCH TEACHERS OUT
#
# PICTURES: a folder with generated.tar (4,000 faces, 160x160, five landmarks each in its landmarks.tsv),
# scenes_generated.tar (900 pictures before cropping) and london (the first 51 people of the Face Research Lab London
# Set, neutral and smiling). RESEARCH: a folder with All-Age-Faces and UTKFace in the same form
# (aaf_*.tar, aaf_landmarks.tsv, utk_*.tar, utk_landmarks.tsv, scenes_aaf.tar, scenes_mask.tar), for the research pair
# only. TEACHERS: a folder with face_reid_retail_0095.onnx (Open Model Zoo, Apache-2.0) and yunet_n_dynamic.onnx (YuNet,
# Apache-2.0). About eight hours of one core; runs that are interrupted go on.
set -eu
uniface=$1 pictures=$2 research=$3 teachers=$4 out=$5
here=$(dirname "$0")
mkdir -p "$out/faces" "$out/scenes"

"$uniface" import "$teachers/face_reid_retail_0095.onnx" -o "$out/reid.ufm"
"$uniface" import "$teachers/yunet_n_dynamic.onnx" -o "$out/yunet.ufm"
tar xf "$pictures/generated.tar" -C "$out/faces"
tar xf "$pictures/scenes_generated.tar" -C "$out/scenes"
# The teacher in INT8 says nearly the same (mean cosine 0.997) several times as fast.
"$uniface" quantize "$out/reid.ufm" -c "$out/faces" -d "$out/yunet.ufm" -n 200 -o "$out/reid-int8.ufm"

# ---- embedders: embedder NAME WIDTH EPOCHS PICTURES... -- OPTION... ----
embedder() {
    name=$1 width=$2 epochs=$3
    shift 3
    "$uniface" distill -T "$out/reid-int8.ufm" -s "mobilefacenet-$width" "$@" -n "$epochs" -b 64 -t 1 --precision bf16 \
        --final-rate 0.00002 --decay 0.05 --relational 4 --seed 1 --checkpoint "$out/$name.ckpt" -o "$out/$name.ufm"
}
embedder large_accuracy_model 0.5x 64 "$pictures/generated.tar" \
    --rate 0.003 --augment 1.2 --blend 0.5 --occlude 0.15 --average 0.9995
"$uniface" quantize "$out/large_accuracy_model.ufm" -c "$out/faces" -d "$out/yunet.ufm" -n 500 \
    -o "$out/quantized_int8_embedder.ufm"
embedder edge 0.25x 36 "$pictures/generated.tar" --rate 0.004 --augment 1.1 --blend 0.5 --occlude 0.1 --average 0.999
"$uniface" quantize "$out/edge.ufm" -c "$out/faces" -d "$out/yunet.ufm" -n 500 -o "$out/edge_embedder.ufm"
embedder research-embedder 0.75x 16 "$pictures/generated.tar" "$research/aaf_landmarks.tsv" "$research/utk_landmarks.tsv" \
    --rate 0.003 --augment 1 --blend 0.35 --occlude 0.1 --average 0.9995

# ---- detectors: first at 256 pixels, then at 320, from what the first has learned ----
detector() { # NAME DESCRIPTION EPOCHS PRECISION FINAL_RATE EPOCHS RATE AVERAGE
    "$uniface" distill -T "$out/yunet.ufm" -s "$here/$2" "$pictures/generated.tar" "$pictures/scenes_generated.tar" \
        -n "$3" -b 16 -t 1 --precision "$4" --rate 0.003 --final-rate "$5" --decay 0.01 \
        --checkpoint "$out/$1-256.ckpt" -o "$out/$1-256.ufm"
    "$uniface" meta "$out/$1-256.ufm" detector.size=320
    "$uniface" finetune "$out/$1-256.ufm" "$pictures/generated.tar" "$pictures/scenes_generated.tar" -T "$out/yunet.ufm" \
        -n "$6" -b 16 -t 1 --rate "$7" --final-rate 0.00001 --decay 0.01 --average "$8" --seed 7 \
        --checkpoint "$out/$1.ckpt" -o "$out/$1.ufm"
}
detector detector detector.txt 30 bf16 0.0001 7 0.0012 0.999
detector edge-detector edge_detector.txt 14 fp32 0.00003 7 0.0015 0.998
"$uniface" quantize "$out/edge-detector.ufm" -c "$out/scenes" -n 300 -o "$out/edge_detector.ufm"
"$uniface" finetune "$out/detector.ufm" "$pictures/generated.tar" "$pictures/scenes_generated.tar" \
    "$research/aaf_landmarks.tsv" "$research/scenes_aaf.tar" "$research/scenes_mask.tar" "$research/utk_landmarks.tsv" \
    -T "$out/yunet.ufm" -n 1 -b 16 -t 1 --rate 0.001 --final-rate 0.00001 --decay 0.01 --average 0.998 --seed 8 \
    --checkpoint "$out/research-detector.ckpt" -o "$out/research-detector.ufm"
# The default detector goes on twice, among scenes that are bent and hold new faces; detector-3.ufm is what comes with
# the program as detector.ufm. (The teacher's mirror image was not asked yet when the stages before this were trained.)
again() { # FROM TO EPOCHS RATE SEED
    "$uniface" finetune "$out/$1.ufm" "$pictures/generated.tar" "$pictures/scenes_generated.tar" "$pictures/london" \
        -T "$out/yunet.ufm" -n "$3" -b 16 -t 1 --blend 0.5 --occlude 0.15 --rate "$4" --final-rate 0.00001 --decay 0.01 \
        --average 0.999 --seed "$5" --checkpoint "$out/$2.ckpt" -o "$out/$2.ufm"
}
again detector detector-2 16 0.0015 11
again detector-2 detector-3 11 0.0012 12
# From which score on it is a face: few that are none to YuNet, on photos of LFW (README.md).
"$uniface" meta "$out/detector-3.ufm" detector.score=0.66
"$uniface" meta "$out/edge_detector.ufm" detector.score=0.76
"$uniface" meta "$out/research-detector.ufm" detector.score=0.74
