#!/usr/bin/env python3
"""What a process holds while a Pipeline goes through very many pictures: resident memory must stay flat.

Pictures are drawn, small, of several sizes, types and kinds of damage, and come again and again; half of
them as files, half as bytes. The detector is the built-in one at 64 pixels, the embedder one that costs
nothing, so that 100,000 pictures take minutes. Printed is what is resident after each --every pictures.
What is held after the first tenth may be exceeded by 2 MB: exit status 1 says that it was.
"""
import argparse
import itertools
import os
import sys
import tempfile

import numpy as np

import tiny_embedder
import uniface
from uniface._drawn_faces import draw_faces

ALLOWED_MB = 2


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def draw(folder):
    """Pictures of one or two drawn faces, and files that cannot be read; paths and bytes of files."""
    random = np.random.default_rng(1)
    sources = []
    for i, face in enumerate(draw_faces(8)):
        height, width = (int(n) for n in random.integers(70, 300, 2))
        canvas = random.integers(90, 160, (height, width, 3), np.uint8)
        side = int(random.integers(30, 70))
        canvas[:side, :side] = uniface.preprocess.resize(face, side)
        path = os.path.join(folder, f"{i}{('.jpg', '.png', '.webp')[i % 3]}")
        uniface.Image(canvas).save(path)
        sources.append(path)
    with open(sources[0], "rb") as file:
        whole = file.read()
    with open(os.path.join(folder, "broken.jpg"), "wb") as file:
        file.write(whole[:len(whole) // 2])
    sources += [os.path.join(folder, "broken.jpg"), os.path.join(folder, "none.jpg"), b"", b"no picture"]
    for path in sources[:4]:
        with open(path, "rb") as file:
            sources.append(file.read())
    return sources


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=5_000)
    o = parser.parse_args()
    held, ended, faces = [], {"with templates": 0, "with an error": 0}, 0
    with tempfile.TemporaryDirectory() as made:
        tiny_embedder.write(os.path.join(made, "tiny.onnx"))
        embedder = uniface.import_model(os.path.join(made, "tiny.onnx"), "arcface")
        detector = uniface.models.FaceDetector.load_pretrained(size=64, score_threshold=0.1)
        sources = itertools.islice(itertools.cycle(draw(made)), o.pictures)
        for done, item in enumerate(uniface.Pipeline(detector, embedder, max_faces=4).run(sources), 1):
            ended["with templates" if item.error is None else "with an error"] += 1
            faces += len(item.faces or ())
            if done % o.every == 0:
                held.append(resident_mb())
                print(f"{done:7} pictures, {held[-1]:.1f} MB", flush=True)
    print(", ".join(f"{count} {name}" for name, count in ended.items()) + f", {faces} faces")
    if not faces or not all(ended.values()):
        sys.exit("the pictures do not go all ways: nothing is proven")
    grown = max(held) - held[len(held) // 10]
    print(f"grown since the first tenth: {grown:.2f} MB")
    sys.exit(f"memory is not flat: at most {ALLOWED_MB} MB are allowed" if grown > ALLOWED_MB else 0)


if __name__ == "__main__":
    main()
