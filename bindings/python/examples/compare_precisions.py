#!/usr/bin/env python3
"""What FP16, BF16 and INT8 cost an embedder in accuracy, and what they save.

usage: compare_precisions.py EMBEDDER CALIBRATION-FOLDER TEST-FOLDER [--detector M]

Prints size, time of one face, and how far the templates of the test photos agree with FP32 (cosine).
"""
import argparse
import statistics
import sys
import time

import numpy as np

import uniface
from uniface import Precision


def faces_of(folder: str, detector, embedder) -> np.ndarray:
    """Aligned crops of the main faces of a folder's photos."""
    crops = []
    for path in uniface.datasets.list_pictures(folder):
        image = uniface.Image.from_path(path)
        face = detector.detect(image).main(image)
        if face is not None:
            crops.append(uniface.alignment.align(image, face, embedder.input_size, embedder))
    return np.stack(crops)


def milliseconds(model, crop: np.ndarray) -> float:
    times = []
    for _ in range(30):
        start = time.perf_counter()
        model.predict(crop)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("embedder")
    parser.add_argument("calibration")
    parser.add_argument("test")
    parser.add_argument("--detector", default="detector")
    args = parser.parse_args()
    detector = uniface.models.FaceDetector.load_optimized(args.detector)
    original = uniface.models.FaceEmbedder.load_optimized(args.embedder)
    data = uniface.datasets.load_calibration_data(args.calibration, detector=detector)
    crops = faces_of(args.test, detector, original)
    want = original.predict(crops)
    print(f"{'':6} {'MB':>7} {'ms':>7} {'mean':>8} {'least':>8}")
    for precision in Precision:
        model = uniface.optimization.quantize_model(original, precision=precision, calibration_dataset=data)
        cosine = (model.predict(crops) * want).sum(axis=1)
        print(f"{precision.name:6} {model.size_bytes / 1e6:7.2f} {milliseconds(model, crops[:1]):7.2f} "
              f"{cosine.mean():8.5f} {cosine.min():8.5f}")


if __name__ == "__main__":
    try:
        main()
    except uniface.exceptions.UniFaceError as error:
        sys.exit(f"compare_precisions.py: {error}")
