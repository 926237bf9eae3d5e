#!/usr/bin/env python3
"""Every network of the shared inputs in BF16 and FP16 beside FP32, on real photos: as the machine computes
them, and with the instruction sets masked that multiply 16-bit numbers, where only storage rounds.

usage: half_test.py UNIFACE [MODEL-NAME-PART]

Bars for the cosine of every output to FP32's: FP16 0.9999, and no more than 1e-5 lost by the computing; BF16,
whose numbers have 8 bits, 0.99.
With HALF_VERBOSE=1 the cosines are printed.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end, skip  # noqa: E402

program = sys.argv[1]
part = sys.argv[2] if len(sys.argv) > 2 else ""
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
photos = sorted(glob.glob(os.path.join(shared, "testdata", "lfw", "images", "*.jpg")))
manifest = os.path.join(shared, "models", "MANIFEST.tsv")
if not photos or not os.path.exists(manifest):
    skip(f"half: no networks or photos in {shared}")
    end()
try:
    import numpy as np
    from networks import distance, network_input
except ImportError as e:
    skip(f"half: the Python package {e.name} is not installed")
    end()

verbose = bool(os.environ.get("HALF_VERBOSE"))


def call(*args, cpu=""):
    return subprocess.run([program, *args], capture_output=True, text=True, env=dict(os.environ, UNIFACE_CPU=cpu))


def run(path, x, folder, cpu):
    np.save(os.path.join(folder, "x.npy"), x)
    done = call("run", path, os.path.join(folder, "x.npy"), "-o", os.path.join(folder, "y"), cpu=cpu)
    if done.returncode:
        return done.stderr.strip()
    return [np.load(os.path.join(folder, f"y{i}.npy"))
            for i in range(len(glob.glob(os.path.join(folder, "y*.npy"))))]


def kernels(path, cpu):
    done = call("inspect", path, "--json", cpu=cpu)
    return {s["kernel"] for s in json.loads(done.stdout)["steps"]} if not done.returncode else set()


BARS = {"bf16": 0.99, "fp16": 0.9999}


def compare(name, shape, folder):
    wide = os.path.join(folder, "f32.ufm")
    done = call("import", os.path.join(shared, "models", name), "-o", wide)
    check(f"{name}: import", done.returncode == 0, done.stderr)
    inputs = [network_input(name, shape, photo) for photo in photos[:1000:250]]
    golden = [run(wide, x, folder, "") for x in inputs]
    for precision in ("fp16", "bf16"):
        small = os.path.join(folder, precision + ".ufm")
        done = call("quantize", wide, "-p", precision, "-o", small)
        check(f"{name}: quantize to {precision}", done.returncode == 0, done.stderr)
        masked = kernels(small, "avx2")
        check(f"{name}: AVX2 computes {precision} in FP32", not any("f16" in k for k in masked), masked)
        lost = {}
        for cpu in ("avx2", ""):
            found = [run(small, x, folder, cpu) for x in inputs]
            label = f"{name}: {precision}{' stored only' if cpu else ''}"
            if any(isinstance(y, str) or len(y) != len(g) for g, y in zip(golden, found)):
                check(label, False, found)
                continue
            least = min(distance(g, y)[0] for gs, ys in zip(golden, found) for g, y in zip(gs, ys))
            lost[cpu] = 1 - least
            check(label, least >= BARS[precision], f"cosine {least:.7f}, the bar is {BARS[precision]}")
            if verbose:
                print(f"{label}: cosine {least:.7f}")
        if precision == "fp16" and len(lost) == 2:
            check(f"{name}: computing FP16", lost[""] <= lost["avx2"] + 1e-5, lost)


with open(manifest) as f:
    rows = [line.split("\t") for line in f.read().splitlines()[1:]]
for row in rows:
    # Graphs that round to INT8 themselves amplify every difference.
    if row[0].endswith(".onnx") and part in row[0] and "int8" not in row[0] and "fakequant" not in row[0]:
        with tempfile.TemporaryDirectory() as temporary:
            compare(row[0], [int(d) if d.isdigit() else d for d in row[2].split(",")], temporary)
end()
