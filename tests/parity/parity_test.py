#!/usr/bin/env python3
"""Every network of the shared inputs against ONNX Runtime, on real photos, on every instruction set.

usage: parity_test.py UNIFACE [MODEL-NAME-PART]

ONNX Runtime is the oracle: this script computes its outputs ("golden") with the Python package where
that is installed, from photos preprocessed as each network wants them. Without the package, NumPy or
the shared inputs it says so and skips. Bars: cosine >= 0.99999 and relative error <= 1e-3 for each
output, or twice the distance between ONNX Runtime's own optimised and plain execution where that is
more (its sigmoid is off by 1e-7, which is much for an output whose largest value is 1e-4). Graphs that
quantise at run time: cosine >= 0.999. The graph that emulates INT8 in floats rounds 122 tensors to
whole numbers; one element in some 260,000 lies so near to .5 that the last bit of a float decides, and
the following layers amplify it: cosine >= 0.99.
"""
import glob
import os
import subprocess
import sys
import tempfile

passed = failed = skipped = 0


def finish():
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 77 if not passed else 0)


def skip(reason):
    global skipped
    skipped += 1
    print(f"SKIP parity: {reason}")
    finish()


program = sys.argv[1]
part = sys.argv[2] if len(sys.argv) > 2 else ""
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
models = sorted(glob.glob(os.path.join(shared, "models", "*.onnx")))
photos = sorted(glob.glob(os.path.join(shared, "testdata", "lfw", "images", "*.jpg")))
if not models or not photos:
    skip(f"no networks or photos in {shared}")
try:
    import numpy as np
    import onnxruntime as ort
    from networks import distance, network_input
except ImportError as e:
    skip(f"the Python package {e.name} is not installed")
ort.set_default_logger_severity(4)

def session(path, plain):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def bars(name, golden, plain):
    """(least cosine, largest relative error) of one output."""
    if "int8_dynamic" in name:
        return 0.999, 9.0
    if "fakequant" in name:
        return 0.99, 9.0
    cosine, error = distance(golden, plain)
    return min(0.99999, 1 - 2 * (1 - cosine)), max(1e-3, 2 * error)


def worst(name, golden, plain, outputs):
    """The first output that misses its bar, as text, or None."""
    for i, (g, p, y) in enumerate(zip(golden, plain, outputs)):
        least, most = bars(name, g, p)
        cosine, error = distance(g, y)
        if not (cosine >= least and error <= most):
            return (f"output {i}: cosine {cosine:.7f} (bar {least:.5f}), "
                    f"relative error {error:.1e} (bar {most:.1e})")
    return None


def generations():
    """Names of the instruction sets this machine and the program share, oldest first."""
    names = []
    for name in ("c", "avx2", "avx512", "bf16x3"):
        env = dict(os.environ, UNIFACE_CPU=name)
        out = subprocess.run([program, "devices"], capture_output=True, text=True, env=env)
        if out.returncode == 0 and out.stdout.strip() and (name == "c" or name in out.stdout):
            names.append(name)
    return names


def check(label, ok, text):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {label}: {text}")


def run(path, x, generation, folder):
    np.save(os.path.join(folder, "x.npy"), x)
    env = dict(os.environ, UNIFACE_CPU=generation)
    done = subprocess.run([program, "run", path, os.path.join(folder, "x.npy"), "-o",
                           os.path.join(folder, "y")], capture_output=True, text=True, env=env)
    if done.returncode:
        return done.stderr.strip()
    return [np.load(os.path.join(folder, f"y{i}.npy"))
            for i in range(len(glob.glob(os.path.join(folder, "y*.npy"))))]


for path in models:
    name = os.path.basename(path)
    if part not in name:
        continue
    oracle, slow_oracle = session(path, False), session(path, True)
    for photo in photos[:1000:500]:
        x = network_input(name, oracle.get_inputs()[0].shape, photo)
        golden = oracle.run(None, {oracle.get_inputs()[0].name: x})
        plain = slow_oracle.run(None, {oracle.get_inputs()[0].name: x})
        for generation in generations():
            label = f"{name} ({generation}, {os.path.basename(photo)})"
            with tempfile.TemporaryDirectory() as folder:
                outputs = run(path, x, generation, folder)
            if isinstance(outputs, str) or len(outputs) != len(golden):
                check(label, False, outputs if isinstance(outputs, str) else "outputs are missing")
                continue
            problem = worst(name, golden, plain, outputs)
            check(label, problem is None, problem)
finish()
