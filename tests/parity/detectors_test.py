#!/usr/bin/env python3
"""Quantised detectors against FP32 on real photos: each is quantised on the shared group photos and some portraits,
then both look at those photos and at portraits that were not used. Of the faces FP32 finds, the share that the quantised one
finds too (boxes overlap by 0.9 or more, every landmark within 1 % of the face's width on average over its five),
and of its faces the share that FP32 has not (no overlap of 0.5), are held to what is reached.

usage: detectors_test.py UNIFACE
"""
import glob
import json
import math
import os
import subprocess
import sys
import tempfile

program = sys.argv[1]
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
passed = failed = 0
# percent: least share of FP32's faces matched by box, by box and landmarks, greatest share of new faces
# The search judges by FP32 instructions, on AMX machines too; margins are for other orders of summation.
FLOORS = {"yunet_n_320": (99.5, 99.5, 0.5), "scrfd_500m_kps_dynamic": (99.5, 99.5, 0.5),
          "ultraface_slim_320": (99.5, 99.5, 0.5), "retinaface_mnet025_320": (99.5, 99.5, 0.5)}

groups = sorted(glob.glob(os.path.join(shared, "testdata", "photos", "*.jpg")))
portraits = sorted(glob.glob(os.path.join(shared, "testdata", "lfw", "images", "*.jpg")))
if not groups or not portraits or not os.path.isdir(os.path.join(shared, "models")):
    print(f"SKIP detectors: no photos or models in {shared}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(77)


def check(label, ok, text):
    global passed, failed
    passed, failed = passed + ok, failed + (not ok)
    print(f"{'ok  ' if ok else 'FAIL'} {label}: {text}")


def call(*args, ok=(0,)):
    done = subprocess.run([program, *args], capture_output=True, text=True)
    if done.returncode not in ok:
        print(f"FAIL {' '.join(args[:6])}: {done.stderr.strip()[-500:]}")
        sys.exit(1)
    return done.stdout


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared_area = max(0, w) * max(0, h)
    return shared_area / (a[2] * a[3] + b[2] * b[3] - shared_area)


def same_points(a, b):
    if not a.get("landmarks") or not b.get("landmarks"):
        return True
    p, q = a["landmarks"], b["landmarks"]
    distance = sum(math.hypot(p[i] - q[i], p[i + 1] - q[i + 1]) for i in range(0, 10, 2)) / 5
    return distance <= 0.01 * a["box"][2]


def compare(want, got):
    """Faces of FP32, how many are matched by box, by box and landmarks, faces of the quantised one, how many are new."""
    counts = [0] * 5
    for a, b in zip(want, got):
        counts[0] += len(a["faces"])
        counts[3] += len(b["faces"])
        for f in a["faces"]:
            near = [g for g in b["faces"] if overlap(f["box"], g["box"]) >= 0.9]
            counts[1] += bool(near)
            counts[2] += any(same_points(f, g) for g in near)
        for g in b["faces"]:
            counts[4] += all(overlap(f["box"], g["box"]) < 0.5 for f in a["faces"])
    return counts


def hold(label, name, pictures, floors):
    """Quantises a detector with these pictures and holds what it finds to the floors."""
    by_box, by_points, most = floors
    with tempfile.TemporaryDirectory() as folder:
        photos = os.path.join(folder, "calibration.txt")
        with open(photos, "w") as f:
            f.writelines(p + "\n" for p in pictures)
        source, small = os.path.join(folder, "d.ufm"), os.path.join(folder, "d8.ufm")
        call("import", os.path.join(shared, "models", name + ".onnx"), "-o", source)
        made = call("quantize", source, "-o", small, "--calibration", photos, "--range", "mse")
        want, got = (json.loads(call("detect", *looked_at, "-d", d, "--json", ok=(0, 1)))
                     for d in (source, small))
    faces, boxes, matched, found, new = compare(want, got)
    check(label, 100 * boxes >= by_box * faces and 100 * matched >= by_points * faces and 100 * new <= most * found,
          f"{100 * boxes / faces:.2f} % of {faces} faces matched by box, "
          f"{100 * matched / faces:.2f} % by landmarks too, "
          f"{100 * new / found:.2f} % of {found} new; " + made.strip().split("\n")[-1])


looked_at = groups + portraits[4::8]
for detector, least in FLOORS.items():
    hold(detector, detector, groups + portraits[::200], least)
# Half of the faces that are looked at are small, in groups; portraits have none of these.
hold("yunet_n_320, calibrated with portraits", "yunet_n_320", portraits[::16], (88.0, 50.0, 0.5))
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(1 if failed else 0)
