#!/usr/bin/env python3
"""The models that come with the program: found without being named, with a card that is true.

usage: builtin_test.py UNIFACE
"""
import json
import math
import os
import subprocess
import sys

from harness import SECRET, call, check, error, finish, path, root, shared, skip

MODELS = os.path.join(root, "models")
LANDMARKS = 0.1  # mean distance to those of YuNet, in distances of the eyes; 0.04 is the aim
EMBEDDERS = ("large_accuracy_model", "quantized_int8_embedder")
# Each with its detector and the least accuracy on LFW.
PAIRS = (*((e, "detector", 82) for e in EMBEDDERS), ("edge_embedder", "edge_detector", 78), ("research-embedder", "research-detector", 95))
sizes = [os.path.getsize(os.path.join(MODELS, f)) for f in os.listdir(MODELS) if f.endswith(".ufm")]
check("together at most 12 MB", sizes and sum(sizes) <= 12 << 20, sizes)
edge = [os.path.getsize(os.path.join(MODELS, f"edge_{task}.ufm")) for task in ("detector", "embedder")]
check("the edge pair at most 1 MB", sum(edge) <= 1 << 20, edge)

cards = {}
for name in sorted({name for pair in PAIRS for name in pair[:2]}):
    done = call("meta", name, "--json")
    cards[name] = json.loads(done.text) if done.returncode == 0 else {}
    for key in ("licence", "card.summary", "card.data", "card.accuracy", "card.limits", "trained.how", "trained.seen"):
        check(f"{name} has {key}", cards[name].get(key), done.errors)
for name in ("quantized_int8_embedder", "edge_embedder", "edge_detector"):
    check(f"{name} is INT8", cards[name].get("precision") == "int8")
check("what was learned from research pictures says so", all("research" in cards[f"research-{task}"].get("licence", "")
      for task in ("detector", "embedder")) and not any("research" in cards[e].get("licence", "") for e in (*EMBEDDERS, "detector")))

# Pictures that are drawn: a face in each, and persons told apart.
pictures = [path(f"{person}-{take}.png") for person in (6, 14) for take in (1, 2)]
for picture in pictures:
    person, take = os.path.basename(picture)[:-4].split("-")
    subprocess.run([sys.executable, os.path.join(root, "tools", "draw_person.py"), person, take, picture], check=True)
done = call("detect", *pictures, "--json")
check("a face in each drawn picture", done.returncode == 0 and [len(p["faces"]) for p in json.loads(done.text)] == [1] * 4,
      done.text[:400], done.errors)
check("what runs says how good it is", cards["detector"].get("card.summary", "?") in done.errors, done.errors)


def score(a, b):
    done = call("verify", a, b, "--json")
    return json.loads(done.text).get("score", -2) if done.text else -2


same = [score(pictures[0], pictures[1]), score(pictures[2], pictures[3])]
other = [score(pictures[i], pictures[j]) for i in (0, 1) for j in (2, 3)]
check("drawn persons are told apart", min(same) > max(other), same, other)

# On real photos the cards are held to.
lfw = os.path.join(shared, "testdata", "lfw")
if not os.path.exists(os.path.join(lfw, "pairs.tsv")):
    skip(f"the cards of the built-in models: no {lfw}")
    finish()
measured = {}
for name, detector, floor in PAIRS:
    done = call("evaluate", name, "-d", detector, "--pairs", os.path.join(lfw, "pairs.tsv"), "--images", os.path.join(lfw, "images"),
                "--flip", "--json")
    measured[name] = 100 * json.loads(done.text)["folds"]["accuracy"] if done.returncode == 0 else 0
    told = float(cards[name]["card.accuracy"].split()[1])
    check(f"{name} is as accurate as its card says", abs(measured[name] - told) <= 0.3, measured, told, done.errors[-300:])
    check(f"{name} reaches its floor", measured[name] >= floor, measured)
check("INT8 costs at most 0.3 points", measured[EMBEDDERS[1]] >= measured[EMBEDDERS[0]] - 0.3, measured)

# The detector beside YuNet.
yunet = path("yunet.ufm")
call("import", os.path.join(shared, "models", "yunet_n_320.onnx"), "-o", yunet)


def faces_of(detector, files):
    done = call("detect", *files, *(["-d", detector] if detector else []), "--json")
    return [p["faces"] for p in json.loads(done.text)]


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, w) * max(0, h)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def main_face(faces):
    return max(faces, key=lambda f: f["box"][2] * f["box"][3], default=None)


files = sorted(os.path.join(lfw, "images", f) for f in os.listdir(os.path.join(lfw, "images")))[::4]
found = total = 0
errors = []
for want, got in zip(faces_of(yunet, files), faces_of(None, files)):
    face = main_face(want)
    best = max(got, key=lambda f: overlap(f["box"], face["box"]), default=None) if face else None
    total += face is not None
    if best and overlap(best["box"], face["box"]) >= 0.5:
        found += 1
        points = [list(zip(f["landmarks"][::2], f["landmarks"][1::2])) for f in (face, best)]
        eyes = math.dist(points[0][0], points[0][1])
        errors.append(sum(math.dist(a, b) for a, b in zip(*points)) / 5 / eyes)
check("the detector finds the faces that YuNet finds", found >= 0.99 * total, found, total)
check("and its landmarks are near", errors and sum(errors) / len(errors) < LANDMARKS, sum(errors) / max(1, len(errors)))

# ---- a gallery that is too small for a threshold of its own ----
g = path("few.ufg")
done = call("enroll", "-g", g, "--id", "one", files[0], "--force", env=SECRET)
check("the first is enrolled", done.returncode == 0, done.errors)
error("which threshold could be given is told", 3, "fewer than 30; give one (--threshold 0.", "identify", files[0], "-g", g)
finish()
