#!/usr/bin/env python3
"""Are two photos of the same person?

usage: verify_photos.py A.jpg B.jpg [--detector M] [--embedder M] [--far 0.001 | --threshold 0.4]

Models are files or names of the store. Without --threshold the embedder must have been calibrated
(`uniface calibrate`). Exit status: 0 the same, 1 not.
"""
import argparse
import sys

import uniface


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--detector", default="detector")
    parser.add_argument("--embedder", default="embedder")
    parser.add_argument("--far", type=float, default=1e-3)
    parser.add_argument("--threshold", type=float)
    args = parser.parse_args()
    detector = uniface.models.FaceDetector.load_optimized(args.detector)
    embedder = uniface.models.FaceEmbedder.load_optimized(args.embedder)
    found = uniface.verification.verify(args.a, args.b, detector, embedder, far=args.far,
                                        threshold=args.threshold)
    print(f"similarity {found.score:.3f}, threshold {found.threshold:.3f}: "
          f"{'the same person' if found.same else 'different persons'}")
    return 0 if found.same else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except uniface.exceptions.UniFaceError as error:
        sys.exit(f"verify_photos.py: {error}")
