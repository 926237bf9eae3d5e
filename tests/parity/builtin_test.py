#!/usr/bin/env python3
"""The models that come with the program do what their cards and models/README.md say of them, on photos that
nothing was learned from: embedders by the pairs of LFW, detectors beside their teacher. Prints the table.

usage: builtin_test.py UNIFACE DETECTOR_DISTANCE MODELS [--all]

Detectors see every fourth photo of LFW; with --all each, as for the table of models/README.md.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end, skip

program, distance, models = sys.argv[1:4]
every = 1 if "--all" in sys.argv[4:] else 4
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
photos = os.path.join(shared, "testdata")
# Accuracy on LFW in percent: detector, embedder. models/README.md has what one machine measured; other instructions, other
# last bits, and a few pairs fall on the other side.
PAIRS = [("detector", "large_accuracy_model", 85.9), ("detector", "quantized_int8_embedder", 85.6),
         ("edge_detector", "edge_embedder", 79.9), ("research-detector", "research-embedder", 95.2)]
# Photos; faces the picture is about that are found, false detections, distance of the points, all in percent, with room
# for the chance of a few photos.
DETECTORS = {"detector": {"lfw": (99.8, 1.1, 5), "london": (100, 0, 4.3)},
             "edge_detector": {"lfw": (99, 4.5, 11.2), "london": (100, 0, 9)},
             "research-detector": {"lfw": (99.8, 1.5, 6), "london": (100, 0, 5)}}

if not os.path.exists(os.path.join(photos, "lfw", "pairs.tsv")):
    skip(f"built-in models: no {photos}")
    end()


def report(label, ok, text):
    print(f"{label}: {text}", flush=True)
    check(label, ok)


def call(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        print(f"FAIL {' '.join(args)}: {done.stderr.strip()[-500:]}")
        sys.exit(1)
    return done.stdout


def model(name):
    return os.path.join(models, name + ".ufm")


def check_embedder(detector, embedder, floor):
    card = json.loads(call(program, "meta", model(embedder), "--json"))["card.accuracy"]
    found = json.loads(call(program, "evaluate", model(embedder), "-d", model(detector), "--flip", "--bootstrap", "0", "--json", "--pairs",
                            os.path.join(photos, "lfw", "pairs.tsv"), "--images", os.path.join(photos, "lfw", "images")))
    accuracy = 100 * found["folds"]["accuracy"]
    report(f"{embedder} with {detector}", accuracy >= floor, f"LFW {accuracy:.2f} %, at least {floor} %")
    check(f"{embedder} is as accurate as its card says", abs(accuracy - float(card.split()[1])) <= 0.3)
    return accuracy


def check_detector(name, teacher, pictures, listing):
    with open(listing, "w") as f:
        f.writelines(p + "\n" for p in pictures[1])
    r = json.loads(call(distance, model(name), teacher, listing))
    found, false, points = DETECTORS[name][pictures[0]]
    main = r["main"]
    kinds = ", ".join(f"{k} {r[k]['found']}/{r[k]['seen']} {r[k]['points']:.1f} %"
                      for k in ("main", "large", "turned", "edge", "other", "small") if r[k]["seen"])
    report(f"{name} on {pictures[0]}",
          main["seen"] > 0 and 100 * main["found"] >= found * main["seen"] and 100 * r["false"] <= false * r["detections"]
          and main["points"] <= points,
          f"found and distance of points: {kinds}; false {r['false']} of {r['detections']}; of main faces "
          f"{main['points_one_view']:.1f} % from the teacher's one view, which is {main['teacher']:.1f} % from its mean")


with tempfile.TemporaryDirectory() as folder:
    teacher = os.path.join(folder, "yunet.ufm")
    call(program, "import", os.path.join(shared, "models", "yunet_n_dynamic.onnx"), "-o", teacher)
    london = sorted(glob.glob(os.path.join(photos, "london", "*.jpg")))
    sets = [("lfw", sorted(glob.glob(os.path.join(photos, "lfw", "images", "**", "*.jpg"), recursive=True))[::every]),
            ("london", london[len(london) // 2:])]  # the first half is learned from
    for name in DETECTORS:
        for pictures in sets:
            check_detector(name, teacher, pictures, os.path.join(folder, "list"))
    accuracy = [check_embedder(*row) for row in PAIRS]
    check("INT8 costs at most 0.3 points", accuracy[1] >= accuracy[0] - 0.3)
end()
