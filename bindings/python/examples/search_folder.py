#!/usr/bin/env python3
"""Which photos of a folder show this person?

usage: search_folder.py PERSON.jpg FOLDER [--top 10] [--detector M] [--embedder M]

All faces of all photos are compared; photos are decoded while the networks run.
"""
import argparse
import sys

import numpy as np

import uniface


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("person")
    parser.add_argument("folder")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--detector", default="detector")
    parser.add_argument("--embedder", default="embedder")
    args = parser.parse_args()
    detector = uniface.models.FaceDetector.load_optimized(args.detector)
    embedder = uniface.models.FaceEmbedder.load_optimized(args.embedder)
    probe = uniface.verification.template_of(args.person, detector, embedder)
    found = []
    for item in uniface.Pipeline(detector, embedder, max_faces=100).run(args.folder):
        if item.error is not None:
            print(item.error, file=sys.stderr)
            continue
        scores = item.templates @ probe
        for face, why in item.face_errors.items():  # their templates are zeros, which are alike to nobody
            print(f"{item.source}: face {face} is left out: {why}", file=sys.stderr)
            scores[face] = -np.inf
        if len(scores) > len(item.face_errors):
            best = int(np.argmax(scores))
            found.append((float(scores[best]), item.source, item.faces[best]))
    for score, path, face in sorted(found, key=lambda f: -f[0])[:args.top]:
        x, y, width, height = face.box
        print(f"{score:.3f}  {path}  at {x:.0f},{y:.0f} {width:.0f} x {height:.0f}")


if __name__ == "__main__":
    try:
        main()
    except uniface.exceptions.UniFaceError as error:
        sys.exit(f"search_folder.py: {error}")
