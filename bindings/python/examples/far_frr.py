#!/usr/bin/env python3
"""False accept and false reject rates of a model on pairs of photos, with a plot.

usage: far_frr.py PAIRS.tsv PHOTOS-FOLDER [--plot curve.png] [--detector M] [--embedder M]

Each line of PAIRS.tsv: two names of photos and 1 for one person or 0, by tabs. The plot needs
matplotlib.
"""
import argparse
import os
import sys

import uniface


def read_pairs(path: str, folder: str) -> list:
    pairs = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                a, b, same = line.rstrip("\n").split("\t")[:3]
                pairs.append((os.path.join(folder, a), os.path.join(folder, b), same == "1"))
    return pairs


def plot(curve, path: str) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot(curve[:, 0], curve[:, 1], label="false accepts (FAR)")
    axes.plot(curve[:, 0], curve[:, 2], label="false rejects (FRR)")
    axes.set_xlabel("threshold (similarity)")
    axes.set_ylabel("rate")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs")
    parser.add_argument("photos")
    parser.add_argument("--plot")
    parser.add_argument("--detector", default="detector")
    parser.add_argument("--embedder", default="embedder")
    args = parser.parse_args()
    detector = uniface.models.FaceDetector.load_optimized(args.detector)
    embedder = uniface.models.FaceEmbedder.load_optimized(args.embedder)
    found = uniface.metrics.evaluate_model_accuracy(embedder, read_pairs(args.pairs, args.photos),
                                                    detector=detector)
    print(f"{len(found.genuine)} pairs of one person, {len(found.impostor)} of two")
    print(f"accuracy {100 * found.accuracy:.2f} % +- {100 * found.standard_error:.2f}")
    print(f"equal error rate {100 * found.eer:.2f} % at {found.threshold:.3f}")
    for far, tar in found.tar_at_far.items():
        print(f"at FAR {far:g}: {100 * tar:.2f} % of the true pairs are accepted")
    if args.plot:
        plot(uniface.metrics.error_curve(found.genuine, found.impostor), args.plot)


if __name__ == "__main__":
    try:
        main()
    except uniface.exceptions.UniFaceError as error:
        sys.exit(f"far_frr.py: {error}")
