#!/usr/bin/env python3
"""Accuracy on real photos: detect, align, embed all pictures of the shared LFW folds, and compare with
the table of the shared README within 0.3 points. Then the same with the network in INT8, calibrated on
every eighth photo: mean cosine to FP32 >= 0.995, 1st percentile >= 0.98, McNemar p > 0.05, TAR at
FAR 1e-2 at most 0.3 points lower, file at most 0.27 of FP32's.

usage: accuracy_test.py UNIFACE [--all]

INT8 is looked at in one embedder, with PReLU; with --all in each, which takes minutes more.
"""
import array
import json
import math
import os
import subprocess
import sys
import tempfile

program = sys.argv[1]
everything = "--all" in sys.argv[2:]
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
lfw = os.path.join(shared, "testdata", "lfw")
passed = failed = 0
# accuracy in percent as measured with another implementation (shared README)
EXPECTED = {"mobilefacenet_foamliu": 99.17, "mobilefacenet_y1": 99.58, "mobileface_v2": 98.17,
            "face_reid_retail_0095": 99.42, "w600k_mbf_int8_dynamic": 99.67}

if not os.path.exists(os.path.join(lfw, "pairs.tsv")):
    print(f"SKIP accuracy: no {lfw}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(77)


def check(label, ok, text):
    global passed, failed
    passed, failed = passed + ok, failed + (not ok)
    print(f"{'ok  ' if ok else 'FAIL'} {label}: {text}")


def call(*args, ok=(0,)):
    done = subprocess.run([program, *args], capture_output=True, text=True)
    if done.returncode not in ok:
        print(f"FAIL {' '.join(args)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def embed(detector, embedder, folder):
    """Template of each picture, by file name."""
    out = os.path.join(folder, "e.npy")
    listing = json.loads(call("embed", os.path.join(lfw, "images"), "-d", detector, "-e", embedder,
                              "--flip", "--poor", "--json", "-o", out, ok=(0, 3)))
    with open(out, "rb") as f:
        data = f.read()
    header = int.from_bytes(data[8:10], "little")
    values = array.array("f", data[10 + header:])
    dimension = len(values) // max(1, len(listing))
    return {os.path.basename(e["image"]): values[e["row"] * dimension:(e["row"] + 1) * dimension]
            for e in listing}


def best_threshold(scored):
    scored = sorted(scored)
    positives = sum(same for _, same in scored)
    right, best, threshold = positives, positives, -1.0
    for score, same in scored:  # thresholds just above each score
        right += -1 if same else 1
        if right > best:
            best, threshold = right, score + 1e-6
    return threshold


def decisions(scored):
    """Which pairs are judged rightly: two folds of 600, each by the threshold of the other."""
    folds, right = (scored[:600], scored[600:]), []
    for mine, other in (folds, folds[::-1]):
        threshold = best_threshold(other)
        right += [(score >= threshold) == same for score, same in mine]
    return right


def score_pairs(found):
    return [(sum(x * y for x, y in zip(found[a], found[b])) if a in found and b in found else -1.0,
             same == "1") for a, b, same in pairs]


def tar(scored, far=0.01):
    """True accepts, in percent, at the lowest threshold that accepts at most `far` of the impostors."""
    impostors = sorted((s for s, same in scored if not same), reverse=True)
    threshold = impostors[int(far * len(impostors))]
    genuine = [s for s, same in scored if same]
    return 100 * sum(s > threshold for s in genuine) / len(genuine)


def mcnemar(a, b):
    """Two-sided exact p of the pairs that only one of two models judges rightly."""
    only_a = sum(x and not y for x, y in zip(a, b))
    only_b = sum(y and not x for x, y in zip(a, b))
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1)) / 2 ** n
    return min(1.0, 2 * tail)


def check_int8(name, detector, embedder, folder, found, scored):
    small = os.path.join(folder, "small.ufm")
    photos = os.path.join(folder, "calibration.txt")
    with open(photos, "w") as f:
        f.writelines(os.path.join(lfw, "images", p) + "\n" for p in sorted(pictures)[::8])
    call("quantize", embedder, "-d", detector, "-o", small, "--calibration", photos)
    if not os.path.exists(small):
        check(f"{name}: INT8", False, "the model was not made")
        return
    other = embed(detector, small, folder)
    cosines = sorted(sum(x * y for x, y in zip(found[k], other[k])) for k in found if k in other)
    mean, first = sum(cosines) / len(cosines), cosines[len(cosines) // 100]
    check(f"{name}: INT8 cosine", mean >= 0.995 and first >= 0.98,
          f"mean {mean:.4f}, 1st percentile {first:.4f} over {len(cosines)} pictures")
    scored_small = score_pairs(other)
    p = mcnemar(decisions(scored), decisions(scored_small))
    drop = tar(scored) - tar(scored_small)
    check(f"{name}: INT8 decisions", p > 0.05 and drop <= 0.3,
          f"McNemar p {p:.2f}, TAR at FAR 1e-2 {tar(scored):.2f} % to {tar(scored_small):.2f} %, accuracy "
          f"{100 * sum(decisions(scored_small)) / len(scored_small):.2f} %")
    share = os.path.getsize(small) / os.path.getsize(embedder)
    check(f"{name}: INT8 size", share <= 0.27, f"{share:.3f} of FP32")


with open(os.path.join(lfw, "pairs.tsv")) as f:
    pairs = [line.split() for line in f if line.strip()]
pictures = {name for a, b, _ in pairs for name in (a, b)}
with tempfile.TemporaryDirectory() as folder:
    detector = os.path.join(folder, "d.ufm")
    call("import", os.path.join(shared, "models", "yunet_n_320.onnx"), "-o", detector)
    for name, expected in EXPECTED.items():
        embedder = os.path.join(folder, "e.ufm")
        call("import", os.path.join(shared, "models", name + ".onnx"), "-o", embedder)
        found = embed(detector, embedder, folder)
        check(f"{name}: faces", not pictures - found.keys(),
              f"{len(pictures - found.keys())} of {len(pictures)} pictures without a face")
        scored = score_pairs(found)
        measured = 100 * sum(decisions(scored)) / len(scored)
        check(f"{name}: accuracy", measured >= expected - 0.3,
              f"{measured:.2f} %, expected {expected:.2f} %")
        if "int8" in name or not (everything or name == "mobilefacenet_y1"):
            continue
        check_int8(name, detector, embedder, folder, found, scored)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(1 if failed else 0)
