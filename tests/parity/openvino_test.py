#!/usr/bin/env python3
"""The shared OpenVINO networks against OpenVINO itself.

usage: openvino_test.py UNIFACE

Bars: cosine of each output >= 0.9999, for networks in INT8 >= 0.99 and 85 % of their multiplications on bytes (a first
layer may be left out).
OpenVINO computes what an INT8 file says, in FP32: its own INT8 differs from that by more than ours does
(face-reidentification-retail-0095: cosine 0.990, ours 0.998). Of networks that end in DetectionOutput
boxes and scores are ours; with its thresholds they must give the same faces.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

passed = failed = 0


def finish(skipped=0):
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 77 if skipped else 0)


program = sys.argv[1]
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
networks = sorted(glob.glob(os.path.join(shared, "models", "openvino", "*.xml")))
photos = sorted(glob.glob(os.path.join(shared, "testdata", "lfw", "images", "*.jpg")))
groups = sorted(glob.glob(os.path.join(shared, "testdata", "photos", "*.jpg")))
if not networks or not photos or not groups:
    print(f"SKIP openvino: no networks or photos in {shared}")
    finish(1)
try:
    import numpy as np
    import openvino as ov
    from PIL import Image
except ImportError as e:
    print(f"SKIP openvino: the Python package {e.name} is not installed")
    finish(1)


def check(label, ok, text):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'ok  ' if ok else 'FAIL'} {label}: {text}")


def overlap(a, b):
    w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    area = max(0, w) * max(0, h)
    return area / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - area)


def check_faces(name, detections, folder):
    """Rows (image, class, score, corners) of DetectionOutput against our boxes and scores, from which overlapping
    boxes are dropped as it does."""
    out = [np.load(os.path.join(folder, f"y{i}.npy"))[0] for i in range(2)]
    scores, boxes = sorted(out, key=lambda a: a.shape[1])
    best = [i for i in np.argsort(-scores[:, 1], kind="stable")[:400] if scores[i, 1] > 0.01]
    kept = []
    for i in best:
        if all(overlap(boxes[i], boxes[k]) <= 0.45 for k in kept):
            kept.append(i)
    least, near, far = (0.3, 0.85, 0.1) if "INT8" in name else (0.02, 0.99, 1e-3)
    want = [row for row in detections.reshape(-1, 7) if row[0] >= 0 and row[2] > least]
    found = sum(any(overlap(row[3:], boxes[k]) >= near and abs(row[2] - scores[k, 1]) <= far for k in kept)
                for row in want)
    ours = sum(scores[k, 1] > least for k in kept)
    check(name, want and found >= (0.9 if "INT8" in name else 1) * len(want) and abs(ours - len(want)) <= len(want) // 20,
          f"{found} of {len(want)} faces at overlap {near}, scores within {far}; ours {ours}")


def share_in_bytes(model):
    """Of the multiplications, how many run on bytes."""
    steps = json.loads(subprocess.run([program, "inspect", model, "--json"], capture_output=True, check=True).stdout)["steps"]
    return sum(s["macs"] for s in steps if s["op"] == "QConv") / sum(s["macs"] for s in steps)


core = ov.Core()
for path in networks:
    name = os.path.basename(path)[:-4]
    with tempfile.TemporaryDirectory() as folder:
        made = os.path.join(folder, "m.ufm")
        done = subprocess.run([program, "import", path, "-o", made], capture_output=True, text=True)
        if done.returncode:
            check(name, False, done.stderr.strip())
            continue
        model = core.read_model(path)
        shape = list(model.inputs[0].shape)
        detects = any(op.get_type_name() == "DetectionOutput" for op in model.get_ops())
        photo = Image.open(groups[0] if detects else photos[100]).convert("RGB")
        photo = (photo if detects else photo.crop((60, 60, 190, 190))).resize((shape[3], shape[2]))
        x = np.ascontiguousarray(np.asarray(photo, np.float32)[:, :, ::-1].transpose(2, 0, 1)[None])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"})
        golden = compiled(x)
        np.save(os.path.join(folder, "x.npy"), x)
        done = subprocess.run([program, "run", made, os.path.join(folder, "x.npy"), "-o", os.path.join(folder, "y")],
                              capture_output=True, text=True)
        if done.returncode:
            check(name, False, done.stderr.strip())
            continue
        if "INT8" in name:
            share = share_in_bytes(made)
            check(f"{name} in bytes", share > 0.85, f"{100 * share:.1f} % of the multiplications")
        if detects:
            check_faces(name, golden[0], folder)
            continue
        worst = 1.0
        for i in range(len(model.outputs)):
            a = np.array(golden[i], dtype=np.float64).ravel()
            y = np.load(os.path.join(folder, f"y{i}.npy")).astype(np.float64).ravel()
            worst = min(worst, float(a @ y / (np.linalg.norm(a) * np.linalg.norm(y) + 1e-30)) if a.size == y.size else -1)
        bar = 0.99 if "INT8" in name else 0.9999
        check(name, worst >= bar, f"cosine {worst:.6f} (bar {bar})")
finish()
