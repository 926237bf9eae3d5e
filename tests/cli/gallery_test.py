#!/usr/bin/env python3
"""Galleries from the command line, without models: people from files, keys, copies, exports; bench search.

usage: gallery_test.py UNIFACE
"""
import array
import json
import math
import os
import pty
import random
import select
import shutil
import signal
import stat
import struct
import subprocess

from harness import answer, call, check, environment, error, finish, folder, path, program, skip, SECRET


def write_npy(name, rows, kind="f", descr="<f4"):
    shape = f"({len(rows)}, {len(rows[0])})" if kind == "f" else f"({len(rows)},)"
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    with open(name, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        f.write(array.array(kind, [x for r in rows for x in r] if kind == "f" else rows).tobytes())


def read_npy(name):
    with open(name, "rb") as f:
        data = f.read()
    head = data[10:10 + struct.unpack("<H", data[8:10])[0]].decode()
    count, dimension = eval(head)["shape"]
    values = array.array("f", data[10 + len(head):])
    return [values[i * dimension:(i + 1) * dimension] for i in range(count)]


# ---- help, wrong usage ----
COMMANDS = ["enroll", "identify", "delete", "list", "export", "cluster", "bench search"] + \
    ["gallery " + c for c in ("stats", "verify", "audit", "expire", "compact", "reindex", "rotate-key", "passphrase",
                              "migrate", "copy", "export", "import")]
if not shutil.which("groff"):
    skip("manual pages were not formatted: groff is not installed")
for command in COMMANDS:
    done = call(*command.split(), "--help")
    check(f"{command} --help", done.returncode == 0 and f"usage: uniface {command}" in done.text and
          "examples:" in done.text and "exit status:" in done.text and "--json" in done.text, done.text)
    for page in (call("man", *command.split()), call("man", command.replace(" ", "-"))):
        check(f"man {command}", page.stdout.startswith(b".TH UNIFACE-" + command.replace(" ", "-").encode()),
              page.errors)
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tascii", "-ww"], input=page.stdout, capture_output=True)
        check(f"man {command} is clean", done.returncode == 0 and not done.stderr, done.stderr)
check("gallery --help lists its commands", "gallery rotate-key" in call("gallery", "--help").text)
check("bench --help names bench search", "bench search" in call("bench", "--help").text)
script = call("completion").text


def complete(*words):
    quoted = " ".join(f"'{w}'" for w in words)
    done = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
                           "_uniface\nprintf '%s ' ${COMPREPLY[@]}"], capture_output=True, text=True, cwd=folder)
    return done.stdout.split()


check("completion: commands of gallery", complete("uniface", "gallery", "re") == ["reindex"])
check("completion: their options", complete("uniface", "gallery", "copy", "--to") == ["--to-key-file", "--to-plain"])
check("completion: bench search", "search" in complete("uniface", "bench", "se"))
check("completion: options of bench search", complete("uniface", "bench", "search", "--pr") == ["--probes"])
check("completion: commands", complete("uniface", "identi") == ["identify"])
error("which gallery", 2, "UNIFACE_GALLERY", "list")
error("a command that gallery has not", 2, 'no command "statz"', "gallery", "statz", "-g", "x")
error("gallery alone", 2, "COMMAND", "gallery")
error("no gallery there", 3, "/no/such.ufg", "list", "-g", "/no/such.ufg")
error("whom to enrol", 2, "--folders", "enroll", "-g", path("x.ufg"), "photo.jpg")
error("whom to delete", 2, "--id", "delete", "-g", path("x.ufg"))
error("verify wants two pictures", 2, "needs A B", "verify", "a.jpg")
error("verify --id wants one", 2, "one picture", "verify", "--id", "alice", "a.jpg", "b.jpg")
error("what to migrate", 2, "--cut-over", "gallery", "migrate", "-g", path("x.ufg"))
error("a time that is none", 2, "90d", "enroll", "-g", path("x.ufg"), "--id", "a", "--expires", "soon", "x.jpg")
error("a time that is past", 2, "past", "enroll", "-g", path("x.ufg"), "--id", "a", "--expires", "2001-01-01", "x.jpg")
error("two thresholds", 2, "not both", "identify", "x.jpg", "-g", path("x.ufg"), "--fpir", "0.1", "--threshold", "0.3")

