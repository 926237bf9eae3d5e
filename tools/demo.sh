#!/bin/sh
# The main job: demo.sh UNIFACE DETECTOR.onnx EMBEDDER.onnx A1.jpg A2.jpg B.jpg, where A1 and A2 show the
# same person. What is not given is taken from the shared test inputs, where these lie next to the project.
set -eu
uniface=$1 detector=${2:-} embedder=${3:-}
shift
[ $# -gt 0 ] && shift
[ $# -gt 0 ] && shift
shared=${UNIFACE_SHARED:-../shared}
if [ -z "$detector" ] && [ -f "$shared/models/yunet_n_320.onnx" ]; then
    detector=$shared/models/yunet_n_320.onnx
fi
if [ -z "$embedder" ] && [ -f "$shared/models/mobilefacenet_foamliu.onnx" ]; then
    embedder=$shared/models/mobilefacenet_foamliu.onnx
fi
london=$shared/testdata/london
if [ $# -eq 0 ] && [ -f "$london/001_neutral.jpg" ]; then
    set -- "$london/001_neutral.jpg" "$london/001_smiling.jpg" "$london/002_neutral.jpg"
fi
if [ -z "$detector" ] || [ -z "$embedder" ] || [ $# -ne 3 ]; then
    cat <<'EOF'
The demo needs two networks and three photos; there are no built-in models yet. Public ones:
  detector  YuNet (MIT), face_detection_yunet_2023mar.onnx of
            https://github.com/opencv/opencv_zoo (models/face_detection_yunet)
  embedder  SFace (Apache-2.0), face_recognition_sface_2021dec.onnx of
            https://github.com/opencv/opencv_zoo (models/face_recognition_sface)
            or MobileFaceNet (Apache-2.0) of https://github.com/foamliu/MobileFaceNet
Then, with two photos of one person and one of another:
  make demo DETECTOR=yunet.onnx EMBEDDER=sface.onnx PHOTOS="anna1.jpg anna2.jpg ben.jpg"
EOF
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# `verify` says "no" by exit status 1, and 3 when a model has no threshold: both are answers here.
compare() {
    printf '%s and %s: ' "$(basename "$1")" "$(basename "$2")"
    "$uniface" verify "$1" "$2" -d "$work/detector.ufm" -e "$work/embedder.ufm" \
        --far 0.01 || [ $? -ne 2 ]
}

echo "== import"
"$uniface" import "$detector" -o "$work/detector.ufm"
"$uniface" import "$embedder" -o "$work/embedder.ufm"
if [ -f "$shared/testdata/lfw/pairs.tsv" ]; then
    echo "== calibrate on the first 200 test pairs of either kind"
    awk '$3 == 1 && s++ < 200 || $3 == 0 && d++ < 200' "$shared/testdata/lfw/pairs.tsv" >"$work/pairs"
    "$uniface" calibrate "$work/embedder.ufm" -d "$work/detector.ufm" -p "$work/pairs" \
        -i "$shared/testdata/lfw/images"
fi
echo "== faces"
"$uniface" detect "$@" -d "$work/detector.ufm"
echo "== templates"
"$uniface" embed "$@" -d "$work/detector.ufm" -e "$work/embedder.ufm" -o "$work/templates.npy"
echo "== comparisons"
compare "$1" "$2"
compare "$1" "$3"
"$uniface" detect "$1" -d "$work/detector.ufm" --draw demo-faces.png >/dev/null
echo "== annotated picture: demo-faces.png"
