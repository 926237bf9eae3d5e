#!/usr/bin/env python3
"""What `predict` costs beyond the call of the C library behind it, in one process, in pairs.

The C call is `uf_embedder_run_crops` of the very extension and embedder that `predict` uses, called and
timed by one_call.c; its address comes from the symbols of the extension as it was built (wheels have
none). Pairs take turns; printed are medians, quartiles, and an interval of the median difference (95 %,
bootstrap). With a network that costs nothing the same is done with warm caches and with caches that 40 MB
have gone through before each call: the difference of the two is what Python's own code and data, fetched
from memory, cost behind a large network.

    cc and nm must be there; python3 bench/python_calls.py MODEL [--threads 1] [--batch 1]
"""
import argparse
import ctypes
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np

import tiny_embedder
import uniface
from uniface import _native

ROOT = pathlib.Path(__file__).resolve().parent.parent


def timer(made):
    """one_call_ns of one_call.c."""
    library = os.path.join(made, "one_call.so")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{ROOT / 'include'}", ROOT / "bench" / "one_call.c", "-o",
                    library], check=True)
    call = ctypes.CDLL(library).one_call_ns
    call.restype = ctypes.c_int64
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return call


def address_of_the_call(extension):
    symbols = subprocess.run(["nm", extension], capture_output=True, text=True, check=True).stdout.split("\n")
    offset = next(int(line.split()[0], 16) for line in symbols if line.endswith(" uf_embedder_run_crops"))
    with open("/proc/self/maps") as maps:
        base = min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith("_native.abi3.so"))
    return base + offset


def embedder_behind(embedder):
    """Address of the uf_embedder: what a handle of the extension begins with."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.cast(pointer(embedder._turn().handle, b"uniface.embedder"), ctypes.POINTER(ctypes.c_void_p))[0]


def pairs(embedder, count, turns, call, address, before=lambda: None):
    """Microseconds: (C calls, predicts), of pairs."""
    size = embedder.input_size
    batch = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    out = np.empty((count, embedder.dimension), np.float32)
    arguments = address, embedder_behind(embedder), batch.ctypes.data, count, out.ctypes.data

    def by_python():
        start = time.perf_counter_ns()
        embedder.predict(batch)
        return time.perf_counter_ns() - start

    took = [], []
    ways = (took[0], lambda: call(*arguments)), (took[1], by_python)
    for turn in range(turns + 10):
        for into, way in ways[::-1] if turn % 2 else ways:
            before()
            into.append(way())
    assert np.array_equal(out, embedder.predict(batch)) and min(took[0]) > 0
    return np.array(took)[:, 10:] / 1e3


def report(name, took):
    more = took[1] - took[0]
    random = np.random.default_rng(1)
    low, high = np.percentile([np.median(random.choice(more, len(more))) for _ in range(400)], [2.5, 97.5])
    print(f"{name}: C {np.median(took[0]):.1f} us, predict {np.median(took[1]):.1f} us; more by {np.median(more):.1f} us "
          f"({low:.1f} to {high:.1f}; quartiles {np.percentile(more, 25):.1f}, {np.percentile(more, 75):.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="+", help="embedders")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--extension", default=ROOT / "build-wheel" / "bindings" / "python" / "_native.abi3.so",
                        help="with symbols, of the same build as the one that is installed")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        call, address = timer(made), address_of_the_call(o.extension)
        tiny_embedder.write(os.path.join(made, "tiny.onnx"))
        tiny = uniface.import_model(os.path.join(made, "tiny.onnx"), "arcface").clone(threads=1)
        other = np.zeros(10_000_000, np.float32)
        report("a network that costs nothing", pairs(tiny, 1, o.pairs, call, address))
        report("the same behind 40 MB", pairs(tiny, 1, 200, call, address, lambda: np.add(other, 1, out=other)))
        for path in o.model:
            embedder = uniface.models.FaceEmbedder.load_optimized(path).clone(threads=o.threads)
            report(os.path.basename(path), pairs(embedder, o.batch, o.pairs, call, address))


if __name__ == "__main__":
    main()
