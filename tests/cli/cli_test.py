#!/usr/bin/env python3
"""The command line as a user meets it: help, errors, exit statuses, JSON, documents, real photos.

usage: cli_test.py UNIFACE
"""
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import xml.dom.minidom

program = sys.argv[1]
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
passed = failed = skipped = 0
folder = tempfile.mkdtemp()
environment = dict(os.environ, UNIFACE_MODELS=os.path.join(folder, "store"))


def call(*args, stdin=None):
    return subprocess.run([program, *args], capture_output=True, env=environment, input=stdin, timeout=120)


def check(label, ok, text=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL {label}: {text}")


def skip(reason):
    global skipped
    skipped += 1
    print(f"SKIP {reason}")


def error(label, status, part, *args):
    """The call fails with this status and says so in one line that contains `part`."""
    done = call(*args)
    text = done.stderr.decode()
    check(label, done.returncode == status and part in text and text.startswith("uniface: "),
          f"exit {done.returncode}: {text}")


COMMANDS = ["import", "inspect", "detect", "embed", "verify", "calibrate", "quantize", "optimize", "prune", "compare", "evaluate", "bench", "profile", "run", "sign",
            "devices", "completion", "man"]

# ---- help and documents ----
for command in COMMANDS:
    done = call(command, "--help")
    text = done.stdout.decode()
    check(f"{command} --help", done.returncode == 0 and "usage: uniface " + command in text and
          "examples:" in text and "exit status:" in text and "--json" in text, text)
    page = call("man", command).stdout
    check(f"man {command}", page.startswith(b".TH UNIFACE-"))
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tascii", "-ww"], input=page, capture_output=True)
        check(f"man {command} is clean", done.returncode == 0 and not done.stderr, done.stderr)
if not shutil.which("groff"):
    skip("manual pages were not formatted: groff is not installed")
every = re.findall(r"^  (\S+) +\S", call("--help").stdout.decode(), re.M)
for group in list(every):
    every += re.findall(rf"^  ({group} \S+)  ", call(group, "--help").stdout.decode(), re.M)
check("all commands are listed", len(every) > 50 and set(COMMANDS) <= set(every), every)
helps = {command: call(*command.split(), "--help").stdout.decode() for command in every}
for command, text in helps.items():
    check(f"help {command}", call("help", *command.split()).stdout.decode() == text)
    for line in text.split("\nexamples:\n")[1].split("\nexit status:")[0].split("\n"):
        words = shlex.split(line.split(" | ")[0], comments=True)
        if "uniface" not in words:
            continue
        words = words[words.index("uniface") + 1:]
        called = " ".join(words[:2]) if " ".join(words[:2]) in helps else words[0]
        unknown = [w for w in words if w.startswith("-") and w != "-" and not re.search(
            rf"^ +(-\S, )?{re.escape(w.split('=')[0])}\b|^ +{re.escape(w)},", helps[called], re.M)]
        check(f"the example `{line.strip()}` has options that there are", not unknown, unknown)
script = call("completion").stdout
done = subprocess.run(["bash", "-n"], input=script, capture_output=True)
check("completion is valid bash", done.returncode == 0 and all(c.encode() in script for c in COMMANDS),
      done.stderr)
done = subprocess.run(["bash", "-c", script.decode() + "\nCOMP_WORDS=(uniface verify --f) COMP_CWORD=2\n"
                       "_uniface\nprintf '%s ' ${COMPREPLY[@]}"], capture_output=True, text=True)
check("completion completes options", done.stdout.split() == ["--flip", "--far"], done.stdout + done.stderr)
check("no command prints usage", call().returncode == 2)
check("--version", call("--version").stdout.startswith(b"uniface "))

# ---- evaluate, on planted scores ----
planted = os.path.join(folder, "scores.tsv")
with open(planted, "w") as f:
    f.write("# impostors 0.000 .. 0.999, genuine 0.50 .. 1.49, and one trial that could not be made\n")
    f.writelines(f"{i / 1000:.3f} 0\n" for i in range(1000))
    f.writelines(f"{0.5 + i / 100:.2f} 1\n" for i in range(99))
    f.write("fail 1\n")
report = os.path.join(folder, "deep", "report")
done = call("evaluate", "--scores", planted, "--threshold", "0.8995", "--json", "--report", report)
check("evaluate planted scores", done.returncode == 0, done.stderr)
r = json.loads(done.stdout) if done.returncode == 0 else {}
check("planted rates", r and r["genuine_trials"] == 100 and r["genuine_not_made"] == 1 and
      abs(r["eer"] - 0.255) < 0.006 and r["at_far"][0]["rule_of_30"] and not r["at_far"][1]["rule_of_30"] and
      len(r["at_far"]) == 3 and r["at_threshold"][0]["far"]["errors"] == 100 and
      r["at_threshold"][0]["frr"]["errors"] == 41 and r["at_threshold"][0]["fnmr"]["errors"] == 40 and
      r["at_threshold"][0]["fnmr"]["trials"] == 99, done.stdout)
check("planted folds and bootstrap", r and r["folds"]["count"] == 10 and
      r["bootstrap"]["eer"][0] < r["eer"] < r["bootstrap"]["eer"][1], done.stdout)
for name in ["roc.svg", "det.svg"]:
    try:
        svg = xml.dom.minidom.parse(os.path.join(report, name))
        check(name, len(svg.getElementsByTagName("polyline")) >= 1)
    except Exception as e:
        check(name, False, e)
curve = open(os.path.join(report, "curve.csv")).read().split("\n")
check("curve.csv", curve[0] == "threshold,far,frr" and len(curve) > 500 and curve[1].startswith("0,1,0.01"), curve[:3])
check("report.json", json.load(open(os.path.join(report, "report.json"))) == r)
check("evaluate prints", b"EER 25." in call("evaluate", "--scores", planted).stdout)
error("no source of trials", 2, "one of --pairs", "evaluate", "x.ufm")
error("two sources of trials", 2, "one of --pairs", "evaluate", "x.ufm", "--pairs", "a", "--scores", "b")
error("evaluate without a model", 2, "which MODEL", "evaluate", "--pairs", planted)
error("missing list", 3, "/no/list", "evaluate", "x.ufm", "--pairs", "/no/list")
bad_list = os.path.join(folder, "bad-list")
with open(bad_list, "w") as f:
    f.write("a.jpg b.jpg 1\na.jpg b.jpg perhaps\n")
error("a list that is none", 3, "line 2", "evaluate", "x.ufm", "--pairs", bad_list)
with open(planted, "a") as f:
    f.write("0.5 2\n")
error("a bad line of scores", 3, "scores.tsv:1102", "evaluate", "--scores", planted)

# ---- wrong usage and inputs ----
error("unknown command is named", 2, 'no command "detekt"', "detekt")
error("unknown option", 2, "no option --colour", "detect", "--colour", "x.jpg")
error("missing value", 2, "needs a value", "detect", "x.jpg", "--detector")
error("missing operand", 2, "needs A B", "verify", "a.jpg")
error("extra operand", 2, "too many", "inspect", "a", "b")
error("bad number", 2, "--threads must be a whole number", "bench", "x.ufm", "--threads", "many")
error("a purpose of two pictures", 2, "--purpose goes with --id", "verify", "a.jpg", "b.jpg", "--purpose", "door")
error("number out of range", 2, "from 1 to 4096", "bench", "x.ufm", "--batch", "0")
done = call("bench", "gallery", "--count", "250", "--dim", "64", "--transaction", "100", "--singles", "60", "--probes", "100", "--deletions",
            "3", "--dir", folder, "--json")
r = json.loads(done.stdout or "{}")
check("bench gallery: everybody is enrolled, also a last part of a transaction, and found",
      [(r[s]["people"], r[s]["mates_found"]) for s in ("encrypted", "plain") if s in r] == [(307, 1), (307, 1)], done)
error("a number that is not whole", 2, "--batch must be a whole number", "embed", "x.jpg", "-o", "x.npy", "--batch", "1.5")
for words in ("detect x.jpg --threads 1.5", "bench x.ufm --batch 2.5", "run x.ufm --threads 1.5", "bench x.ufm --size 64.5", "detect x.jpg --size 64.5",
              "bench search --probes 1.5", "identify x.jpg -g y --top 2.5", "cluster x --min-size 2.5", "evaluate x.ufm --pairs y --folds 2.5",
              "bench gallery --count 0.5e1.5", "gallery audit -g x --from 1.5"):
    name = next(w for w in words.split() if w.startswith("--") and w != "--pairs")
    error(f"{words}: a number that is not whole", 2, f"{name} must be a whole number", *words.split())
error("what has fractions may have them", 3, "/no/such.ufm", "bench", "/no/such.ufm", "--seconds", "0.5")
error("a place that cannot be written is said before the work", 3, "/no/such/x.npy: cannot create", "embed", "x.jpg", "-o",
      "/no/such/x.npy")
error("a folder is no place for an array", 3, "not a regular file", "embed", "x.jpg", "-o", folder)
nothing = os.path.join(folder, "nothing")
os.makedirs(nothing, exist_ok=True)
error("detect: a folder without pictures", 3, "no pictures in", "detect", nothing)
error("a folder without pictures", 3, "no pictures in", "embed", nothing, "-o", os.path.join(folder, "x.npy"))
error("a folder without pictures among others", 3, "no pictures in", "detect", "x.jpg", nothing)
error("an argument that is empty", 2, "an argument is empty", "detect", "")
error("an output without a name", 2, "is empty", "embed", "x.jpg", "-o", "")
error("an id that is empty", 2, "--id is empty", "enroll", "-g", "x", "--id", "", "x.jpg")
error("metadata is looked at before the work", 2, "--metadata must be a JSON object", "enroll", "-g", "x", "--id", "x", "x.jpg", "--metadata", "[1]")
error("help of what is no command", 2, 'no command "detekt"', "help", "detekt")
for status, words in ((2, "detect"), (2, "detekt x"), (2, "detect x.jpg --colour"), (2, "detect x.jpg --threads 1.5"), (3, "detect /no/such.jpg"),
                      (3, "detect x.jpg -d /no/such.ufm"), (3, "embed x.jpg -o /no/such/x.npy"), (3, "embed /no/such.jpg -o x.npy -e /no/such.ufm"),
                      (3, "verify /no/a.jpg /no/b.jpg"), (3, "inspect /no/such.ufm"), (3, "run /no/such.ufm"), (3, "list -g /no/such.ufg"),
                      (3, "optimize /no/such.ufm -c x -o x.ufm"), (3, "bench /no/such.ufm"), (2, "gallery nonsense"), (3, "profile /no/such.jpg")):
    done = call(*words.split(), "--json")
    try:
        r = json.loads(done.stdout)
    except ValueError:
        r = None
    told = r[0] if isinstance(r, list) and r else r
    check(f"{words}: a failure in JSON", done.returncode == status and isinstance(told, dict) and told["error"] in done.stderr.decode() and
          told.get("status", status) == status, done)
error("missing model", 3, "/no/such.ufm", "inspect", "/no/such.ufm")
error("folder as model", 3, folder, "inspect", folder)
error("an unknown model", 3, "uniface models list", "detect", "x.jpg", "-d", "nobody")
error("import needs a place", 2, "-o", "import", "x.onnx")
open(os.path.join(folder, "empty.onnx"), "w").close()
error("empty model", 3, "empty", "inspect", os.path.join(folder, "empty.onnx"))
with open(os.path.join(folder, "text.onnx"), "w") as f:
    f.write("hello\n" * 100)
error("text is no network", 3, "no ONNX network", "import", os.path.join(folder, "text.onnx"), "-o", os.path.join(folder, "x.ufm"))
with open(os.path.join(folder, "made.ufm"), "wb") as f:
    f.write(b"\x89UFM\r\n\x1a\n" + bytes(100))
error("a .ufm model is not imported", 3, "a .ufm model already", "import", os.path.join(folder, "made.ufm"), "-o",
      os.path.join(folder, "x.ufm"))
with open("/dev/full", "w") as full:
    for words in (["--help"], ["--version"], ["detect", "--help"]):
        done = subprocess.run([program, *words], stdout=full, stderr=subprocess.PIPE, env=environment)
        check(f"{words} on a full disk", done.returncode == 3 and b"standard output" in done.stderr, done)
error("text as model", 3, "text.onnx", "inspect", os.path.join(folder, "text.onnx"))
devices = json.loads(call("devices", "--json").stdout)
check("devices", devices and devices[0]["name"] == "CPU" and devices[0]["cores"] >= 1)
done = subprocess.run([program, "devices"], capture_output=True, env=dict(environment, UNIFACE_CPU="z80"))
check("a wrong UNIFACE_CPU is no crash", done.returncode in (0, 2, 3), done.stderr)

# ---- the main job ----
models, photos = os.path.join(shared, "models"), os.path.join(shared, "testdata", "london")
if not os.path.isdir(models) or not os.path.isdir(photos):
    skip(f"real networks and photos: none in {shared}")
else:
    d, e = os.path.join(folder, "d.ufm"), os.path.join(folder, "e.ufm")
    a, b, c = (os.path.join(photos, n) for n in ("001_neutral.jpg", "001_smiling.jpg", "002_neutral.jpg"))
    done = call("import", os.path.join(models, "yunet_n_320.onnx"), "-o", d, "--licence", "Apache-2.0", "--json")
    check("import", done.returncode == 0 and json.loads(done.stdout)["family"] == "yunet", done.stderr)
    done = call("import", os.path.join(models, "mobilefacenet_foamliu.onnx"), "-o", e, "--default")
    check("import --default", done.returncode == 0 and os.path.exists(os.path.join(folder, "store/embedder.ufm")),
          done.stderr)
    error("wrong preset", 3, "there are: yunet", "import", os.path.join(models, "yunet_n_320.onnx"), "-o", d,
          "--preset", "nonsense")
    info = json.loads(call("inspect", d, "--json").stdout)
    check("inspect", info["metadata"]["licence"] == "Apache-2.0" and info["macs"] > 1e7 and info["steps"])
    found = json.loads(call("detect", a, b, "-d", d, "--json").stdout)
    check("detect", [len(p["faces"]) for p in found] == [1, 1] and len(found[0]["faces"][0]["landmarks"]) == 10)
    eyes = found[0]["faces"][0]["landmarks"][:4]
    check("the left eye comes first, as the viewer sees it", eyes[0] < eyes[2], eyes)
    with open(a, "rb") as f:
        done = call("detect", "-", "-d", d, "--json", stdin=f.read())
    check("detect from standard input", json.loads(done.stdout)[0]["faces"] == found[0]["faces"])
    picture = os.path.join(folder, "faces.png")
    check("detect --draw", call("detect", a, "-d", d, "--draw", picture).returncode == 0 and
          os.path.getsize(picture) > 10000)
    check("a picture without faces is told by status 1",
          call("detect", picture, "-d", d, "--score", "1").returncode == 1)
    done = call("detect", a, os.path.join(folder, "text.onnx"), "-d", d)
    check("a bad picture does not stop the others", done.returncode == 3 and b"1 face" in done.stdout and
          b"text.onnx" in done.stderr and b"1 of 2" in done.stderr, done.stderr)
    mixed = os.path.join(folder, "mixed")
    os.makedirs(mixed)
    for i in range(12):
        shutil.copy((a, b, c)[i % 3], os.path.join(mixed, f"{i:02}.jpg"))
    with open(os.path.join(mixed, "05.jpg"), "w") as f:
        f.write("no picture")
    done = call("detect", mixed, "-d", d, "--json")
    r = json.loads(done.stdout)
    check("detect: a folder in order, the bad picture in its place", done.returncode == 3 and b"1 of 12" in done.stderr and
          [os.path.basename(p["image"]) for p in r] == [f"{i:02}.jpg" for i in range(12)] and
          [("05.jpg" in p.get("error", ""), len(p.get("faces", []))) for p in r] == [(i == 5, int(i != 5)) for i in range(12)] and
          r[0]["faces"] == r[9]["faces"] == found[0]["faces"], done)
    done = call("embed", mixed, "-d", d, "-o", os.path.join(folder, "mixed.npy"), "--json")
    r = json.loads(done.stdout)
    check("embed: the bad picture in its place", done.returncode == 3 and [p.get("row") for p in r] ==
          [0, 1, 2, 3, 4, None, 5, 6, 7, 8, 9, 10] and "05.jpg" in r[5]["error"], done)
    small, whole = (json.loads(call("detect", a, "--size", "160", "--json", *more).stdout)[0] for more in ([], ["--draw", picture]))
    check("detect: what was decoded at half the size is told in pixels of the whole picture", small["width"] == whole["width"] == 640 and
          max(abs(x - y) for x, y in zip(small["faces"][0]["box"], whole["faces"][0]["box"])) < 8 and
          abs(small["faces"][0]["quality"]["total"] - whole["faces"][0]["quality"]["total"]) < 0.02, (small, whole))
    error("verify names the picture that is missing", 3, "/no/such.jpg", "verify", a, "/no/such.jpg", "-d", d)
    error("verify names the picture without a face", 3, "001_smiling.jpg: no face found", "verify", b, a, "-d", d, "--score", "1")
    npy = os.path.join(folder, "e.npy")
    rows = json.loads(call("embed", a, b, c, "-d", d, "-o", npy, "--json").stdout)
    check("embed", len(rows) == 3 and os.path.getsize(npy) == 128 + 3 * 128 * 4)
    os.chmod(npy, 0o600)
    call("embed", a, "-d", d, "-o", npy)
    check("who may read templates stays", os.stat(npy).st_mode & 0o777 == 0o600, oct(os.stat(npy).st_mode))
    whole = {r["image"]: r["face"][0]["box"] for r in rows}
    found = {r["image"]: r["faces"] for r in json.loads(call("detect", a, b, c, "-d", d, "--json").stdout)}
    check("embed finds faces where detect does", all(min(max(abs(x - y) for x, y in zip(f["box"], box)) for f in found[image]) < 1
          for image, box in whole.items()), whole)
    with open(a, "rb") as f:
        done = call("embed", "-", "-d", d, "-o", npy, "--json", stdin=f.read())
    check("embed takes standard input", done.returncode == 0 and json.loads(done.stdout)[0]["image"] == "-", done.stderr)
    done = call("embed", a, os.path.join(folder, "text.onnx"), "-d", d, "-o", npy)
    check("embed: a bad picture does not stop the others", done.returncode == 3 and b"1 templates" in done.stdout and
          b"text.onnx" in done.stderr and not glob.glob(npy + ".*"), done)
    error("embed: the end of the disk", 3, "/dev/full: it cannot be written: No space", "embed", a, "-d", d, "-o", "/dev/full")
    scores = [json.loads(call("verify", a, x, "-d", d, "--threshold", "0.3", "--json").stdout) for x in (b, c)]
    check("verify", scores[0]["same"] is True and scores[1]["same"] is False, scores)
    check("the answer no is status 1", call("verify", a, c, "-d", d, "--threshold", "0.3").returncode == 1)
    done = call("verify", a, b, "-d", d)
    check("no threshold is invented", done.returncode == 3 and b"no decision" in done.stdout and
          b"calibrate" in done.stdout, done.stdout)
    pairs = os.path.join(folder, "pairs")
    people = ["001", "002", "003", "004", "005", "006"]
    with open(pairs, "w") as f:
        for i in people:
            for j in people:
                f.write(f"{i}_neutral.jpg {j}_smiling.jpg {int(i == j)}\n")
    done = call("calibrate", e, "-d", d, "--pairs", pairs, "--images", photos, "--json")
    points = json.loads(done.stdout)["thresholds"]
    check("calibrate measures what the pairs can tell", [p["far"] for p in points] == [0.1], done.stdout)
    done = call("verify", a, b, "-d", d, "-e", e, "--far", "0.1", "--json")
    check("verify uses it", json.loads(done.stdout)["same"] is True and done.returncode == 0, done.stdout)
    for i in people:
        os.makedirs(os.path.join(folder, "people", i))
        for look in ("neutral", "smiling"):
            shutil.copy(os.path.join(photos, f"{i}_{look}.jpg"), os.path.join(folder, "people", i))
    done = call("calibrate", e, "-d", d, "--folders", os.path.join(folder, "people"), "-o", os.path.join(folder, "f.ufm"), "--json")
    r = json.loads(done.stdout)
    check("calibrate takes folders of people", r["genuine_trials"] == 6 and r["impostor_trials"] == 60
          and r["impostors_sampled"] is False, done.stdout)
    error("calibrate: no --images with folders", 2, "--images goes with --pairs", "calibrate", e, "-d", d, "--folders", folder, "--images",
          photos)
    error("calibrate wants one source", 2, "one of --pairs, --folders", "calibrate", e, "-d", d, "--pairs", pairs, "--folders", folder)
    with open(pairs, "w") as f:
        f.write("one two three\n")
    error("a bad pairs file", 3, "line 1", "calibrate", e, "-d", d, "--pairs", pairs)
    r = json.loads(call("bench", e, "--seconds", "0.05", "--threads", "1", "--json").stdout)
    check("bench", r["latency_ms"]["p50"] <= r["latency_ms"]["p99"] and r["peak_rss_bytes"] > 1e6 and
          r["operators"][0]["kernel"] and r["threads"] == 1, r)
    done = call("profile", a, "--size", "160", "--runs", "3", "--json")
    r = json.loads(done.stdout) if done.returncode == 0 else {}
    stages = {s["stage"]: s for s in r.get("stages", [])}
    check("profile: every stage of the way", list(stages) == [
        "decode", "decode_again", "detector_input", "detector_network", "detector_faces", "quality", "align", "embedder_input",
        "embedder_network", "embedder_template", "compare"] and r["runs"] == 3 and r["faces"] == 1, done.stderr)
    check("profile: shares are of the whole, the best is no more than the median", r and
          abs(sum(s["share"] for s in stages.values()) - 1) < 1e-3 and
          all(s["best_ms"] <= s["median_ms"] <= s["p95_ms"] for s in [*stages.values(), r["total"]]) and
          r["total"]["best_ms"] >= max(s["best_ms"] for s in stages.values()), r)
    check("profile: decodes as embed does", r and (r["width"], r["decoded_width"]) == (640, 320), r)
    check("profile: layers of both networks", r and all(
        len(r[n]["layers"]) > 20 and r[n]["runs_per_picture"] == 1 and all(x["kernel"] and x["op"] for x in r[n]["layers"]) and
        abs(sum(x["time_us"] for x in r[n]["layers"]) - r[n]["layers_ms"] * 1e3) < 1 for n in ("detector", "embedder")), r)
    text = call("profile", a, "-d", d, "-n", "1", "--size", "auto", "--flip", "--layers", "2").stdout.decode()
    check("profile: text", "detector: boxes and NMS" in text and text.count("the slowest:") == 2 and
          text.count("in the last of its runs") == 2 and len(text.split("the slowest:")[2].strip().split("\n")) == 3, text)
    error("profile: standard input", 2, "name a file", "profile", "-", "-d", d)
    error("profile: whole runs", 2, "--runs must be a whole number", "profile", a, "-d", d, "--runs", "2.5")
    error("profile: no face", 3, "faces.png: no face found", "profile", picture, "-d", d, "--score", "1")
    small = os.path.join(folder, "small.ufm")
    done = call("quantize", e, "-d", d, "-c", photos, "-n", "8", "-o", small, "--json")
    info = json.loads(done.stdout) if done.returncode == 0 else {}
    check("quantize", info.get("precision") == "int8" and info["size_bytes"] < 0.3 * info["source_size_bytes"] and
          float(info["agreement"]) > 0.99 and info["calibration_pictures"] == 8, done.stdout + done.stderr)
    steps = json.loads(call("bench", small, "--seconds", "0.05", "--json").stdout)["operators"]
    check("an INT8 model runs in INT8", sum("_u8_" in s["kernel"] for s in steps) > 40, steps[:3])
    error("calibration without pictures", 3, "no pictures in " + nothing, "quantize", e, "-c", nothing, "-o", small)
    error("a model for another task is named", 3, "e.ufm: the model is no detector", "detect", a, "-d", e)
    error("the second of two models too", 3, "d.ufm: the model is no embedder", "verify", a, b, "-d", d, "-e", d)
    shutil.copy(a, os.path.join(nothing, "A.Jpg"))
    check("names end in letters of any case", b"A.Jpg: 1 face" in call("detect", nothing, "-d", d).stdout)
    error("no calibration is refused", 2, "measured, not guessed", "quantize", e, "-o", small)
    error("a quantised model is refused", 3, "already", "quantize", small, "-d", d, "-c", photos, "-n", "8", "-o", e)
    error("too few pictures are refused", 3, "at least 8", "quantize", e, "-d", d, "-c", a, "-o", small)
    error("a wrong precision", 2, "int8, fp16 or bf16", "quantize", e, "--precision", "int4", "-o", small)
    error("a rate without training", 2, "belong to --qat", "quantize", e, "-p", "fp16", "--rate", "0.1", "-o", small)
    error("a batch without training", 2, "belong to --finetune", "prune", e, "--sparsity", "0.5", "-b", "8", "-o", small)
    done = call("optimize", d, "-c", photos, "-n", "8", "--min-cosine", "0.99", "-o", os.path.join(folder, "d8.ufm"),
                "--json")
    r = json.loads(done.stdout)
    check("optimize", len(r["trials"]) >= 16 and max(t["agreement"] for t in r["trials"]) > 0.95 and r["ms"] > 0,
          done.stdout + done.stderr)
    slim = os.path.join(folder, "slim.ufm")
    done = call("prune", e, "-d", d, "-c", photos, "-n", "30", "--keep", "0.9", "-o", slim, "--json")
    r = json.loads(done.stdout) if done.returncode == 0 else {}
    check("prune", r and len(r["trials"]) > 10 and float(r["agreement"]) > 0.8 and
          r["parameters"] < r["source_parameters"] and r["size_bytes"] < r["source_size_bytes"], r)
    check("a pruned model runs", call("bench", slim, "--seconds", "0.05", "--json").returncode == 0)
    r = json.loads(call("prune", e, "--sparsity", "0.5", "-o", slim, "--json").stdout)
    check("sparsity needs no pictures", r["parameters"] == r["source_parameters"] and r["trials"] == [], r)
    error("two ways to prune", 2, "one of --keep", "prune", e, "--keep", "0.5", "--sparsity", "0.5", "-o", slim)
    error("pruning is not guessed", 2, "measured, not guessed", "prune", e, "-o", slim)
    error("an INT8 model is not pruned", 3, "prune the FP32 model", "prune", small, "--sparsity", "0.5", "-o", slim)
    error("a wrong goal", 2, "latency or accuracy", "optimize", d, "-c", photos, "-n", "8", "--goal", "beauty", "-o",
          os.path.join(folder, "d8.ufm"))
    with open(pairs, "w") as f:
        for i in people:
            for j in people:
                f.write(f"{i}_neutral.jpg {j}_smiling.jpg {int(i == j)}\n")
    gates = ["compare", e, small, "-d", d, "--images", photos, "--pairs", pairs, "--far", "0.1", "--json"]
    done = call(*gates, "--min-cosine", "0.98", "--max-tar-drop", "50")
    r = json.loads(done.stdout)
    check("compare", done.returncode == 0 and r["accepted"] and r["genuine_pairs"] == 6 and r["size_ratio"] < 0.3 and
          0.98 < r["cosine_p1"] <= r["cosine_mean"] <= 1 and r["mcnemar_p"] > 0.05, done.stdout + done.stderr)
    page = os.path.join(folder, "pages", "compare.html")
    r = json.loads(call(*gates, "--layers", "--report", page).stdout)
    check("layers", len(r["layers"]) > 40 and all(x["bits"] == 8 and 5 < x["snr_db"] < 60 for x in r["layers"]),
          r["layers"][:3])
    html = open(page).read()
    check("the page of compare", "<svg" in html and "verdict: the second is" in html and "McNemar" in html, html[:200])
    done = call(*gates, "--min-speedup", "900")
    check("a missed gate is status 1", done.returncode == 1 and not json.loads(done.stdout)["accepted"], done.stdout)
    r = json.loads(call("compare", d, d, "--images", photos, "--json").stdout)
    check("a detector equals itself", r["matched_percent"] == 100 and r["new_percent"] == 0 and r["faces"] >= 100, r)
    error("an embedder and a detector", 3, "two embedders or two detectors", "compare", e, d, "--images", photos)
    faceless = os.path.join(folder, "faceless")
    os.mkdir(faceless)
    with open(os.path.join(faceless, "broken.jpg"), "w") as f:
        f.write("no picture")
    for model in (d, e):
        error("nothing was compared", 3, "no face was found in the pictures of", "compare", model, model, "-d", d, "--images", faceless)
    error("a gate for embedders", 2, "says nothing about detectors", "compare", d, d, "--images", photos, "--min-cosine", "0.9")
    error("a gate for detectors", 2, "says nothing about embedders", "compare", e, e, "--images", photos, "--min-matched", "9")
    error("a gate without its pairs", 2, "needs embedders and --pairs", "compare", e, e, "--images", photos, "--max-tar-drop", "1")
    done = call("evaluate", e, "-d", d, "--pairs", pairs, "--images", photos, "--folds", "2", "--json")
    r = json.loads(done.stdout) if done.returncode == 0 else {}
    check("evaluate pairs", r and r["genuine_trials"] == 6 and r["eer"] < 0.2 and r["model_id"] and
          r["pictures_failed"] == 0, done.stderr)
    error("nothing to compare on", 2, "--images", "compare", e, small)
    done = call("quantize", e, "--precision", "fp16", "-o", small, "--json")
    check("quantize --precision fp16", json.loads(done.stdout)["size_bytes"] < 0.53 * os.path.getsize(e), done.stdout)
    scores = [json.loads(call("verify", a, b, "-d", d, "-e", x, "--threshold", "0.3", "--json").stdout)["score"]
              for x in (e, small)]
    check("FP16 gives the same scores", abs(scores[0] - scores[1]) < 1e-3, scores)
    error("an embedder is no detector", 3, "embedder", "detect", a, "-d", e)
    big = json.loads(call("detect", os.path.join(shared, "testdata", "photos", "1.jpg"), "-d", d, "--size", "auto",
                          "--json").stdout)[0]["faces"]
    check("auto finds at least what one scale does", len(big) >= 50, len(big))
shutil.rmtree(folder)
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