# ---- bench search, by numbers ----
small = ("bench", "search", "--count", 3000, "--dim", 64, "--probes", 200, "--verify", 200, "--dir", folder)
for detail in ("int8", "float", "sketch"):
    r = answer(f"bench search {detail}", *small, "--detail", detail)
    check(f"bench search {detail} is exact", r.get("agreement") == 1 and r["decisions_identical"] and
          r["checked"] == 200 and r["recognised_mated"] > 0.9 and r["open_s"] > 0 and r["kernels"], r)
r = answer("bench search in batches", *small, "--batch", 64, "--threads", 2, "--no-file")
check("batches are exact", r.get("agreement") == 1 and r["batch"] == 64 and r["latency_ms"]["p50"] > 0, r)
check("bench search leaves nothing behind", not [f for f in os.listdir(folder) if f.endswith(".ufx")])
r = answer("bench search, sealed", *small, "--sealed")
check("sealed is exact", r.get("agreement") == 1, r)
random.seed(5)
rows, who = [], []
for person in range(200):
    centre = [random.gauss(0, 1) for _ in range(32)]
    for _ in range(3):
        rows.append([c + 0.4 * random.gauss(0, 1) for c in centre])
        who.append(person)
write_npy(path("faces.npy"), rows)
write_npy(path("who.npy"), who, "q", "<i8")
r = answer("bench search --npy", "bench", "search", "--npy", path("faces.npy"), "--groups", path("who.npy"), "--augment",
           2000, "--probes", 100, "--verify", 100, "--dir", folder)
check("real vectors: one of each person is kept back", r.get("count") == 2000 and r["agreement"] == 1 and
      r["recognised_mated"] > 0.9, r)
r = answer("bench search --save-vectors", *small, "--no-file", "--save-vectors", path("v-"))
check("saved vectors have unit length", all(abs(math.hypot(*v) - 1) < 1e-5 for v in read_npy(path("v-vectors.npy"))[::97])
      and len(read_npy(path("v-probes.npy"))) == 200)
error("a wrong kind of detail", 2, "sketch, int8 or float", "bench", "search", "--detail", "some")
cut = open(path("faces.npy"), "rb").read()[:-1]
open(path("cut.npy"), "wb").write(cut)
error("vectors that are cut short", 3, "cut short", "bench", "search", "--npy", path("cut.npy"))
write_npy(path("vast.npy"), [[0.0] * 4])
vast = open(path("vast.npy"), "rb").read().replace(b"(1, 4)", b"(%d, 4)" % (1 << 62))
open(path("vast.npy"), "wb").write(vast[:8] + (len(vast) - 26).to_bytes(2, "little") + vast[10:])
error("more vectors than there are bytes in the world", 3, "larger than 4 GiB", "bench", "search", "--npy", path("vast.npy"))
error("two sources", 2, "--npy", "bench", "search", "--npy", path("faces.npy"), "--count", "5")

# ---- people from files: no model needed ----
MODEL = "ab" * 32


def people_folder(name, people, dimension=64):
    os.mkdir(path(name))
    vectors = []
    with open(path(name, "people.jsonl"), "w") as f:
        for person, pictures in people:
            templates = []
            for v in pictures:
                templates.append({"model_id": MODEL, "row": len(vectors), "quality": 0.5})
                vectors.append(v)
            f.write(json.dumps(dict(person, templates=templates)) + "\n")
    write_npy(path(name, "templates.npy"), vectors)


def unit(n=64):
    v = [random.gauss(0, 1) for _ in range(n)]
    length = math.hypot(*v)
    return [x / length for x in v]


people_folder("planted", [({"id": f"p{i:03}", "metadata": {"site": "berlin" if i % 2 else "rome", "n": i},
                            "consent": f"form {i}", "purpose": "door" if i < 5 else None,
                            "expires": "2031-01-01T00:00:00Z" if i == 7 else None}, [unit(), unit()])
                          for i in range(40)] + [({"id": "zoë", "collection": "guests"}, [unit()])])
