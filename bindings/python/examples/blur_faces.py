#!/usr/bin/env python3
"""Makes the faces in a photo unrecognisable.

usage: blur_faces.py IN.jpg OUT.jpg [--blocks 6] [--detector M]

Each face becomes a mosaic of --blocks x --blocks squares: what is left cannot be sharpened again.
"""
import argparse
import sys

import numpy as np

import uniface


def blur(picture: np.ndarray, box: np.ndarray, blocks: int) -> None:
    """Replaces a box, enlarged by a fifth, by its mosaic."""
    x, y, width, height = box
    left, top = int(max(x - 0.1 * width, 0)), int(max(y - 0.1 * height, 0))
    right = int(min(x + 1.1 * width, picture.shape[1]))
    bottom = int(min(y + 1.1 * height, picture.shape[0]))
    if right - left < 1 or bottom - top < 1:
        return
    small = uniface.preprocess.resize(picture[top:bottom, left:right], (blocks, blocks))
    rows = np.arange(bottom - top) * blocks // (bottom - top)
    columns = np.arange(right - left) * blocks // (right - left)
    picture[top:bottom, left:right] = small[rows[:, None], columns[None, :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo")
    parser.add_argument("out")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--detector", default="detector")
    args = parser.parse_args()
    # Privacy wants every face: small ones too (size -1), and doubtful ones.
    detector = uniface.models.FaceDetector.load_optimized(args.detector, size=-1, score_threshold=0.3)
    picture = uniface.Image.from_path(args.photo).to_numpy().copy()
    faces = detector.detect(picture)
    for face in faces:
        blur(picture, face.box, args.blocks)
    uniface.Image(picture).save(args.out)
    print(f"{args.out}: {len(faces)} faces blurred")


if __name__ == "__main__":
    try:
        main()
    except uniface.exceptions.UniFaceError as error:
        sys.exit(f"blur_faces.py: {error}")
