#!/bin/sh
# How the built-in models were made: train.sh UNIFACE PICTURES TEACHERS OUT
#
# PICTURES: a folder with generated.tar (4,000 faces, 160x160, five landmarks each in its landmarks.tsv) and
# scenes_generated.tar (900 pictures before cropping). TEACHERS: a folder with face_reid_retail_0095.onnx (Open Model
# Zoo, Apache-2.0) and yunet_n_dynamic.onnx (YuNet, Apache-2.0). About two hours on two cores; runs that are
# interrupted go on.
set -eu
uniface=$1 pictures=$2 teachers=$3 out=$4
mkdir -p "$out/faces"

"$uniface" import "$teachers/face_reid_retail_0095.onnx" -o "$out/reid.ufm"
"$uniface" import "$teachers/yunet_n_dynamic.onnx" -o "$out/yunet.ufm"
tar xf "$pictures/generated.tar" -C "$out/faces"
# The teacher in INT8 says nearly the same (mean cosine 0.997) several times as fast.
"$uniface" quantize "$out/reid.ufm" -c "$out/faces" -d "$out/yunet.ufm" -n 200 -o "$out/reid-int8.ufm"

"$uniface" distill -T "$out/reid-int8.ufm" -s mobilefacenet-0.5x "$pictures/generated.tar" \
    -n 64 -b 64 -t 1 --precision bf16 --rate 0.003 --final-rate 0.00002 --decay 0.05 --relational 4 \
    --augment 1.2 --blend 0.5 --occlude 0.15 --average 0.9995 --seed 1 \
    --checkpoint "$out/embedder.ckpt" -o "$out/large_accuracy_model.ufm"
"$uniface" quantize "$out/large_accuracy_model.ufm" -c "$out/faces" -d "$out/yunet.ufm" -n 500 \
    -o "$out/quantized_int8_embedder.ufm"

# First at 256 pixels, then at 320, from what the first has learned.
"$uniface" distill -T "$out/yunet.ufm" -s "$(dirname "$0")/yunet256.txt" \
    "$pictures/generated.tar" "$pictures/scenes_generated.tar" -n 14 -b 16 -t 1 --rate 0.003 --final-rate 0.00003 \
    --decay 0.01 --checkpoint "$out/detector256.ckpt" -o "$out/detector256.ufm"
"$uniface" meta "$out/detector256.ufm" detector.size=320
"$uniface" finetune "$out/detector256.ufm" "$pictures/generated.tar" "$pictures/scenes_generated.tar" \
    -T "$out/yunet.ufm" -n 7 -b 16 -t 1 --rate 0.0015 --final-rate 0.00001 --decay 0.01 --average 0.998 --seed 7 \
    --checkpoint "$out/detector.ckpt" -o "$out/detector.ufm"
