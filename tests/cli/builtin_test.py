#!/usr/bin/env python3
"""The models that come with the program: found without being named, each with a card. What the cards say of
accuracy is measured by tests/parity/builtin_test.py.

usage: builtin_test.py UNIFACE
"""
import json
import os
import subprocess
import sys

from harness import SECRET, call, check, error, finish, path, root

MODELS = os.path.join(root, "models")
NAMES = ("detector", "large_accuracy_model", "quantized_int8_embedder", "edge_detector", "edge_embedder", "research-detector",
         "research-embedder")
sizes = [os.path.getsize(os.path.join(MODELS, f)) for f in os.listdir(MODELS) if f.endswith(".ufm")]
check("together at most 12 MB", sizes and sum(sizes) <= 12 << 20, sizes)
edge = [os.path.getsize(os.path.join(MODELS, f"edge_{task}.ufm")) for task in ("detector", "embedder")]
check("the edge pair at most 1 MB", sum(edge) <= 1 << 20, edge)

cards = {}
for name in NAMES:
    done = call("meta", name, "--json")
    cards[name] = json.loads(done.text) if done.returncode == 0 else {}
    for key in ("licence", "card.summary", "card.data", "card.accuracy", "card.limits", "trained.how", "trained.seen"):
        check(f"{name} has {key}", cards[name].get(key), done.errors)
for name in ("quantized_int8_embedder", "edge_embedder", "edge_detector"):
    check(f"{name} is INT8", cards[name].get("precision") == "int8")
check("what was learned from research pictures says so", all("research" in cards[f"research-{task}"].get("licence", "")
      for task in ("detector", "embedder")) and not any("research" in cards[n].get("licence", "") for n in NAMES[:3]))

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

# A gallery that is too small for a threshold of its own.
g = path("few.ufg")
done = call("enroll", "-g", g, "--id", "one", pictures[0], "--force", env=SECRET)
check("the first is enrolled", done.returncode == 0, done.errors)
error("which threshold could be given is told", 3, "fewer than 30; give one (--threshold 0.", "identify", pictures[0], "-g", g)
finish()
