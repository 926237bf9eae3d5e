#!/usr/bin/env python3
"""The shared OpenVINO networks against OpenVINO itself.

usage: openvino_test.py UNIFACE

Bars: cosine of each output >= 0.9999, for networks in INT8 >= 0.99. Networks that end in
DetectionOutput must be refused by name.
"""
import glob
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
if not networks or not photos:
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


core = ov.Core()
for path in networks:
    name = os.path.basename(path)[:-4]
    with tempfile.TemporaryDirectory() as folder:
        made = os.path.join(folder, "m.ufm")
        done = subprocess.run([program, "import", path, "-o", made], capture_output=True, text=True)
        if "face-detection-retail-0004" in name:
            check(name, done.returncode == 3 and "not supported" in done.stderr, done.stderr.strip()[-120:])
            continue
        if done.returncode:
            check(name, False, done.stderr.strip())
            continue
        model = core.read_model(path)
        shape = list(model.inputs[0].shape)
        photo = Image.open(photos[100]).convert("RGB").crop((60, 60, 190, 190)).resize((shape[3], shape[2]))
        x = np.ascontiguousarray(np.asarray(photo, np.float32)[:, :, ::-1].transpose(2, 0, 1)[None])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        golden = compiled(x)
        np.save(os.path.join(folder, "x.npy"), x)
        done = subprocess.run([program, "run", made, os.path.join(folder, "x.npy"), "-o", os.path.join(folder, "y")],
                              capture_output=True, text=True)
        if done.returncode:
            check(name, False, done.stderr.strip())
            continue
        worst = 1.0
        for i in range(len(model.outputs)):
            a = np.array(golden[i], dtype=np.float64).ravel()
            y = np.load(os.path.join(folder, f"y{i}.npy")).astype(np.float64).ravel()
            worst = min(worst, float(a @ y / (np.linalg.norm(a) * np.linalg.norm(y) + 1e-30)) if a.size == y.size else -1)
        bar = 0.99 if "INT8" in name else 0.9999
        check(name, worst >= bar, f"cosine {worst:.6f} (bar {bar})")
finish()