g = path("planted.ufg")
error("no key, no gallery", 2, "UNIFACE_GALLERY_PASSPHRASE", "gallery", "import", path("planted"), "-g", g, env={})
error("a refused gallery is not made", 3, g, "list", "-g", g)
r = answer("import", "gallery", "import", path("planted"), "-g", g)
check("import counts", r.get("people") == 41 and r["templates"] == 81, r)
error("import again", 3, "--add", "gallery", "import", path("planted"), "-g", g)
error("the wrong passphrase", 3, g, "list", "-g", g, env={"UNIFACE_GALLERY_PASSPHRASE": "battery staple"})
error("no key", 2, g, "list", "-g", g, env={})
r = answer("list", "list", "-g", g)
check("list is sorted and whole", len(r) == 41 and r[0]["id"] == "p000" and r[-1]["id"] == "zoë" and
      r[1]["metadata"] == {"site": "berlin", "n": 1} and r[1]["consent"] == "form 1" and r[0]["purpose"] == "door" and
      r[7]["expires"] == "2031-01-01T00:00:00Z" and r[0]["expires"] is None and r[0]["templates"] == 2, r[:2])
check("list --filter", len(answer("filter", "list", "-g", g, "--filter", "site=rome")) == 20)
with open(path("ids"), "w") as f:
    f.write("p003\n\np004\r\n")
check("list --ids", [p["id"] for p in answer("ids", "list", "-g", g, "--ids", path("ids"))] == ["p003", "p004"])
check("list --collection", [p["id"] for p in answer("c", "list", "-g", g, "--collection", "guests")] == ["zoë"])
check("nobody is status 1", answer("nobody", "list", "-g", g, "--filter", "site=oslo", status=1) == [])
error("a filter that is none", 2, "KEY=VALUE", "list", "-g", g, "--filter", "rome")
done = call("list", env=dict(SECRET, UNIFACE_GALLERY=g))
check("UNIFACE_GALLERY names it", done.returncode == 0 and "41 people" in done.text, done.errors)
r = answer("stats", "gallery", "stats", "-g", g)
check("stats count", r.get("people") == 41 and r["templates"] == 81 and r["collections"] == 2 and r["encrypted"] and
      r["model_id"] == MODEL and r["backend"] == "sqlite" and r["database_bytes"] > 0, r)
r = answer("verify", "gallery", "verify", "-g", g)
check("it is sound", r.get("sound") and r["people"] == 41 and r["audit_entries"] > 0, r)
r = answer("delete", "delete", "-g", g, "--id", "p001")
check("the receipt", r.get("id") == "p001" and r["templates"] == 2 and len(r["audit_digest"]) == 64, r)
error("deleted is deleted", 3, "p001", "delete", "-g", g, "--id", "p001")
error("an unknown collection", 3, "nowhere", "delete", "-g", g, "--id", "p002", "--collection", "nowhere")
log = answer("audit", "gallery", "audit", "-g", g)
check("the receipt is in the log", any(e["number"] == r.get("audit_entry") and e["digest"] == r.get("audit_digest")
                                       for e in log), log[-2:])
check("no id stands in the log", "p001" not in json.dumps(log))
check("audit --verify", answer("audit check", "gallery", "audit", "-g", g, "--verify").get("sound"))
check("audit --from", answer("from", "gallery", "audit", "-g", g, "--from", log[-1]["number"])[0] == log[-1])
for command in ("compact", "reindex", "expire", "rotate-key"):
    answer(command, "gallery", command, "-g", g)
check("sound afterwards", answer("verify", "gallery", "verify", "-g", g).get("people") == 40)

# ---- keys ----
with open(path("key"), "wb") as f:
    f.write(bytes(range(32)))
answer("change to a key file", "gallery", "passphrase", "-g", g, "--new-key-file", path("key"))
error("the old passphrase is out", 3, g, "list", "-g", g)
error("a key file that is missing", 3, "/no/key", "list", "-g", g, "--key-file", "/no/key", env={})
check("the key file opens", len(answer("key file", "list", "-g", g, "--key-file", path("key"), env={})) == 40)
answer("change to a passphrase", "gallery", "passphrase", "-g", g, "--key-file", path("key"),
       env={"UNIFACE_GALLERY_NEW_PASSPHRASE": "correct horse"})
check("and back", len(answer("passphrase", "list", "-g", g)) == 40)
error("a new passphrase from nowhere", 2, "--new-key-file", "gallery", "passphrase", "-g", g)


