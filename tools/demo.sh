#!/bin/sh
# The main job: demo.sh UNIFACE [DETECTOR [EMBEDDER [A1 A2 B]]], where pictures A1 and A2 show the same person.
# What is not given comes with the project: its own models, and faces that it draws.
set -eu
uniface=$1 detector=${2:-} embedder=${3:-}
shift
[ $# -gt 0 ] && shift
[ $# -gt 0 ] && shift
if [ $# -ne 0 ] && [ $# -ne 3 ]; then
    echo 'the demo takes three pictures, two of one person and one of another:' >&2
    echo '  make demo PHOTOS="anna1.jpg anna2.jpg ben.jpg"' >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Networks that were named are imported; without names the built-in ones are taken.
models="" drawn=""
[ -z "$detector" ] && [ -z "$embedder" ] || echo "== import"
if [ -n "$detector" ]; then
    "$uniface" import "$detector" -o "$work/detector.ufm"
    models="--detector $work/detector.ufm"
fi
embed_with=""
if [ -n "$embedder" ]; then
    "$uniface" import "$embedder" -o "$work/embedder.ufm"
    embed_with="--embedder $work/embedder.ufm"
fi
if [ $# -eq 0 ]; then
    drawn=yes
    echo "== drawing three pictures: one person twice, another once"
    python3 "$(dirname "$0")/draw_person.py" 6 1 "$work/anna-1.png"
    python3 "$(dirname "$0")/draw_person.py" 6 2 "$work/anna-2.png"
    python3 "$(dirname "$0")/draw_person.py" 11 1 "$work/ben.png"
    set -- "$work/anna-1.png" "$work/anna-2.png" "$work/ben.png"
fi

# `verify` says "no" by exit status 1, and 3 when a model has no threshold: both are answers here.
compare() {
    printf '%s and %s: ' "$(basename "$1")" "$(basename "$2")"
    # shellcheck disable=SC2086
    "$uniface" verify "$1" "$2" $models $embed_with 2>"$work/said" || [ $? -ne 2 ] ||
        { cat "$work/said" >&2; exit 2; }
}

echo "== faces"
# shellcheck disable=SC2086
"$uniface" detect "$@" $models
echo "== templates"
# shellcheck disable=SC2086
"$uniface" embed "$@" $models $embed_with -o "$work/templates.npy"
echo "== comparisons"
compare "$1" "$2"
compare "$1" "$3"
[ -z "$drawn" ] || echo "(Drawn faces are more alike than people: thresholds, measured on photos, are too low for them; the
scores show who is who. With photos of your own: make demo PHOTOS=\"anna1.jpg anna2.jpg ben.jpg\")"
# shellcheck disable=SC2086
"$uniface" detect "$1" $models --draw demo-faces.png >/dev/null 2>&1
echo "== annotated picture: demo-faces.png"
