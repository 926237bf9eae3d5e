#!/usr/bin/env python3
"""Training as a user meets it: a run end to end, what it refuses, and runs that are killed and go on.

usage: train_test.py UNIFACE
"""
import json
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from harness import call, check, environment, error, finish, has_signatures, path, program, skip  # noqa: E402

SIDE = 64
NETWORK = """input 32 32 mean=127.5 scale=0.0078125 align=arcface
conv 16 k=3 s=2 act=prelu
bottleneck 24 expand=2 s=2 act=prelu
bottleneck 24 expand=2 act=prelu
conv 64 act=prelu
depthwise k=map
linear 32
output embedding
"""


def png(pixels, side):
    """A PNG of side x side RGB pixels."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    rows = b"".join(b"\0" + pixels[y * side * 3:(y + 1) * side * 3] for y in range(side))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def draw(person, take):
    return png(draw_pixels(person, take), SIDE)


def draw_pixels(person, take):
    """A picture whose large shapes are the person's and whose grain and light are the take's."""
    shape, grain = random.Random(person), random.Random(person * 1000 + take)
    blobs = [(shape.random() * SIDE, shape.random() * SIDE, 4 + shape.random() * 18,
              [shape.randrange(256) for _ in range(3)]) for _ in range(6)]
    light, pixels = 0.8 + 0.4 * grain.random(), bytearray()
    for y in range(SIDE):
        for x in range(SIDE):
            colour = [110, 110, 110]
            for bx, by, radius, value in blobs:
                if (x - bx) ** 2 + (y - by) ** 2 < radius ** 2:
                    colour = value
            pixels += bytes(min(255, max(0, int(c * light + grain.gauss(0, 6)))) for c in colour)
    return bytes(pixels)


def draw_people(folder, people, takes):
    for person in range(people):
        os.makedirs(os.path.join(folder, f"p{person:02}"), exist_ok=True)
        for take in range(takes):
            with open(os.path.join(folder, f"p{person:02}", f"{take}.png"), "wb") as f:
                f.write(draw(person, take))


def write_pairs(name, persons, takes):
    """Takes of one person, and as many pairs of different persons."""
    lines = []
    for n, person in enumerate(persons):
        for a in range(takes):
            b, other = (a + 1) % takes, persons[(n + 1 + a) % len(persons)]
            lines += [f"p{person:02}/{a}.png p{person:02}/{b}.png 1", f"p{person:02}/{a}.png p{other:02}/{b}.png 0"]
    with open(name, "w") as f:
        f.write("\n".join(lines) + "\n")


def train(*args, status=0):
    done = call(*args, "--threads", "1", "--batch", "16")
    check(f"{args[0]} ends with {status}", done.returncode == status, done.errors[-400:])
    return done


people, model, student = path("people"), path("face.ufm"), path("net.txt")
draw_people(people, 12, 6)
with open(student, "w") as f:
    f.write(NETWORK)

# From persons, with a report.
train("train", people, "-s", student, "-l", "arcface", "-n", "40", "-r", "0.01", "--augment", "0.3", "-o", model,
      "--report", path("report"), "--measure-every", "20")
report = json.load(open(path("report", "report.json")))
losses = [p["loss"] for p in report["curve"]]
check("the loss falls to a half", len(losses) > 3 and losses[-1] < losses[0] / 2, losses)
check("the report tells what it depended on", report["pictures"] == "72" and len(report["data_digest"]) == 64 and
      "arcface" in report["how"], report)
for name in ("report.html", "loss.svg"):
    check(f"{name} is written", os.path.getsize(path("report", name)) > 500)

# The model runs, and tells the persons apart better than one that has learned for a step.
fresh = path("fresh.ufm")
train("train", people, "-s", student, "-l", "arcface", "-n", "0.01", "-o", fresh)
inspected = json.loads(call("inspect", model, "--json").text)
check("the card is in the model", inspected["metadata"]["trained.by"] != "" and
      inspected["metadata"]["task"] == "embedder", inspected)
eers = {}
for name in (model, fresh):
    told = call("evaluate", name, "--folders", people, "--aligned", "--json")
    eers[name] = json.loads(told.text)["eer"] if told.returncode == 0 else 1
    check("a trained model is evaluated", told.returncode == 0, told.errors)
check("learning tells persons apart", eers[model] < 0.1 and eers[model] < eers[fresh] / 2, eers)

# Triplets are made of four pictures of each of four persons.
told = train("train", people, "-s", student, "-l", "triplet", "-n", "1", "-o", path("triplet.ufm"), "--json")
check("triplets come with several pictures of a person", told.returncode == 0 and
      "triplet, 4 pictures of each person" in json.loads(told.text)["how"], told.text[-400:])
error("more persons than there are", 2, "takes 16 persons, there are 12", "train", people, "-s", student, "-l", "triplet",
      "--batch", "32", "--per-person", "2", "-o", path("x.ufm"))

# In INT8, trained through its rounding, on pictures of the crop's size.
crops = path("crops")
os.makedirs(crops)
for person in range(12):
    for take in range(2):
        whole = draw_pixels(person, take)
        half = b"".join(whole[(y * SIDE + x) * 3:(y * SIDE + x) * 3 + 3] for y in range(0, SIDE, 2) for x in range(0, SIDE, 2))
        with open(os.path.join(crops, f"{person}-{take}.png"), "wb") as f:
            f.write(png(half, SIDE // 2))
done = train("quantize", model, "-c", crops, "--qat", "4", "-o", path("bytes.ufm"), "--json")
told = json.loads(done.text) if done.returncode == 0 else {}
said = json.loads(call("meta", path("bytes.ufm"), "--json").text)
check("an INT8 model is trained and stays one", told.get("precision") == "int8" and said["precision"] == "int8" and
      "trained.how" in said and "quantized.agreement" not in said, told)
done = train("finetune", path("bytes.ufm"), people, "-T", model, "-n", "6", "-r", "0.0005", "--held-out", "0.3", "-o",
             path("bytes2.ufm"), "--json")
agreement = float(json.loads(done.text).get("agreement", -1)) if done.returncode == 0 else -1
check("it agrees with the model it was made of", agreement > 0.97, agreement)
train("finetune", path("bytes.ufm"), people, "-T", model, "-n", "1", "-o", path("bytes3.ufm"))
how = json.loads(call("meta", path("bytes3.ufm"), "--json").text)["trained.how"]
check("bytes are trained at a low rate where none is named", "rate 0.0001 to 1e-06, decay 0," in how, how)
error("training of what is not INT8", 2, "--qat", "quantize", model, "-c", crops, "-p", "fp16", "--qat", "1", "-o", path("x.ufm"))
error("training without pictures", 2, "--qat", "quantize", model, "--qat", "1", "-o", path("x.ufm"))
error("INT8 in BF16", 2, "in FP32", "finetune", path("bytes.ufm"), people, "-T", model, "--precision", "bf16", "-o",
      path("x.ufm"))
error("the end of a cosine with steps", 2, "belongs to --schedule cosine", "train", people, "-s", student, "-l", "arcface",
      "--schedule", "step", "--final-rate", "0.001", "-o", path("x.ufm"))

# A model of our own takes batches of any size.
done = call("prune", model, "-c", crops, "--keep", "0.6", "-o", path("pruned.ufm"), "--json")
fewer = os.path.getsize(path("pruned.ufm")) / os.path.getsize(model) if done.returncode == 0 else 1
how = json.loads(call("meta", path("pruned.ufm"), "--json").text)["pruned.how"]
check("channels go where the batch is open", fewer < 0.95 and 0 < float(how.split()[0]) < 75, fewer, how)

# What a model says about itself.
noted = path("noted.ufm")
call("meta", model, "card.limits=drawn faces", "trained.seed=", "-o", noted)
said = json.loads(call("meta", noted, "--json").text)
check("metadata are set and taken away", said["card.limits"] == "drawn faces" and "trained.seed" not in said and
      said["trained.by"] and "card.limits" not in json.loads(call("meta", model, "--json").text), said)
error("metadata want a key and a value", 2, "is not KEY=VALUE", "meta", model, "licence", "-o", path("x.ufm"))

# From a teacher.
distilled = path("small.ufm")
done = call("distill", people, "-T", model, "-s", student, "-n", "60", "-r", "0.01", "--held-out", "0.25", "--augment",
            "0.5", "-o", distilled, "-t", "1", "-b", "16", "--json")
agreement = float(json.loads(done.text).get("agreement", -1)) if done.returncode == 0 else -1
check("a student agrees with its teacher on pictures it has not seen", agreement > 0.6, done.errors[-300:], agreement)
train("finetune", distilled, people, "-T", model, "-n", "2", "-r", "0.001", "-o", path("fine.ufm"))
for command in (["quantize", "-p", "fp16"], ["prune", "--sparsity", "0.5"]):
    done = call(*command, distilled, "-o", path("again.ufm"), "--json")
    check(f"{command[0]} does not take its source's training for its own", done.returncode == 0 and
          json.loads(done.text).get("trained_agreement") is None, done.text, done.errors)

# A deployed model learns on, and is replaced only by one that is no worse on pairs.
pairs, deployed, site, wrong = path("pairs.txt"), path("deployed.ufm"), path("site"), path("wrong.txt")
os.makedirs(site)
for person in range(8):
    os.rename(path("people", f"p{person:02}"), os.path.join(site, f"p{person:02}"))
write_pairs(pairs, list(range(8)), 6)  # of what is learned from: it is the verdict that is tested
shutil.copy(fresh, deployed)
signs = has_signatures()
if signs:
    key = path("release.key")
    check("the deployed model is signed", call("sign", "keygen", "-o", key).returncode == 0 and
          call("sign", deployed, "--key", key, "--release", "4").returncode == 0)
else:
    skip("retrained models were not signed: built without libsodium")
first = open(deployed, "rb").read()
retrain = ["retrain", site, "-m", deployed, *(["--sign-key", key] if signs else []), "-l", "arcface",
           "-p", pairs, "-i", site, "--aligned", "--augment", "0.3"]
os.mkdir(deployed + ".previous")  # where the deployed model is to go
done = train(*retrain, "-n", "0.01", "-r", "1e-9", "-o", path("new.ufm"), "--promote", status=3)
check("a model that cannot be put aside stays in use", ".previous" in done.errors and
      open(deployed, "rb").read() == first, done.errors)
check("and nothing is left beside it", not os.path.exists(deployed + ".candidate"))
os.rmdir(deployed + ".previous")
done = train(*retrain, "--angular", "0", "-n", "40", "-r", "0.01", "-o", path("new.ufm"), "--promote")
check("a better model is accepted", "accepted" in done.stdout.decode(), done.stdout.decode())
check("it takes the deployed one's place, which stays beside it",
      open(deployed + ".previous", "rb").read() == first and
      open(deployed, "rb").read() == open(path("new.ufm"), "rb").read())
if signs:
    done = call("sign", "verify", deployed, "--trusted", key + ".pub", "--min-release", "5", "--json")
    check("the candidate is signed as the next release", done.returncode == 0 and
          json.loads(done.text)["signature"]["release"] == 5, done.errors)
    error("a key that is none", 3, "no secret key", "retrain", site, "-m", deployed, "-p", pairs, "-i", site,
          "--aligned", "--sign-key", key + ".pub", "-o", path("x.ufm"))
# The same pairs with their answers turned round: what tells persons apart better is worse at these.
with open(wrong, "w") as f:
    f.writelines(line[:-2] + ("0" if line[-2] == "1" else "1") + "\n" for line in open(pairs))
shutil.copy(fresh, deployed)
retrain[retrain.index(pairs)] = wrong
done = train(*retrain, "--angular", "0", "-n", "40", "-r", "0.01", "-o", path("worse.ufm"), "--promote", status=1)
check("a worse model is refused", "refused" in done.stdout.decode(), done.stdout.decode())
check("and the deployed one stays", open(deployed, "rb").read() == open(fresh, "rb").read() and
      not os.path.exists(path("worse.ufm")))
for person in range(8):
    os.rename(os.path.join(site, f"p{person:02}"), path("people", f"p{person:02}"))

# What is refused, and how.
for option in ("-o", "--checkpoint", "--report"):
    places = {"-o": path("x.ufm"), option: "/dev/null/here" if option == "--report" else path("nowhere", "x")}
    done = error(f"what cannot be written for {option} is told before the work", 3, "", "train", people, "-s", student,
                 "-l", "arcface", "-n", "100000", *(word for pair in places.items() for word in pair))
device = path("device")
os.mkfifo(device)
error("no file takes the place of a device", 3, "not a regular file", "quantize", model, "-p", "fp16", "-o", device)
check("it stays", stat.S_ISFIFO(os.stat(device).st_mode))
error("a detector is no teacher of an embedder", 3, "teacher", "distill", people, "-T", distilled, "-s", "yunet", "-o",
      path("x.ufm"))
error("an unknown student", 3, "there are:", "train", people, "-s", "resnet", "-l", "arcface", "-o", path("x.ufm"))
error("an unknown loss", 2, "there is no", "train", people, "-s", student, "-l", "centre", "-o", path("x.ufm"))
error("no pictures", 3, "nowhere", "train", path("nowhere"), "-s", student, "-l", "arcface", "-o", path("x.ufm"))
error("patience without scores", 2, "-p PAIRS is needed", "train", people, "-s", student, "-l", "arcface",
      "--patience", "3", "-o", path("x.ufm"))
error("no teacher", 2, "-T", "distill", people, "-s", student, "-o", path("x.ufm"))
error("too few pictures", 2, "fewer than one batch", "train", people, "-s", student, "-l", "arcface", "-b", "200", "-o",
      path("x.ufm"))
check("nothing was written", not os.path.exists(path("x.ufm")))


# Killed twenty times, a run ends where an uninterrupted one does.
def long_run(output, checkpoint):
    return [program, "train", people, "-s", student, "-l", "unified-ce", "-n", "150", "-t", "1", "-b", "16",
            "--checkpoint", checkpoint, "--checkpoint-every", "0.02", "--blend", "0", "-o", output]


started = time.monotonic()
whole = subprocess.run(long_run(path("whole.ufm"), path("whole.ckpt")), env=environment, capture_output=True)
seconds = time.monotonic() - started
check("a run with a checkpoint ends", whole.returncode == 0, whole.stderr[-300:])
kills, told, dice = 0, True, random.Random(5)
for attempt in range(200):
    p = subprocess.Popen(long_run(path("parts.ufm"), path("parts.ckpt")), env=environment, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    if kills < 20:
        try:
            p.wait(timeout=seconds * (0.04 + 0.06 * dice.random()))
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL if kills % 2 else signal.SIGTERM)
            kills += 1
    errors = p.communicate()[1]
    if p.returncode == 0:
        break
    told = told and (p.returncode in (-signal.SIGKILL, -signal.SIGTERM) or b"goes on" in errors)
check("an interrupted run says how to go on", told, errors)
check("the run was interrupted often", kills >= 10, kills)
same = all(os.path.exists(path(n)) for n in ("whole.ufm", "parts.ufm")) and \
    open(path("whole.ufm"), "rb").read() == open(path("parts.ufm"), "rb").read()
check("interrupted or not, the weights are the same", same)

# A checkpoint of another run, and damaged ones.
error("other options", 3, "another file", *long_run(path("x.ufm"), path("whole.ckpt"))[1:], "--seed", "2")
with open(path("whole.ckpt"), "r+b") as f:
    f.seek(5000)
    f.write(b"\xff\xff")
error("a damaged checkpoint", 3, "damaged", *long_run(path("x.ufm"), path("whole.ckpt"))[1:])
finish()