def on_terminal(answers, *args):
    """Runs a command on a terminal of its own and types the answers."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(program, [program, *args], environment)
    shown = b""
    try:
        while select.select([terminal], [], [], 100)[0]:
            shown += os.read(terminal, 4096)
            if answers and shown.endswith(b": "):
                os.write(terminal, answers.pop(0).encode() + b"\n")
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


status, shown = on_terminal(["correct horse"], "list", "-g", g)
check("the passphrase is asked for on a terminal", status == 0 and "40 people" in shown and "correct" not in shown, shown)
status, shown = on_terminal(["wrong"], "list", "-g", g)
check("a wrong answer is an error", status == 3, shown)
status, shown = on_terminal(["one", "two"], "gallery", "import", path("planted"), "-g", path("asked.ufg"))
check("two answers that differ", status == 2 and "differ" in shown, shown)
status, shown = on_terminal(["one", "one"], "gallery", "import", path("planted"), "-g", path("asked.ufg"))
check("a new passphrase is asked for twice", status == 0, shown)
check("and opens", len(answer("asked", "list", "-g", path("asked.ufg"), env={"UNIFACE_GALLERY_PASSPHRASE": "one"})) == 41)

# ---- export, import, copy ----
out = path("out")
done = call("gallery", "export", "-g", g, "-o", out, "--json", env=SECRET)
check("export", done.returncode == 0 and json.loads(done.text)["people"] == 40, done.errors)
check("export warns", "biometric data in plain text" in done.errors, done.errors)
check("only the owner reads it", all(stat.S_IMODE(os.stat(os.path.join(out, f)).st_mode) == 0o600
                                     for f in os.listdir(out)) and stat.S_IMODE(os.stat(out).st_mode) == 0o700)
error("export overwrites nothing", 3, "not overwritten", "export", "-g", g, "-o", out)
check("export is an alias", call("export", "-g", g, "-o", path("out2"), "--collection", "guests", env=SECRET).returncode
      == 0 and len(open(path("out2", "people.jsonl")).readlines()) == 1)
rows = read_npy(os.path.join(out, "templates.npy"))
exported = [json.loads(line) for line in open(os.path.join(out, "people.jsonl"))]
check("rows and lines agree", len(rows) == 79 and sorted(t["row"] for p in exported for t in p["templates"]) ==
      list(range(79)) and all(abs(math.hypot(*v) - 1) < 1e-5 for v in rows))
original = {p["id"]: p for p in map(json.loads, open(path("planted", "people.jsonl")))}
first = read_npy(path("planted", "templates.npy"))
same = all(max(abs(a - b) for a, b in zip(rows[t["row"]], first[s["row"]])) < 1e-6
           for p in exported for t, s in zip(p["templates"], original[p["id"]]["templates"]))
check("vectors come back", same and all(p["metadata"] == original[p["id"]].get("metadata") for p in exported))
plain = path("plain.ufg")
r = answer("import what was exported", "gallery", "import", out, "-g", plain, "--plain", env={})
check("imported", r.get("people") == 40 and not answer("s", "gallery", "stats", "-g", plain, env={})["encrypted"], r)
before, after = answer("l", "list", "-g", g), answer("l", "list", "-g", plain, env={})
check("nothing is lost", [{k: v for k, v in p.items() if k not in ("created", "updated")} for p in before] ==
      [{k: v for k, v in p.items() if k not in ("created", "updated")} for p in after])
r = answer("copy", "gallery", "copy", "-g", plain, path("copy.ufg"))
check("a copy", r.get("people") == 40 and r["templates"] == 79 and
      answer("sound copy", "gallery", "verify", "-g", path("copy.ufg")).get("sound"), r)
for label, line, part in (
        ("no JSON", '{"id": "x", }', "people.jsonl:2: byte 13"), ("no object", "[]", "object"),
        ("no id", '{"templates": []}', '"id"'), ("no templates", '{"id": "x"}', '"templates"'),
        ("twice", '{"id": "x", "id": "y", "templates": []}', "twice"),
        ("a row too far", '{"id": "x", "templates": [{"model_id": "m", "row": 99}]}', "beyond"),
        ("a file outside", '{"id": "x", "templates": [{"model_id": "m", "row": 0, "vectors": "../out/templates.npy"}]}',
         "inside"),
        ("a time", '{"id": "x", "expires": "soon", "templates": []}', "expires"),
        ("metadata", '{"id": "x", "metadata": [1], "templates": []}', "metadata")):
    shutil.rmtree(path("bad"), ignore_errors=True)
    people_folder("bad", [({"id": "good"}, [unit()])])
    with open(path("bad", "people.jsonl"), "a") as f:
        f.write(line + "\n")
    error(f"import of {label}", 3, part, "gallery", "import", path("bad"), "-g", plain, env={})
check("a wrong line keeps everybody out", "good" not in call("list", "-g", plain).text)

finish()
