#!/usr/bin/env python3
"""Enrol people from photos, then name them in a video or before a camera.

usage: video_people.py enrol GALLERY NAME PHOTO...
       video_people.py identify GALLERY VIDEO|/dev/video0 [--fps 2] [--threshold 0.4]

The gallery is encrypted under UNIFACE_GALLERY_PASSPHRASE. Video is decoded by ffmpeg (--ffmpeg names
the program), whose raw frames come through a pipe.
"""
import argparse
import subprocess
import sys
from typing import Iterator, Tuple

import numpy as np

import uniface

WIDTH, HEIGHT = 640, 480


def frames(ffmpeg: str, source: str, fps: float) -> Iterator[Tuple[float, np.ndarray]]:
    """(seconds, picture) of a video, scaled into WIDTH x HEIGHT with black borders."""
    fit = (f"fps={fps},scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=decrease,"
           f"pad={WIDTH}:{HEIGHT}:(ow-iw)/2:(oh-ih)/2")
    kind = ["-f", "v4l2"] if source.startswith("/dev/video") else []
    command = [ffmpeg, "-v", "error", *kind, "-i", source, "-vf", fit, "-pix_fmt", "rgb24", "-f",
               "rawvideo", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number = 0
        while len(data := process.stdout.read(WIDTH * HEIGHT * 3)) == WIDTH * HEIGHT * 3:
            yield number / fps, np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH, 3)
            number += 1
    if process.returncode:
        sys.exit(f"{ffmpeg} cannot read {source}")


def enrol(args, detector, embedder) -> None:
    with uniface.Gallery.open(args.gallery, create=True) as gallery:
        for photo in args.photos:
            template = uniface.verification.template_of(photo, detector, embedder)
            gallery.enroll(args.name, template, embedder, source=photo)
        print(f"{args.name}: {len(args.photos)} photos; the gallery has {gallery.stats().people} people")


def identify(args, detector, embedder) -> None:
    with uniface.Gallery.open(args.gallery) as gallery:
        for seconds, picture in frames(args.ffmpeg, args.video, args.fps):
            faces = detector.detect(picture)
            for face, template in zip(faces, embedder.embed_faces(picture, faces)):
                best = gallery.identify(template, embedder, top_k=1, threshold=args.threshold)[0]
                name = best.id if best.passes else "unknown"
                print(f"{seconds:7.1f} s  {name} ({best.score:.2f}) at {face.box[0]:.0f},{face.box[1]:.0f}",
                      flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--detector", default="detector")
    parser.add_argument("--embedder", default="embedder")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("enrol")
    one.set_defaults(run=enrol)
    one.add_argument("gallery")
    one.add_argument("name")
    one.add_argument("photos", nargs="+")
    two = commands.add_parser("identify")
    two.set_defaults(run=identify)
    two.add_argument("gallery")
    two.add_argument("video")
    two.add_argument("--fps", type=float, default=2)
    two.add_argument("--threshold", type=float, default=0.4)
    two.add_argument("--ffmpeg", default="ffmpeg")
    args = parser.parse_args()
    detector = uniface.models.FaceDetector.load_optimized(args.detector)
    embedder = uniface.models.FaceEmbedder.load_optimized(args.embedder)
    args.run(args, detector, embedder)


if __name__ == "__main__":
    try:
        main()
    except uniface.exceptions.UniFaceError as error:
        sys.exit(f"video_people.py: {error}")
