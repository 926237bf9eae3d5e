#!/usr/bin/env python3
"""`uniface models` against a server on this machine, with a certificate of its own: models_test.py UNIFACE."""
import glob
import hashlib
import io
import json
import os
import random
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import answer, call, check, environment, error, finish, path, program, shared, skip
from tiny_onnx import network

COLUMNS = "name task preset licence commercial url size sha256 accuracy accuracy_source notes".split()
for name in list(environment):
    if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        del environment[name]
environment.update(UNIFACE_CACHE_DIR=path("cache"))
digest = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
files, heads = {}, []  # what the server has; what it was asked
behaviour = {}         # of a path: a function(handler, data) that answers


# ---- the server ----

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        heads.append((self.path, dict(self.headers)))
        data = files.get(self.path)
        self.close_connection = True
        if self.path in behaviour:
            behaviour[self.path](self, data)
        elif data is None:
            self.send_error(404)
        else:
            plain(self, data)


def begin(h, status, length, **fields):
    h.send_response(status)
    h.send_header("Content-Length", str(length))
    h.send_header("Connection", "close")
    for name, value in fields.items():
        h.send_header(name.replace("_", "-"), value)
    h.end_headers()


def plain(h, data):
    """All of it, or from where it is asked for when the tag is right."""
    tag = f'"{digest(data)[:16]}"'
    start = int((h.headers.get("Range") or "bytes=0-")[6:-1])
    if start and h.headers.get("If-Range") in (None, tag):
        begin(h, 206, len(data) - start, ETag=tag,
              Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        h.wfile.write(data[start:])
    else:
        begin(h, 200, len(data), ETag=tag)
        h.wfile.write(data)


class Cutting:
    """Sends `pieces` bytes an answer and breaks off, then answers as it should."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def __call__(self, h, data):
        if not self.pieces:
            return plain(h, data)
        count = self.pieces.pop(0)
        start = int((h.headers.get("Range") or "bytes=0-")[6:-1])
        fields = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        begin(h, 206 if start else 200, len(data) - start, ETag=f'"{digest(data)[:16]}"', **fields)
        h.wfile.write(data[start:start + count])
        h.wfile.flush()
        h.connection.close()


def redirect(to):
    return lambda h, data: begin(h, 302, 0, Location=to)


def start_server(context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that break off are a part of the tests
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def certificate(name):
    key, cert = path(name + ".key"), path(name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return key, cert


# ---- manifests, and what is on the disk ----

def row(name, url, data, **changes):
    values = dict(name=name, task="tensor", preset="tensor", licence="MIT", commercial="yes", url=url,
                  size=len(data), sha256=digest(data), accuracy="-", accuracy_source="-", notes="-")
    values.update(changes)
    return "\t".join(str(values[c]) for c in COLUMNS)


def manifest(*rows):
    name = path(f"manifest-{digest(''.join(rows).encode())[:12]}.tsv")
    with open(name, "w") as f:
        f.write("\t".join(COLUMNS) + "\n" + "".join(r + "\n" for r in rows))
    return name


def pull(*names, of, status=0, extra=()):
    return answer(f"pull {' '.join(names)}", "models", "pull", *names, "--manifest", of, "--ca-file", ca, *extra,
                  status=status)


def refuse(label, part, *names, of, extra=(), status=3):
    error(label, status, part, "models", "pull", *names, "--manifest", of, "--ca-file", ca, *extra)


def kept(name):
    """What the cache has of a model."""
    return sorted(os.path.basename(p) for p in glob.glob(path("cache", "files", name, "*")))


def stored(name):
    return os.path.exists(path("store", name + ".ufm"))


def file(name, count=2000, seed=1):
    """A network on the server; its address, its bytes."""
    data = network(count, seed)
    files[f"/{name}.onnx"] = data
    return f"{https}/{name}.onnx", data


# ---- the program's own manifest ----

def embedded():
    rows = answer("list", "models", "list")
    text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "apps", "cli", "models.tsv")).read()
    check("list has all rows of models.tsv", [r["name"] for r in rows] == [l.split("\t")[0] for l in text.splitlines()[1:]])
    for r in rows:
        check(f"row {r['name']}", all(f["url"].startswith("https://") and f["bytes"] > 1000 and len(f["sha256"]) == 64
                                      for f in r["files"]) and r["task"] in ("detector", "embedder")
              and r["licence"] and r["commercial"] in ("yes", "no") and not r["installed"] and r["preset"]
              and (r["accuracy"] is None) == (r["accuracy_source"] is None), r)
        check(f"the address of {r['name']} is of one commit or release",
              all("/master/" not in f["url"] and "/main/" not in f["url"] for f in r["files"]))
    restricted = [r for r in rows if r["commercial"] == "no"]
    check("licences that limit use are marked", restricted and all("non-commercial" in r["licence"] for r in restricted))
    text = call("models", "list").text
    check("list in words", "yunet-n " in text and "COMMERCIAL" in text and "LFW 99.47 %" in text, text)
    check("list --names", call("models", "list", "--names").text.split() == [r["name"] for r in rows])
    check("nothing is installed yet", call("models", "list", "--names", "--installed").text == "")
    check("listing makes no folders", not os.path.exists(path("cache")) and not os.path.exists(path("store")))


def public_files():
    """What is at hand of public files, by digest."""
    have = {}
    for name in glob.glob(os.path.join(shared, "models", "**", "*"), recursive=True):
        if name.endswith((".onnx", ".xml", ".bin")):
            with open(name, "rb") as f:
                data = f.read()
            have[digest(data)] = data
    return have


def mirrored():
    """Every row of the program's manifest, its files on our server: sizes, digests, presets and tasks are right."""
    have = public_files()
    if not have:
        skip("public models: their files are not here")
        return
    rows = []
    for r in answer("list", "models", "list"):
        check(f"the files of {r['name']}", [len(have.get(f["sha256"], b"")) for f in r["files"]] == [f["bytes"] for f in r["files"]])
        urls = [f"{https}/{r['name']}/{f['name']}" for f in r["files"]]
        for url, f in zip(urls, r["files"]):
            files[url[len(https):]] = have.get(f["sha256"])
        rows.append("\t".join([r["name"], r["task"], r["preset"] or "-", r["licence"], r["commercial"], " ".join(urls)]
                              + [" ".join(str(f[k]) for f in r["files"]) for k in ("bytes", "sha256")] + ["-"] * 3))
    names = [r.split("\t")[0] for r in rows]
    made = pull(*names, of=manifest(*rows), extra=["--accept-licence"])
    check("all are pulled", [(m["name"], m["state"]) for m in made] == [(n, "pulled") for n in names], made)
    check("the program's manifest knows them", all(r["installed"] for r in answer("list", "models", "list")))
    answer("pack all", "models", "pack", *names, "-o", path("all.tar"))
    env = elsewhere("all")
    error("licences are asked for", 2, "--accept-licence", "models", "unpack", path("all.tar"), env=env)
    made = answer("unpack all", "models", "unpack", path("all.tar"), "--accept-licence", env=env)
    check("all are unpacked", [m["state"] for m in made] == ["unpacked"] * len(names), made)
    check("with the addresses of the program's manifest", "raw.githubusercontent.com" in open(path("all", "models", "yunet-n.origin")).read())


def used_by_name():
    photos = sorted(glob.glob(os.path.join(shared, "testdata", "**", "*.jpg"), recursive=True))
    if not stored("yunet-n") or not photos:
        skip("models by name: no networks or photos")
        return
    named = answer("detect by name", "detect", "--detector", "yunet-n", photos[0])
    check("the default is what comes with the program", "uniface: detector: " in call("detect", photos[0]).errors)
    check("again, as the default", call("models", "unpack", path("all.tar"), "--accept-licence", "--default").returncode == 0)
    check("a default", stored("detector") and stored("embedder"))
    shutil.copy(path("store", "yunet-n.ufm"), path("store", "detector.ufm"))
    check("the same faces", named and named == answer("detect by default", "detect", photos[0]), named)
    check("inspect by name", answer("inspect", "inspect", "yunet-n")["metadata"]["licence"] == "Apache-2.0")
    error("models of the store are not changed in place", 2, "-o OUT.ufm", "calibrate", "mobilefacenet-foamliu", "--pairs", "x")
    made = answer("FP16 of a name", "quantize", "mobilefacenet-foamliu", "--precision", "fp16", "-o", path("half.ufm"))
    check("the size of what has a name", made.get("source_size_bytes") == os.path.getsize(path("store", "mobilefacenet-foamliu.ufm")), made)
    names = [r["name"] for r in answer("list", "models", "list", "--installed")]
    done = call("models", "remove", *names)
    left = glob.glob(path("store", "*")) + glob.glob(path("cache", "files", "*"))
    check("remove all", done.returncode == 0 and not left, done.errors, left)


# ---- pull ----

def good_pulls():
    url, data = file("one")
    of = manifest(row("one", url, data, licence="Apache-2.0"))
    done = call("models", "pull", "one", "--manifest", of, "--ca-file", ca)
    check("pull in words", done.returncode == 0 and "one: pulled" in done.text
          and "uniface: one: licence: Apache-2.0; commercial use: allowed; from " + url in done.errors, done.text + done.errors)
    check("store and cache", stored("one") and kept("one") == ["one.onnx"], kept("one"))
    check("the licence is in the model", answer("inspect", "inspect", "one")["metadata"]["licence"] == "Apache-2.0")
    record = open(path("store", "one.origin")).read()
    check("the licence notice is recorded", "\n# licence shown\n" in record and digest(data) in record, record)
    count = len(heads)
    check("again", pull("one", of=of)[0]["state"] == "already there" and len(heads) == count)
    os.remove(path("store", "one.ufm"))
    check("from the cache", pull("one", of=of)[0]["state"] == "from the cache" and len(heads) == count)
    other = manifest(row("one", *file("other", seed=2)))
    refuse("another model by the name", "remove one", "one", of=other)
    check("all are verified", [r["ok"] for r in answer("verify", "models", "verify")] == [True])
    refuse("a name that is not there", "models list", "nix", of=of)
    refuse("a name that is a path", "models list", "../one", of=of)
    refuse("not on the server", "404", "gone", of=manifest(row("gone", f"{https}/gone.onnx", data)))
    check("nothing of it", not stored("gone") and kept("gone") == [], kept("gone"))
    refuse("not what the manifest says it is", "is a tensor", "odd", of=manifest(row("odd", url, data, task="detector")))


def broken_connections():
    url, data = file("cut", 5000)
    behaviour["/cut.onnx"] = Cutting(3000, 7000)
    of = manifest(row("cut", url, data))
    heads.clear()
    made = pull("cut", of=of)
    check("taken up within one call", made and made[0]["bytes"] == len(data), made)
    check("from where it broke", [h.get("Range") for _, h in heads] == [None, "bytes=3000-", "bytes=10000-"], heads)
    check("only of the same file", [h.get("If-Range") for _, h in heads][1:] == [f'"{digest(data)[:16]}"'] * 2, heads)
    url, data = file("halt", 5000)
    behaviour["/halt.onnx"] = Cutting(4000, 0)
    of = manifest(row("halt", url, data))
    refuse("given up when nothing comes", "halt.onnx", "halt", of=of)
    check("what came is kept", kept("halt") == ["halt.onnx.part", "halt.onnx.part.etag"] and not stored("halt"))
    heads.clear()
    made = pull("halt", of=of)
    check("taken up by the next call", made and made[0]["bytes"] == len(data) - 4000 and len(heads) == 1
          and heads[0][1].get("Range") == "bytes=4000-", heads)
    check("no parts are left", kept("halt") == ["halt.onnx"], kept("halt"))


def stale_parts():
    """What was received belongs to another file: the server says so, or only the digest does."""
    for name, tag in ("stale", '"other"'), ("weak", 'W/"other"'):
        url, data = file(name, 3000)
        os.makedirs(path("cache", "files", name))
        with open(path("cache", "files", name, f"{name}.onnx.part"), "wb") as f:
            f.write(b"x" * 1000)
        with open(path("cache", "files", name, f"{name}.onnx.part.etag"), "w") as f:
            f.write(tag)
        heads.clear()
        made = pull(name, of=manifest(row(name, url, data)))
        check(f"{name}: begins again", made and stored(name) and len(heads) == (1 if name == "stale" else 2), heads)
    url, data = file("long", 3000)
    os.makedirs(path("cache", "files", "long"))
    with open(path("cache", "files", "long", "long.onnx.part"), "wb") as f:
        f.write(bytes(len(data) + 1))
    check("a part that is too long", pull("long", of=manifest(row("long", url, data))) and stored("long"))
    url, data = file("range", 3000)
    behaviour["/range.onnx"] = lambda h, d: begin(h, 416, 0) if h.headers.get("Range") else plain(h, d)
    os.makedirs(path("cache", "files", "range"))
    with open(path("cache", "files", "range", "range.onnx.part"), "wb") as f:
        f.write(data[:10])
    check("416", pull("range", of=manifest(row("range", url, data))) and stored("range"))


def wrong_answers():
    url, data = file("bad")
    changed = data[:-1] + bytes([data[-1] ^ 1])
    refuse("another digest", "SHA-256", "bad", of=manifest(row("bad", url, changed)))
    refuse("more bytes than stated", "more bytes", "bad", of=manifest(row("bad", url, data, size=len(data) - 1)))
    refuse("fewer bytes than stated", "SHA-256", "bad", of=manifest(row("bad", url, data, size=len(data) + 1)))
    check("nothing is left", not os.path.exists(path("cache", "files", "bad")) and not stored("bad"), kept("bad"))
    endless = threading.Event()

    def flood(h, d):
        h.send_response(200)
        h.end_headers()
        while not endless.is_set():
            h.wfile.write(b"x" * 65536)

    behaviour["/flood.onnx"] = flood
    refuse("without end", "more bytes", "flood", of=manifest(row("flood", f"{https}/flood.onnx", data)))
    endless.set()
    check("nothing is left of it", kept("flood") == [], kept("flood"))
    behaviour["/liar.onnx"] = lambda h, d: begin(h, 206, len(data), Content_Range="bytes 9-10/11")
    files["/liar.onnx"] = data

    def liar(h, d):
        begin(h, 206, 4, Content_Range="bytes 9-12/13")
        h.wfile.write(b"abcd")

    behaviour["/liar.onnx"] = liar
    refuse("a range that nobody asked for", "range", "liar", of=manifest(row("liar", f"{https}/liar.onnx", data)))
    url, junk = f"{https}/junk.onnx", b"no network" * 300
    files["/junk.onnx"] = junk
    refuse("the right bytes, but no network", "junk.onnx", "junk", of=manifest(row("junk", url, junk)))
    check("it is not stored", not stored("junk"))


def transport():
    url, data = file("moved", 500)
    for name, to, part in (("to-http", f"{http}/moved.onnx", "http"), ("to-file", "file:///etc/passwd", "file"),
                           ("loop", f"{https}/loop.onnx", "redirects")):
        behaviour[f"/{name}.onnx"] = redirect(to)
        refuse(f"redirect {name}", part, name, of=manifest(row(name, f"{https}/{name}.onnx", data)))
        check(f"{name}: nothing is left", kept(name) == [], kept(name))
    behaviour["/to-https.onnx"] = redirect("/moved.onnx")
    check("redirect to https", pull("to-https", of=manifest(row("to-https", f"{https}/to-https.onnx", data))))
    error("a signer who is not known", 3, "certificate", "models", "pull", "a", "--manifest", manifest(row("a", url, data)))
    error("another signer", 3, "certificate", "models", "pull", "a", "--manifest", manifest(row("a", url, data)),
          "--ca-file", other_ca)
    refuse("another name", "certificate", "a", of=manifest(row("a", url.replace("127.0.0.1", "localhost"), data)))
    of = manifest(row("plain", f"{http}/moved.onnx", data))
    refuse("http", "https", "plain", of=of)
    check("http of this machine", pull("plain", of=of, extra=["--allow-http"]))
    refuse("http of another", "https", "far", of=manifest(row("far", "http://127.0.0.1.example.org/x.onnx", data)),
           extra=["--allow-http"])
    proxy = {"https_proxy": f"http://127.0.0.1:{http.rsplit(':')[-1]}"}
    done = call("models", "pull", "a", "--manifest", manifest(row("a", url, data)), "--ca-file", ca, env=proxy)
    check("a proxy of the environment is used", done.returncode == 3 and "501" in done.errors, done.errors)
    behaviour["/silent.onnx"] = lambda h, d: (begin(h, 200, 100), release.wait(20))
    release = threading.Event()
    refuse("silence", "silent.onnx", "silent", of=manifest(row("silent", f"{https}/silent.onnx", data)),
           extra=["--timeout", "1"])
    release.set()
    refuse("timeout of 0", "--timeout", "a", of=of, extra=["--timeout", "0"], status=2)


def two_at_once():
    url, data = file("twice", 20000)
    gate = threading.Event()

    def slow(h, d):
        gate.wait(10)
        plain(h, d)

    behaviour["/twice.onnx"] = slow
    of = manifest(row("twice", url, data))
    heads.clear()
    command = [program, "models", "pull", "twice", "--manifest", of, "--ca-file", ca, "--json"]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    # The one that waits says so at once; then the other may have its file.
    lines = []
    readers = [threading.Thread(target=lambda p=p: lines.extend(iter(p.stderr.readline, ""))) for p in both]
    for r in readers:
        r.start()
    for _ in range(200):
        if any("waiting" in line for line in list(lines)):
            break
        gate.wait(0.05)
    gate.set()
    states = sorted(json.loads(p.stdout.read())[0]["state"] for p in both)
    for r, p in zip(readers, both):
        r.join()
        p.wait()
    check("two pulls at once", states == ["already there", "pulled"] and all(p.returncode == 0 for p in both), states)
    check("one of them fetches, the other waits", len(heads) == 1 and any("waiting" in line for line in lines), lines)


def licences():
    url, data = file("research")
    of = manifest(row("research", url, data, licence="for research only", commercial="no"),
                  row("unstated", url.replace("research", "unstated"), data, commercial="unknown"))
    files["/unstated.onnx"] = data
    refuse("a licence that limits use", "--accept-licence", "research", of=of, status=2)
    refuse("a licence that is not stated", "--accept-licence", "unstated", of=of, status=2)
    check("nothing was fetched", kept("research") == [] and not stored("research"))
    check("accepted", pull("research", of=of, extra=["--accept-licence"]))
    check("and recorded", "\n# licence accepted\n" in open(path("store", "research.origin")).read())
    check("packed", call("models", "pack", "research", "-o", path("research.tar")).returncode == 0)
    error("in a pack too", 2, "--accept-licence", "models", "unpack", path("research.tar"), env=elsewhere("limits"))


def bad_manifests():
    url, data = file("x")
    cases = {"no columns": "name\turl\n", "columns missing": row("x", url, data).rsplit("\t", 1)[0],
             "a name that is a path": row("../x", url, data), "a hidden name": row(".x", url, data),
             "a name with an ending": row("x.ufm", url, data), "no digest": row("x", url, data, sha256="-"),
             "a short digest": row("x", url, data, sha256="ab" * 31), "no size": row("x", url, data, size="0"),
             "a size in words": row("x", url, data, size="1e9"), "a huge size": row("x", url, data, size=1 << 40),
             "an unknown preset": row("x", url, data, preset="nix"), "commercial perhaps": row("x", url, data, commercial="perhaps"),
             "no licence": row("x", url, data, licence="-"), "file:": row("x", "file:///etc/x.onnx", data),
             "an address of no network": row("x", f"{https}/x.sh", data), "a query": row("x", f"{https}/x?y.onnx", data),
             "a hidden file": row("x", f"{https}/.x.onnx", data), "no name in the address": row("x", f"{https}/", data),
             "an escape sequence": row("x", url, data, notes="\33[2J"), "one of C1": row("x", url, data, notes="\x9b2J"), "twice": row("x", url, data) + "\n" + row("x", url, data),
             "a graph without weights": row("x", f"{https}/x.xml", data), "an empty column": row("x", url, data, notes=""),
             "weights alone": row("x", f"{https}/x.bin", data),
             "weights of another": row("x", f"{https}/x.xml {https}/y.bin", data, size="1 1", sha256=" ".join([digest(data)] * 2)),
             "three files": row("x", f"{url} {url} {url}", data, size="1 1 1", sha256=" ".join([digest(data)] * 3))}
    for label, text in cases.items():
        of = manifest(text)
        if label == "no columns":
            with open(of, "w") as f:
                f.write(text)
        error(f"manifest: {label}", 3, "line ", "models", "list", "--manifest", of)
    error("no manifest", 3, "/no/such", "models", "list", "--manifest", "/no/such")


def one_folder():
    """Store and cache may be one folder, or lie within each other, whatever names models have."""
    rows = [row(name, *file(name)) for name in ("models", "files")]
    for env in ({"UNIFACE_MODELS": path("same"), "UNIFACE_CACHE_DIR": path("same")},
                {"UNIFACE_MODELS": "", "UNIFACE_CACHE_DIR": path("within")}):
        done = call("models", "pull", "models", "files", "--manifest", manifest(*rows), "--ca-file", ca, env=env)
        check("pull into one folder", done.returncode == 0 and "waiting" not in done.errors, done.errors)
        check("remove one", call("models", "remove", "models", env=env).returncode == 0)
        check("the other stays", call("models", "verify", "files", env=env).returncode == 0
              and call("models", "list", "--installed", "--names", env=env).text == "files\n")


# ---- add, verify, remove ----

def own_models():
    with open(path("own.onnx"), "wb") as f:
        f.write(network(300, 9))
    made = answer("add", "models", "add", path("own.onnx"), "--name", "own", "--licence", "ours")
    check("what was added", made.get("name") == "own" and made.get("task") == "tensor" and stored("own"), made)
    error("a name that is taken", 3, "remove own", "models", "add", path("own.onnx"), "--name", "own")
    for name in ("../own", "a/b", ".hidden", "x.ufm", "-x", "", "y" * 65):
        error(f"name {name[:9]!r}", 2, "no name", "models", "add", path("own.onnx"), f"--name={name}")
    error("add without a name", 2, "--name", "models", "add", path("own.onnx"))
    error("add what is no model", 3, "manifest", "models", "add", manifest(), "--name", "z")
    error("a default of no task", 2, "detector", "models", "add", path("own.onnx"), "--name", "z2", "--default")
    answer("a .ufm", "models", "add", path("store", "own.ufm"), "--name", "again", "--licence", "theirs")
    rows = {r["name"]: r for r in answer("list", "models", "list", "--installed")}
    check("list of one's own", rows["own"]["licence"] == "ours" and rows["again"]["licence"] == "theirs"
          and rows["own"]["files"][0]["url"] is None and rows["own"]["model"] == path("store", "own.ufm"), rows)
    shutil.copy(path("store", "own.ufm"), path("store", "bare.ufm"))
    found = {r["name"]: r for r in answer("verify", "models", "verify")}
    check("verify all", all(r["ok"] for r in found.values()) and found["own"]["recorded"]
          and not found["bare"]["recorded"], found)
    check("list shows a model without a record", "bare" in call("models", "list", "--names").text.split())


def flipped_bytes():
    def flip(name, at):
        with open(name, "r+b") as f:
            f.seek(at)
            byte = f.read(1)
            f.seek(at)
            f.write(bytes([byte[0] ^ 1]))

    size = os.path.getsize(path("store", "own.ufm"))
    for at in (0, 70, size // 2, size - 1):
        flip(path("store", "own.ufm"), at)
        found = answer(f"a flipped byte at {at}", "models", "verify", "own", status=1)
        check(f"it is named at {at}", found and not found[0]["ok"] and "SHA-256" in found[0]["problem"], found)
        flip(path("store", "own.ufm"), at)
    check("as it was", call("models", "verify", "own").returncode == 0)
    flip(path("cache", "files", "one", "one.onnx"), 100)
    found = answer("a flipped byte in the cache", "models", "verify", "one", status=1)
    check("which", "cache" in found[0]["problem"], found)
    error("no pack of it", 3, "not in the cache", "models", "pack", "one", "-o", path("bad.tar"))
    flip(path("cache", "files", "one", "one.onnx"), 100)
    shutil.copy(path("store", "own.origin"), path("kept"))
    with open(path("store", "own.origin"), "w") as f:
        f.write("nonsense\n")
    check("a damaged record", "record is damaged" in call("models", "verify", "own").text)
    shutil.move(path("kept"), path("store", "own.origin"))
    check("verify what is not there", call("models", "verify", "nix").returncode == 1)
    check("verify a path", call("models", "verify", "../store/own").returncode == 1)


def removal():
    error("remove what is not there", 3, "no model", "models", "remove", "again", "nix")
    check("then nothing is removed", stored("again"))
    error("remove a path", 3, "no model", "models", "remove", "../store/again")
    check("remove", answer("remove", "models", "remove", "again", "to-https") == ["again", "to-https"])
    check("with record and public file", not stored("again") and not os.path.exists(path("store", "again.origin"))
          and not os.path.exists(path("cache", "files", "to-https")))


# ---- packs ----

def elsewhere(name):
    """Another machine: its environment."""
    return {"UNIFACE_MODELS": path(name, "models"), "UNIFACE_CACHE_DIR": path(name, "cache")}


def round_trip():
    tar = path("pack.tar")
    answer("pack", "models", "pack", "one", "cut", "own", "bare", "-o", tar)
    first = open(tar, "rb").read()
    with tarfile.open(tar) as t:
        names = t.getnames()
        check("tar(1) reads it", names == ["manifest.tsv", "one/one.onnx", "cut/cut.onnx", "own/own.ufm", "bare/bare.ufm"], names)
        check("files in it", t.extractfile("one/one.onnx").read() == files["/one.onnx"])
    if shutil.which("tar"):
        check("tar -tf", subprocess.run(["tar", "-tf", tar], capture_output=True, text=True).stdout.split() == names)
    answer("pack again", "models", "pack", "one", "cut", "own", "bare", "-o", tar)
    check("packs are the same each time", open(tar, "rb").read() == first)
    made = answer("unpack", "models", "unpack", tar, env=elsewhere("b"))
    check("what came out", [(m["name"], m["state"]) for m in made] == [(n, "unpacked") for n in ("one", "cut", "own", "bare")], made)
    for name in ("one", "cut", "own", "bare"):
        here, there = (answer("inspect", "inspect", name, env=env)["id"] for env in (None, elsewhere("b")))
        check(f"{name} is the same model", here == there)
    check("all are verified there", call("models", "verify", env=elsewhere("b")).returncode == 0)
    check("again", [m["state"] for m in answer("unpack", "models", "unpack", tar, env=elsewhere("b"))][:2] == ["already there"] * 2)
    check("packed once more from there", call("models", "pack", "one", "-o", path("b.tar"), env=elsewhere("b")).returncode == 0)
    error("pack what is not there", 3, "no model", "models", "pack", "nix", "-o", path("x.tar"))
    error("pack to nowhere", 3, "cannot be written", "models", "pack", "one", "-o", "/no/such/folder/x.tar")
    error("pack without a place", 2, "-o", "models", "pack", "one")
    error("pack twice the same", 3, "twice", "models", "pack", "one", "one", "-o", path("x.tar"))
    known = manifest(row("one", *file("forged", seed=5)))
    error("another model by a known name", 3, "other files", "models", "unpack", tar, "--manifest", known, env=elsewhere("c"))
    check("nothing of it", not glob.glob(path("c", "**", "*.ufm"), recursive=True))


def tar_of(*members, end=True):
    """A ustar of (name, data, changes to the TarInfo)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as t:
        for name, data, changes in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            # tarfile would put a folder that fits into the name; packs have it in the prefix.
            for key, value in changes.items():
                setattr(info, key, value)
            t.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue() if end else out.getvalue()[:out.tell()]


def hostile_packs():
    with open(path("pack.tar"), "rb") as f:
        good = f.read()
    env = elsewhere("hostile")
    evil = path("hostile", "evil")
    count = 0

    def refused(label, data, part=""):
        nonlocal count
        count += 1
        name = path(f"hostile{count}.tar")
        with open(name, "wb") as f:
            f.write(data)
        done = call("models", "unpack", name, env=env)
        check(f"pack: {label}", done.returncode == 3 and part in done.errors and done.errors.startswith("uniface: ")
              and "\33" not in done.errors, f"exit {done.returncode}: {done.errors}")

    def changed(at, what):
        """The pack with some bytes of a header changed, and the header's sum made right."""
        data = bytearray(good)
        block = at // 512 * 512
        data[at:at + len(what)] = what
        data[block + 148:block + 156] = b" " * 8
        data[block + 148:block + 156] = b"%06o\0 " % sum(data[block:block + 512])
        return bytes(data)

    manifest_size = int(good[124:135], 8)
    second = 512 + -(-manifest_size // 512) * 512
    check("where the second header is", good[second:second + 8] == b"one.onnx")
    data = network(300, 3)
    text = "\t".join(COLUMNS) + "\n"
    for name in ("../evil", "/tmp/evil", "..", "a/../../evil", "evil\33[2J"):
        rows = (text + row(name, "-", data) + "\n").encode()
        refused(f"a name like {name!r}", tar_of(("manifest.tsv", rows, {}), (f"{name}/x.ufm", data, {})), "line 2")
    for url in ("https://a/../../evil.onnx/..", "https://a/..onnx", "https://a/-x.onnx", "https://a/x\\y.onnx"):
        refused(f"an address like {url}", tar_of(("manifest.tsv", (text + row("e", url, data) + "\n").encode(), {})))
    for label, name in ("up", b"../../evil"), ("absolute", b"/tmp/evil\0"), ("other", b"two.onnx\0"):
        refused(f"file name {label}", changed(second, name + bytes(100 - len(name))), "expected")
    refused("an escape sequence in a name", changed(second, b"\33[2J\0"), "expected")
    refused("prefix up", changed(second + 345, b"../.."), "expected")
    for kind in b"123456xgLKS\0":
        refused(f"type {bytes([kind])!r}", changed(second + 156, bytes([kind])), "no plain file")
    refused("a link", changed(second + 156, b"2" + b"/etc/passwd"), "no plain file")
    refused("a huge size", changed(second + 124, b"77777777777\0"), "another size")
    refused("a size in base 256", changed(second + 124, b"\x80" + b"\xff" * 11), "size")
    refused("no size", changed(second + 124, bytes(12)), "size")
    refused("a size of minus one", changed(second + 124, b"-0000000001\0"), "size")
    refused("a manifest of huge size", changed(124, b"77777777777\0"), "1 MiB")
    size = b"%011o\0" % int(row("h", "-", data, size=4 << 30).split("\t")[6])
    rows = (text + row("h", "-", data, size=4 << 30) + "\n").encode()
    honest = bytearray(tar_of(("manifest.tsv", rows, {}), ("h/h.ufm", b"", {})))
    at = 512 + -(-len(rows) // 512) * 512
    honest[at:at + 100] = b"h.ufm".ljust(100, b"\0")
    honest[at + 345:at + 346] = b"h"
    honest[at + 124:at + 136] = size
    honest[at + 148:at + 156] = b" " * 8
    honest[at + 148:at + 156] = b"%06o\0 " % sum(honest[at:at + 512])
    refused("a size that is not there", bytes(honest), "cut short")
    refused("a wrong sum", good[:second + 148] + b"0" * 8 + good[second + 156:], "no tar")
    refused("a flipped byte of a file", good[:second + 600] + bytes([good[second + 600] ^ 1]) + good[second + 601:], "SHA-256")
    flips = random.Random(5)
    for _ in range(60):
        at = flips.randrange(len(good))
        data_ = good[:at] + bytes([good[at] ^ 1 << flips.randrange(8)]) + good[at + 1:]
        with open(path("flip.tar"), "wb") as f:
            f.write(data_)
        done = call("models", "unpack", path("flip.tar"), env=elsewhere("flips"))
        # What is only said of a model (its notes) has no digest.
        check(f"a flipped bit at {at}", done.returncode == 3 or (done.returncode == 0 and at < second), done.errors)
    refused("another file behind", good[:-1024] + tar_of(("evil", b"x", {})), "more in it")
    for length in (0, 1, 511, 512, 600, second, second + 100, second + 512, second + 700, len(good) // 2, len(good) - 1025,
                   len(good) - 1024, len(good) - 512, len(good) - 1):
        refused(f"cut to {length} bytes", good[:length])
    refused("no models", tar_of(("manifest.tsv", text.encode(), {})), "no models")
    refused("a zero in the manifest", tar_of(("manifest.tsv", text.encode() + b"\0x", {})), "no text")
    refused("no manifest", tar_of(("one/one.onnx", data, {})), "expected")
    refused("no tar", b"hello" * 1000, "no tar")
    junk = b"no model" * 100
    rows = (text + row("junk", "-", junk) + "\n").encode()
    with open(path("junk.tar"), "wb") as f:
        f.write(repacked(rows, "junk", "junk.ufm", junk))
    error("a model that is none", 3, "junk", "models", "unpack", path("junk.tar"), env=env)
    error("a folder", 3, "plain file", "models", "unpack", path("store"), env=env)
    error("no pack", 3, "No such file", "models", "unpack", "/no/such.tar", env=env)
    os.mkfifo(path("fifo"))
    error("a FIFO", 3, "plain file", "models", "unpack", path("fifo"), env=env)
    left = [p for p in glob.glob(path("hostile", "**", "*"), recursive=True) if os.path.isfile(p)]
    check("nothing was written", left == [] and not os.path.exists(evil) and not os.path.exists("/tmp/evil"), left)


def repacked(rows, folder, name, data):
    """A pack as `models pack` writes it, of any bytes."""
    out = bytearray(tar_of(("manifest.tsv", rows, {}), (name, data, {})))
    at = 512 + -(-len(rows) // 512) * 512
    out[at + 345:at + 345 + len(folder)] = folder.encode()
    out[at + 148:at + 156] = b" " * 8
    out[at + 148:at + 156] = b"%06o\0 " % sum(out[at:at + 512])
    return bytes(out)


# ---- documents ----

def documents():
    for words in (["models"], *(["models", w] for w in "list pull add verify remove pack unpack".split())):
        text = call(*words, "--help").text
        check(f"{' '.join(words)} --help", "usage: uniface " + " ".join(words) in text and "examples:" in text)
        check(f"man {' '.join(words)}", call("man", *words).text.startswith(".TH UNIFACE-models"))
    error("a command that models has not", 2, 'no command "fetch"', "models", "fetch")
    script = call("completion").text

    here = os.path.abspath(program)

    def complete(*words):
        words = (here,) + words
        quoted = " ".join(f"'{w}'" for w in words)
        done = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
                               "_uniface\nprintf '%s ' ${COMPREPLY[@]}"], capture_output=True, text=True, cwd=path("empty"),
                              env=environment)
        return done.stdout.split()

    os.makedirs(path("empty"))
    check("completion: commands of models", complete("models", "p") == ["pull", "pack"], complete("models", "p"))
    check("completion: names to pull", complete("models", "pull", "yunet-n") == ["yunet-n", "yunet-n-320"])
    check("completion: names in the store", complete("models", "remove", "re") == ["research"])
    check("completion: the value of --detector", complete("detect", "--detector", "ow") == ["own"])
    check("completion: options", complete("models", "pull", "--ca") == ["--ca-file"])


if not shutil.which("openssl"):
    skip("models: no openssl")
    finish()
key, ca = certificate("server")
other_ca = certificate("other")[1]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(ca, key)
https = f"https://127.0.0.1:{start_server(tls).server_port}"
http = f"http://127.0.0.1:{start_server().server_port}"

embedded()
bad_manifests()
url, data = file("probe", 10)
if "without libcurl" in call("models", "pull", "probe", "--manifest", manifest(row("probe", url, data))).errors:
    skip("models pull: this build has no libcurl")
    finish()
mirrored()
used_by_name()
good_pulls()
broken_connections()
stale_parts()
wrong_answers()
transport()
two_at_once()
licences()
one_folder()
own_models()
flipped_bytes()
round_trip()
hostile_packs()
documents()
removal()
finish()
