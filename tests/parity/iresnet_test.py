#!/usr/bin/env python3
"""An IResNet-18 of random weights (bench/make_iresnet.py) against ONNX Runtime, on every instruction set.

usage: iresnet_test.py UNIFACE

Bars as in parity_test.py: cosine >= 0.99999 and relative error <= 1e-3, for one picture and for three
at once. The network is made here, so this needs nothing but the Python packages onnx, onnxruntime and
NumPy; without them it says so and skips.
"""
import os
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, ".."))
from checks import check, end, skip  # noqa: E402

program = sys.argv[1]
try:
    import numpy as np
    import onnx  # noqa: F401: what makes the network needs it
    import onnxruntime as ort
    from networks import distance
except ImportError as e:
    skip(f"iresnet: the Python package {e.name} is not installed")
    end()
ort.set_default_logger_severity(4)


def generations():
    """Names of the instruction sets this machine and the program share; C is left to smaller networks."""
    names = []
    for name in ("avx2", "avx512", "bf16x3", "neon"):
        out = subprocess.run([program, "devices"], capture_output=True, text=True,
                             env=dict(os.environ, UNIFACE_CPU=name))
        if out.returncode == 0 and name in out.stdout:
            names.append(name)
    return names or ["c"]


def run(generation, x, folder):
    np.save(os.path.join(folder, "x.npy"), x)
    done = subprocess.run([program, "run", os.path.join(folder, "net.onnx"), os.path.join(folder, "x.npy"), "-o",
                           os.path.join(folder, "y")], capture_output=True, text=True,
                          env=dict(os.environ, UNIFACE_CPU=generation))
    return done.stderr.strip() if done.returncode else np.load(os.path.join(folder, "y0.npy"))


with tempfile.TemporaryDirectory() as folder:
    net = os.path.join(folder, "net.onnx")
    subprocess.run([sys.executable, os.path.join(here, "..", "..", "bench", "make_iresnet.py"), net, "--depth", "18"],
                   check=True)
    oracle = ort.InferenceSession(net, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = np.random.default_rng(batch).uniform(-1, 1, (batch, 3, 112, 112)).astype(np.float32)
        golden = oracle.run(None, {oracle.get_inputs()[0].name: x})[0]
        for generation in generations():
            label = f"IResNet-18, batch {batch} ({generation})"
            y = run(generation, x, folder)
            if isinstance(y, str):
                check(label, False, y)
                continue
            cosine, error = distance(golden, y)
            check(label, cosine >= 0.99999 and error <= 1e-3, f"cosine {cosine:.7f}, relative error {error:.1e}")
end()
