#!/usr/bin/env python3
"""How fast the Python package is over a folder, beside the C program and a usual Python loop.

Throughput over a folder of JPEGs: uniface.Pipeline, `uniface embed` (the C program), and a loop of cv2
and ONNX Runtime over the same two networks, in turns, so that what else the machine does hits all; medians
of the rounds, and of the ratios within a round. With --int8 also a Pipeline of the same networks
quantised. The peers are left out where they are not installed. Memory: what the process holds after each
round. What a single call costs: python_calls.py.
"""
import argparse
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


def folder_of(paths, count, side, made):
    """A folder of `count` JPEGs: links to those there are, or to enlarged ones, again and again."""
    if side:
        larger = os.path.join(made, "larger")
        os.mkdir(larger)
        for i, path in enumerate(paths[:100]):
            pixels = uniface.preprocess.resize(uniface.Image.from_path(path), side)
            uniface.Image(pixels).save(os.path.join(larger, f"{i}.jpg"))
        paths = uniface.datasets.list_pictures(larger)
    links = os.path.join(made, "links")
    os.mkdir(links)
    for i in range(count):
        os.symlink(paths[i % len(paths)], os.path.join(links, f"{i:06d}.jpg"))
    return links, uniface.datasets.list_pictures(links)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("detector", help="a YuNet, .onnx")
    parser.add_argument("embedder", help="MobileFaceNet or the like, .onnx")
    parser.add_argument("folder", help="JPEGs")
    parser.add_argument("--int8", nargs=2, metavar=("DETECTOR", "EMBEDDER"), help="the same, quantised (.ufm)")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=0, help="pixels to which pictures are enlarged")
    return parser.parse_args()


def main():
    o = arguments()
    detector_path, embedder_path = os.path.abspath(o.detector), os.path.abspath(o.embedder)
    load_detector = uniface.models.FaceDetector.load_optimized
    load_embedder = uniface.models.FaceEmbedder.load_optimized
    detector, embedder = load_detector(detector_path), load_embedder(embedder_path)
    small = o.int8 and (load_detector(o.int8[0]), load_embedder(o.int8[1]))
    try:
        loop = PythonLoop(detector_path, embedder_path, embedder)
    except ImportError as error:
        print(f"SKIP cv2 + ONNX Runtime: the package {error.name} is not installed")
        loop = None
    rates = {"Pipeline": [], "Pipeline INT8": [], "uniface embed": [], "cv2 + ONNX Runtime": []}
    memory = []
    with tempfile.TemporaryDirectory() as made:
        folder, paths = folder_of(uniface.datasets.list_pictures(os.path.abspath(o.folder)), o.pictures, o.side, made)
        by_pipeline(detector, embedder, paths[:100])
        for number in range(o.rounds):
            for name, run in (("Pipeline", lambda: by_pipeline(detector, embedder, paths)),
                              ("Pipeline INT8", lambda: by_pipeline(*small, paths) if small else None),
                              ("uniface embed", lambda: by_program(detector_path, embedder_path, folder)),
                              ("cv2 + ONNX Runtime", lambda: loop.run(paths) if loop else None)):
                done = run()
                if done:
                    rates[name].append(len(paths) / done[0])
                    print(f"round {number + 1}: {name:20} {rates[name][-1]:7.1f} pictures/s, {done[1]} faces",
                          flush=True)
            memory.append(resident_mb())
    for name in ("Pipeline", "Pipeline INT8"):
        for other in ("uniface embed", "cv2 + ONNX Runtime"):
            if rates[name] and rates[other]:
                ratio = statistics.median(p / q for p, q in zip(rates[name], rates[other]))
                print(f"{name} / {other}: {ratio:.2f}")
    print("resident after each round, MB:", " ".join(f"{m:.0f}" for m in memory))


if __name__ == "__main__":
    main()
