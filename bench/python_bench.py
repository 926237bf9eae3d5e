#!/usr/bin/env python3
"""What the Python package costs, side by side with the C program and with a usual Python loop.

usage: python_bench.py DETECTOR EMBEDDER.onnx FOLDER [PICTURES] [ROUNDS]

Overhead: `predict` on a ready batch with the extension's call taken out, and against that call alone, in
turns. Throughput over a folder of JPEGs: uniface.Pipeline, `uniface embed` (the C program), and a loop of
cv2 and ONNX Runtime over the same two networks, in turns, so that what else the machine does hits all;
medians of the rounds, and of the ratios within a round. The peers are left out where they are not
installed. Memory: what the process holds after each tenth of PICTURES * ROUNDS pictures.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import uniface


def resident_mb():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def overhead(embedder):
    """(microseconds of predict without the C call, of the C call, of predict with it beyond it)."""
    from uniface import _native
    embedder = embedder.clone(threads=1)
    size = embedder.input_size
    batch = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    out = np.empty((1, embedder.dimension), np.float32)
    arguments = (embedder._turn().handle, batch.ctypes.data, 1, size, size, 3, False, out.ctypes.data)
    whole, inner = [], []
    for turn in range(1000):
        for times, call in ((whole, lambda: embedder.predict(batch)),
                            (inner, lambda: _native.embed_pixels(*arguments)))[::1 if turn % 2 else -1]:
            start = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - start)
    real = _native.embed_ready
    _native.embed_ready = lambda *all_of_them: True
    try:
        around = []
        for _ in range(20):
            start = time.perf_counter_ns()
            for _ in range(1000):
                embedder.predict(batch)
            around.append((time.perf_counter_ns() - start) / 1000)
    finally:
        _native.embed_ready = real
    return min(around) / 1e3, min(inner) / 1e3, (min(whole) - min(inner)) / 1e3


def by_pipeline(detector, embedder, paths):
    start = time.perf_counter()
    faces = sum(len(item.faces) for item in uniface.Pipeline(detector, embedder).run(paths)
                if item.error is None)
    return time.perf_counter() - start, faces


def by_program(detector_path, embedder_path, folder):
    program = os.path.join(os.path.dirname(uniface.__file__), "bin", "uniface")
    with tempfile.TemporaryDirectory() as made:
        start = time.perf_counter()
        done = subprocess.run([program, "embed", folder, "-d", detector_path, "-e", embedder_path, "--poor",
                               "-o", os.path.join(made, "out.npy")], capture_output=True, text=True)
        elapsed = time.perf_counter() - start
        if done.returncode not in (0, 3):
            sys.exit(done.stderr)
        return elapsed, len(np.load(os.path.join(made, "out.npy")))


class PythonLoop:
    """cv2 and ONNX Runtime as most programs use them: one picture after the other."""

    def __init__(self, detector_onnx, embedder_onnx, embedder):
        import cv2
        import onnxruntime
        self.cv2 = cv2
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.detector = onnxruntime.InferenceSession(detector_onnx, options, providers=["CPUExecutionProvider"])
        self.embedder = onnxruntime.InferenceSession(embedder_onnx, options, providers=["CPUExecutionProvider"])
        meta = embedder.metadata
        self.mean, self.scale = (np.array(meta[k].split(), np.float32) for k in ("input.mean", "input.scale"))
        self.template = uniface.alignment.template_of(embedder) * embedder.input_size
        self.size = embedder.input_size

    def points(self, image):
        """YuNet: the best cell's five points, in pixels of the picture."""
        side = 320
        scale = side / max(image.shape[:2])
        canvas = np.zeros((side, side, 3), np.float32)
        small = self.cv2.resize(image, None, fx=scale, fy=scale)
        canvas[:small.shape[0], :small.shape[1]] = small[:side, :side]
        outputs = dict(zip((o.name for o in self.detector.get_outputs()),
                           self.detector.run(None, {self.detector.get_inputs()[0].name:
                                                    canvas.transpose(2, 0, 1)[None]})))
        best = None
        for stride in (8, 16, 32):
            score = np.sqrt(outputs[f"cls_{stride}"].ravel() * outputs[f"obj_{stride}"].ravel())
            at = int(score.argmax())
            if best is None or score[at] > best[0]:
                columns = side // stride
                cell = np.array([at % columns, at // columns], np.float32)
                best = (score[at], (outputs[f"kps_{stride}"].reshape(-1, 5, 2)[at] + cell) * stride / scale)
        return best[1] if best[0] > 0.6 else None

    def run(self, paths):
        start = time.perf_counter()
        faces = 0
        for path in paths:
            image = self.cv2.imread(path)
            points = self.points(image)
            if points is None:
                continue
            matrix, _ = self.cv2.estimateAffinePartial2D(points, self.template, method=self.cv2.LMEDS)
            crop = self.cv2.warpAffine(image, matrix, (self.size, self.size))[:, :, ::-1]
            tensor = ((crop - self.mean) * self.scale).transpose(2, 0, 1)[None].astype(np.float32)
            vector = self.embedder.run(None, {self.embedder.get_inputs()[0].name: tensor})[0]
            vector /= np.linalg.norm(vector)
            faces += 1
        return time.perf_counter() - start, faces


def folder_of(paths, count, made):
    """A folder of `count` JPEGs: links to those there are, again and again."""
    for i in range(count):
        os.symlink(paths[i % len(paths)], os.path.join(made, f"{i:06d}.jpg"))
    return uniface.datasets.list_pictures(made)


def main():
    detector_path, embedder_path, folder = (os.path.abspath(a) for a in sys.argv[1:4])
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 2000
    rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    detector = uniface.models.FaceDetector.load_optimized(detector_path)
    embedder = uniface.models.FaceEmbedder.load_optimized(embedder_path)
    around, inner, difference = overhead(embedder)
    print(f"predict, one ready picture, one thread: {around:.1f} us around the C call of {inner:.0f} us "
          f"(measured with it: {difference:.1f} us more than the call alone; minima)")
    try:
        loop = PythonLoop(detector_path, embedder_path, embedder)
    except ImportError as error:
        print(f"SKIP cv2 + ONNX Runtime: the package {error.name} is not installed")
        loop = None
    rates = {"Pipeline": [], "uniface embed": [], "cv2 + ONNX Runtime": []}
    memory = []
    with tempfile.TemporaryDirectory() as made:
        paths = folder_of(uniface.datasets.list_pictures(folder), count, made)
        by_pipeline(detector, embedder, paths[:200])
        for number in range(rounds):
            for name, (elapsed, faces) in (
                    ("Pipeline", by_pipeline(detector, embedder, paths)),
                    ("uniface embed", by_program(detector_path, embedder_path, made)),
                    ("cv2 + ONNX Runtime", loop.run(paths) if loop else (0, 0))):
                if elapsed:
                    rates[name].append(count / elapsed)
                    print(f"round {number + 1}: {name:20} {count / elapsed:7.1f} pictures/s, {faces} faces")
            memory.append(resident_mb())
    for name in ("uniface embed", "cv2 + ONNX Runtime"):
        if rates[name]:
            ratio = statistics.median(p / q for p, q in zip(rates["Pipeline"], rates[name]))
            print(f"Pipeline / {name}: {ratio:.2f}")
    print("resident after each round, MB:", " ".join(f"{m:.0f}" for m in memory))


if __name__ == "__main__":
    main()
