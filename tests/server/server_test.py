#!/usr/bin/env python3
"""uniface serve from outside: the known API, /v1, keys, limits, the end, swaps, crashes.

usage: server_test.py UNIFACE
"""
import base64
import json
import math
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib

from serving import Server, call, call_serve, check, finish, form, has_models, make_models, path, photo, png, program, root, skip

models = make_models() if has_models() else {}
# Without public networks the tests are of a server that has none: the built-in ones would be taken.
MODEL_FLAGS = ["--detector", models.get("detector", "none"), "--embedder", models.get("embedder", "none")]


# ---- settings ----

def settings():
    def wrong(label, part, *flags, env=None):
        done = call_serve(*flags, env=env)
        check(label, done.returncode in (2, 3) and any(part in line and line.startswith("uniface: ")
              for line in done.errors.splitlines()),
              f"{done.returncode}: {done.errors}")

    wrong("no address", "127.0.0.1:8000", "--listen", "8000")
    wrong("a number out of range", "batch must be a whole number", "--batch", "0")
    wrong("remote without TLS", "TLS", "--listen", "0.0.0.0:0")
    wrong("auth off and remote", "auth off", "--listen", "0.0.0.0:0", "--auth", "off", "--allow-remote-without-tls")
    wrong("half of TLS", "belong together", "--tls-cert", "x.pem")
    wrong("no certificate", "No such file", "--tls-cert", "/no.pem", "--tls-key", "/no.pem")
    wrong("no such seccomp", "seccomp must be on or off", "--seccomp", "some")
    wrong("no model", "/no.ufm", "--detector", "/no.ufm", "--check-config")
    wrong("no name of the store", "store", "--embedder", "nobody", "--check-config")
    wrong("environment", "UNIFACE_QUEUE", env={"UNIFACE_QUEUE": "many"})
    with open(path("wrong.json"), "w") as f:
        f.write('{"batc": 3}')
    wrong("an unknown setting", 'no setting "batc"', "--config", path("wrong.json"))
    with open(path("good.json"), "w") as f:
        json.dump({"batch": 4, "auth": "off"}, f)
    done = call_serve("--config", path("good.json"), "--check-config")
    check("--check-config", done.returncode == 0 and "good" in done.text, done.errors)
    unseen = call("serve", "--data", path("unseen"), "--check-config")
    check("a check makes no key that nobody sees", unseen.returncode == 0 and "API key" not in unseen.text + unseen.errors, unseen.text)
    wrong("flags win over the file", "auth must be", "--config", path("good.json"), "--check-config", "--auth", "maybe")


# ---- the known API ----

def known_api():
    s = Server(*MODEL_FLAGS)
    root = s.ask("GET", "/")
    check("GET /", root.status == 200 and root.json == {"message": "UniFace Face Embedding API is running!"}, root)
    check("its type", root.headers["content-type"] == "application/json", root.headers)
    text = s.send_form("/embed_face/", ("file", b"this is no picture", "a.txt"))
    check("a text file", text.status == 400 and list(text.json) == ["detail"]
          and text.json["detail"].startswith("Could not process image: "), text)
    empty = s.send_form("/embed_face/", ("file", b"", "a.jpg"))
    check("an empty file", empty.status == 400 and "empty" in empty.json.get("detail", ""), empty)
    missing = s.send_form("/embed_face/", ("fil", b"x", "a.jpg"))
    check("no file", missing.status == 422 and missing.json["detail"][0]["loc"] == ["body", "file"], missing)
    crop = s.send_form("/embed_face/", ("file", png(112, 112), "crop.png"))
    if not models:
        check("no model", crop.status == 500 and "not loaded" in crop.json.get("detail", ""), crop)
        check("not ready", s.ask("GET", "/readyz").status == 503)
        skip("embeddings: no networks at " + "../shared/models")
    else:
        jpeg = s.send_form("/embed_face/", ("file", photo("2.jpg"), "2.jpg"))
        vector = jpeg.json.get("embedding", [])
        check("a JPEG", jpeg.status == 200 and list(jpeg.json) == ["filename", "embedding"]
              and jpeg.json["filename"] == "2.jpg", jpeg)
        check("a template of unit length", vector and abs(math.hypot(*vector) - 1) < 1e-4, len(vector))
        again = s.send_form("/embed_face", ("file", photo("2.jpg"), "2.jpg"))
        check("the same again, without the slash", again.json == jpeg.json)
        check("a PNG without a face is taken for a crop", crop.status == 200 and len(crop.json["embedding"]) == len(vector),
              crop)
        check("ready", s.ask("GET", "/readyz").status == 200)
    found = seccomp_of(s)
    check("system calls of all threads are restricted", len(found) > 2 and set(found) == {"2"}, found)
    status, seconds = s.stop()
    check("ends well", status == 0 and seconds < 5, (status, seconds))


def seccomp_of(s):
    """The mode of each thread: 2 is a filter."""
    found = []
    for thread in os.listdir(f"/proc/{s.process.pid}/task"):
        try:
            with open(f"/proc/{s.process.pid}/task/{thread}/status") as f:
                found.append(re.search(r"^Seccomp:\s+(\d)", f.read(), re.M).group(1))
        except (FileNotFoundError, ProcessLookupError):
            pass  # a connection's thread that has just ended
    return found


def without_seccomp():
    s = Server("--seccomp", "off")
    check("--seccomp off", set(seccomp_of(s)) == {"0"}, seccomp_of(s))
    s.stop()


# ---- /v1 ----

def faces_and_people(s):
    jpeg = photo("13.jpg")
    kinds = {"the body": s.ask("POST", "/v1/detect", jpeg, "image/jpeg"),
             "a form": s.send_form("/v1/detect", ("image", jpeg, "a.jpg")),
             "JSON": s.ask("POST", "/v1/detect", {"image": base64.b64encode(jpeg).decode()}),
             "a data URL": s.ask("POST", "/v1/detect", {"image": "data:image/jpeg;base64," +
                                                        base64.b64encode(jpeg).decode()})}
    first = kinds["the body"].json
    check("faces are found", first.get("faces") and len(first["faces"][0]["landmarks"]) == 5, first)
    for name, answer in kinds.items():
        check(f"a picture as {name}", answer.status == 200 and answer.json == first, answer)
    batch = s.send_form("/v1/detect/batch", ("images", jpeg, "a.jpg"), ("images", photo("3.jpg"), "b.jpg"))
    check("a batch", batch.status == 200 and len(batch.json["results"]) == 2
          and batch.json["results"][0]["faces"] == first["faces"], batch)
    check("templates", len(s.ask("POST", "/v1/embed", jpeg, "image/jpeg").json["faces"]) == len(first["faces"]))

    made = s.send_form("/v1/people", ("id", "ann/1"), ("name", "Ann"), ("force", "true"), ("file", jpeg, "a.jpg"))
    check("enrolled", made.status == 201 and made.json["name"] == "Ann" and made.json["faces"] == 1, made)
    crowd = s.send_form("/v1/people", ("id", "crowd"), ("file", photo("2.jpg"), "2.jpg"))
    check("which of several faces", crowd.status == 422 and "faces" in crowd.json["detail"], crowd)
    nobody = s.send_form("/v1/people", ("id", "nobody"), ("file", png(200, 200), "a.png"))
    check("no face to enrol", nobody.status == 422, nobody)
    more = s.send_form("/v1/people/ann%2F1/faces", ("force", "true"), ("file", jpeg, "a.jpg"))
    check("another face", more.status == 201 and more.json["faces"] == 2, more)
    faces = s.ask("GET", "/v1/people/ann%2F1/faces").json["faces"]
    check("faces of a person", len(faces) == 2)
    one = f"/v1/people/ann%2F1/faces/{faces[0]['id']}"
    check("a face of somebody else", s.ask("DELETE", one.replace("ann%2F1", "bob")).status == 404)
    receipt = s.ask("DELETE", one)
    check("a face is deleted", receipt.status == 200 and receipt.json["faces"] == 1 and receipt.json["audit_entry"] > 0,
          receipt)
    check("the other stays", [f["id"] for f in s.ask("GET", "/v1/people/ann%2F1/faces").json["faces"]] == [faces[1]["id"]])
    check("a face that is gone", s.ask("DELETE", one).status == 404)
    for number in ("-1", "0", "1e0", "9223372036854775808", "18446744073709551616", "99999999999999999999999"):
        check(f"a face of the number {number}", s.ask("DELETE", "/v1/people/ann%2F1/faces/" + number).status == 404)
    found = s.ask("POST", "/v1/identify", jpeg, "image/jpeg").json
    check("identified", any(m["id"] == "ann/1" and m["name"] == "Ann" for f in found["faces"] for m in f["matches"]), found)
    strange = s.ask("POST", "/v1/identify?collection=other", jpeg, "image/jpeg")
    check("an empty collection knows nobody", strange.status == 200 and not strange.json["faces"][0]["matches"], strange)
    same = s.send_form("/v1/verify", ("id", "ann/1"), ("image", jpeg, "a.jpg"))
    check("1:1 with a person", same.json.get("same") is True and same.json["score"] > 0.9, same)
    other = s.send_form("/v1/verify", ("image1", jpeg, "a.jpg"), ("image2", photo("3.jpg"), "b.jpg"))
    check("1:1 of two pictures", other.json.get("same") is False and other.json["band"] == "low", other)
    vain = s.send_form("/v1/verify", ("purpose", "entry"), ("image1", jpeg, "a.jpg"), ("image2", jpeg, "b.jpg"))
    check("1:1 of two pictures has no purpose", vain.status == 400 and "purpose" in vain.json["detail"], vain)
    check("1:1 with nobody", s.send_form("/v1/verify", ("id", "x"), ("image", jpeg, "a.jpg")).status == 404)
    changed = s.ask("PATCH", "/v1/people/ann%2F1", {"metadata": {"site": "b"}, "consent": "form 7"})
    check("changed", changed.json.get("metadata") == {"site": "b"} and changed.json["consent"] == "form 7", changed)
    for i in range(3):
        s.send_form("/v1/people", ("id", f"p{i}"), ("force", "true"), ("collection", "c"), ("file", jpeg, "a.jpg"))
    pages = [s.ask("GET", "/v1/people?collection=c&limit=2").json]
    pages.append(s.ask("GET", "/v1/people?collection=c&limit=2&after=" + pages[0]["next"]).json)
    check("pages", [[p["id"] for p in g["people"]] for g in pages] == [["p0", "p1"], ["p2"]] and not pages[1]["next"])
    names = {c["name"]: c["people"] for c in s.ask("GET", "/v1/collections").json["collections"]}
    check("collections", names == {"c": 3, "default": 1}, names)
    once(s, jpeg)
    gone = s.ask("DELETE", "/v1/people/ann%2F1")
    check("deleted, with a receipt", gone.status == 200 and gone.json["faces"] == 1 and gone.json["audit_digest"], gone)
    check("gone", s.ask("GET", "/v1/people/ann%2F1").status == 404 and s.ask("DELETE", "/v1/people/ann%2F1").status == 404)
    check("a collection is deleted", s.ask("DELETE", "/v1/collections/c").json == {"people": 3})


def once(s, jpeg):
    """An enrolment with an Idempotency-Key is made once, however often it is asked for."""
    def ask(key, person="once", *more):
        return s.send_form("/v1/people", ("id", person), ("collection", "o"), ("force", "1"), ("file", jpeg, "a.jpg"), *more,
                           headers={"Idempotency-Key": key})
    first, again = ask("k-1"), ask("k-1")
    check("asked for once", first.status == 201 and "idempotency-replayed" not in first.headers, first)
    check("and again: the same answer, nothing is done", again.status == 201 and again.json == first.json
          and again.json["faces"] == 1 and again.headers.get("idempotency-replayed") == "true", again)
    other = ask("k-1", "once", ("name", "Other"))
    check("with another body: refused", other.status == 422 and "Idempotency-Key" in other.json["detail"], other)
    second = ask("k-2")
    check("another key is another enrolment", second.status == 201 and second.json["faces"] == 2, second)
    check("of another person too", ask("k-1", "twice").json.get("faces") == 1)
    added = [s.send_form("/v1/people/once/faces?collection=o", ("force", "1"), ("file", jpeg, "a.jpg"),
                         headers={"Idempotency-Key": "f"}) for _ in range(2)]
    check("faces too", [r.json.get("faces") for r in added] == [3, 3], added[1])
    for label, key in (("no key", ""), ("a space", "a b"), ("a long key", "x" * 256)):
        check(f"{label}: 400", ask(key).status == 400, ask(key))
    answers = []
    workers = [threading.Thread(target=lambda: answers.append(ask("at-once", "many"))) for _ in range(6)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    check("at once: one is made, the others wait or are told", {r.status for r in answers} <= {201, 409}
          and sum(r.status == 201 and "idempotency-replayed" not in r.headers for r in answers) == 1
          and ask("at-once", "many").json["faces"] == 1, [str(r) for r in answers])
    answers.clear()
    workers = [threading.Thread(target=lambda i=i: answers.append(ask("mixed", "mixed", ("name", str(i))))) for i in range(6)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    check("other bodies at once: one is made, the others are told", [r.status for r in answers].count(201) == 1
          and {r.status for r in answers} <= {201, 409, 422}, [str(r) for r in answers])
    queried = [s.send_form(f"/v1/people/mixed/faces?collection=o&force=1&name={name}", ("file", jpeg, "a.jpg"),
                           headers={"Idempotency-Key": "q"}) for name in "aba"]
    check("the query belongs to the body", [r.status for r in queried] == [201, 422, 201], queried[1])
    failed = s.send_form("/v1/people", ("id", "bad"), ("collection", "o"), ("file", png(200, 200), "a.png"),
                         headers={"Idempotency-Key": "k-1"})
    check("what failed may be asked again", failed.status == 422 and ask("k-1", "bad").status == 201)
    s.ask("DELETE", "/v1/collections/o")


def raw_pixels(s):
    """Bare pixels: the same faces as in a PNG of them; shapes that do not fit are refused."""
    def ask(target, body, shape=None, kind="application/octet-stream"):
        return s.ask("POST", target, body, kind, headers={"X-Tensor-Shape": shape} if shape else {})
    width, height, pixels = pixels_of(path("face.png"))
    bgr = bytes(v for i in range(0, len(pixels), 3) for v in pixels[i:i + 3][::-1])
    grey = pixels[::3]
    with open(path("face.png"), "rb") as f:
        wanted = s.ask("POST", "/v1/detect", f.read(), "image/png")
    shape = f"{height},{width},3"
    check("there is a face", wanted.status == 200 and len(wanted.json["faces"]) == 1, wanted)
    by_query, by_header = ask("/v1/detect?shape=" + shape, pixels), ask("/v1/detect", pixels, shape)
    check("by query and by header", by_query.json == by_header.json == wanted.json, by_query)
    check("BGR", ask("/v1/detect?pixels=bgr&shape=" + shape, bgr).json == wanted.json)
    check("grey", len(ask(f"/v1/detect?shape={height},{width},1", grey).json["faces"]) == 1)
    batch = ask("/v1/embed/batch", pixels * 2, "2," + shape)
    check("several at once", batch.status == 200 and len(batch.json["results"]) == 2
          and batch.json["results"][0] == batch.json["results"][1], batch)
    same = ask("/v1/verify", pixels * 2, "2," + shape)
    check("two are compared", same.json.get("same") is True, same)
    check("a picture file without a shape, as before", ask("/v1/detect", open(path("face.png"), "rb").read()).json == wanted.json)
    for label, shape, status in (("too few bytes", f"{height},{width + 1},3", 400), ("too many", f"{height},{width - 1},3", 400),
                                 ("no shape", "x", 400), ("two sides", "4,4", 400), ("five", "1,1,4,4,3", 400),
                                 ("zero", "0,4,3", 400), ("negative", "-4,4,3", 400), ("a gap", "4,,3", 400),
                                 ("an end", "4,4,", 400), ("two channels", "4,4,2", 400), ("a side too long", "32769,1,3", 400),
                                 ("more than fits", "99999999999999999999,4,3", 400), ("too many pixels", "32768,32768,3", 413),
                                 ("several where one is wanted", f"2,{height},{width},3", 413)):
        r = ask("/v1/detect", pixels, shape)
        check(f"shape: {label}", r.status == status, r)
    check("pixels of no kind", ask(f"/v1/detect?pixels=cmyk&shape={height},{width},3", pixels).status == 400)


def pixels_of(name):
    """Width, height and RGB bytes of a face that tools/draw_person.py draws into a PNG of that name."""
    done = subprocess.run([sys.executable, os.path.join(root, "tools", "draw_person.py"), "1", "1", name]).returncode
    with open(name, "rb") as f:
        data = f.read()
    width, height = struct.unpack(">II", data[16:24])
    rows, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        rows += data[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    rows = zlib.decompress(rows)
    lines = [rows[i:i + 1 + 3 * width] for i in range(0, len(rows), 1 + 3 * width)]
    check("a drawn face", done == 0 and all(line[0] == 0 for line in lines))
    return width, height, b"".join(line[1:] for line in lines)


def values(s):
    """Wrong values are 400, whichever they are; nothing of them is a crash."""
    bad = [("k=0", "/v1/identify?top_k=0"), ("k=-1", "/v1/identify?top_k=-1"), ("k=1e9", "/v1/identify?top_k=1e9"),
           ("threshold NaN", "/v1/identify?threshold=nan"), ("threshold inf", "/v1/identify?threshold=inf"),
           ("fpir 2", "/v1/identify?fpir=2"), ("empty collection", "/v1/identify?collection="),
           ("a control character", "/v1/identify?collection=%09"), ("below maybe", "/v1/identify?below=maybe")]
    for label, target in bad:
        r = s.ask("POST", target, png(32, 32), "image/png")
        check(label, r.status == 400 and r.headers["content-type"] == "application/problem+json", r)
    for label, body in (("depth 1e5", b'{"a":' + b"[" * 100000), ("duplicate keys", b'{"a":[1],"a":[1],"b":[1]}'),
                        ("1e400", b'{"a":[1e400],"b":[1]}'), ("a lone surrogate", b'{"a":"\\ud800"}'),
                        ("NaN", b'{"a":[NaN],"b":[1]}'), ("a list", b"[1]"), ("cut short", b'{"a":[1'), ("nothing", b" "),
                        ("zeros", b'{"a":[0,0],"b":[1,1]}'), ("text for numbers", b'{"a":["x"],"b":[1]}'),
                        ("different sizes", b'{"a":[1,2],"b":[1]}'), ("overlong UTF-8", b'{"a":"\xc0\xaf"}')):
        r = s.ask("POST", "/v1/compare", body, "application/json")
        check(f"JSON: {label}", r.status == 400, r)
    for label, text in (("no base64", "%%%"), ("wrong padding", "QUJD="), ("a number", 7), ("a list of numbers", [1]),
                        ("null", None), ("no picture", "QUJD")):
        r = s.ask("POST", "/v1/detect", {"image": text})
        check(f"base64: {label}", r.status == 400, r)
    check("base64 with newlines", s.ask("POST", "/v1/detect", {
        "image": base64.encodebytes(png(64, 64)).decode()}).status in (200, 503))
    long_id = s.send_form("/v1/people", ("id", "x" * (1 << 20)), ("file", png(32, 32), "a.png"))
    check("an id of 1 MiB", long_id.status == 400, long_id)
    check("10 MB of text", s.ask("POST", "/v1/detect", {"image": "A" * 10000000}).status == 400)
    check("another type", s.ask("POST", "/v1/detect", b"x", "text/plain").status == 415)
    check("no type", s.ask("POST", "/v1/detect", b"x").status == 415)
    check("a body that is not wanted", s.ask("GET", "/v1/people", b"x", "text/plain").status == 400)


def described(s, api):
    """Each value of /openapi.json is really read: a wrong one is refused by name."""
    r = s.send_form("/v1/people", ("id", "described"), ("force", "1"), ("file", photo("13.jpg"), "a.jpg"))
    check("somebody to ask for", r.status == 201, r)
    image_id = s.ask("GET", "/api/v1/recognition/faces?subject=described").json["faces"][0]["image_id"]
    fill = {"image_id": image_id, "task": "embedder"}
    wrong = {"number": "x", "integer": "x", "boolean": "x", "string": "x" * 1500}
    loose = {"shape", "pixels", "face_plugins", "page", "size", "metadata"}  # read otherwise, or as CompreFace does
    parts, kind = form(*((n, photo("13.jpg"), "a.jpg") for n in ("file", "image1", "image2", "source_image", "target_image")))
    asked, unread, ids = 0, [], []
    for pattern, methods in api["paths"].items():
        for method, o in methods.items():
            ids.append(o["operationId"])
            if not pattern.startswith(("/v1/", "/api/v1/")) or pattern.startswith("/v1/keys"):
                continue
            target = re.sub(r"\{(\w+)\}", lambda m: fill.get(m.group(1), "described"), pattern)
            content = o.get("requestBody", {"content": {}})["content"]
            values = {p["name"]: p["schema"]["type"] for p in o["parameters"] if p["in"] == "query"}
            for name in values.keys() - loose - ({"subject"} if method == "get" else set()):
                query = [f"{k}=described" for k in ("id", "subject") if k in values and k != name]
                query.append(f"{name}={wrong[values[name]]}")
                r = s.ask(method.upper(), target + "?" + "&".join(query), *((parts, kind) if content else ()))
                asked += 1
                if r.status != 400 or name not in r.body.decode():
                    unread.append((method, pattern, name, r.status, r.body[:100]))
            if list(content) == ["application/json"]:
                for name, value in content["application/json"]["schema"].get("properties", {}).items():
                    r = s.ask(method.upper(), target, {name: 5 if value["type"] in ("string", "object") else "x"})
                    asked += 1
                    if r.status != 400:
                        unread.append((method, pattern, name, r.status, r.body[:100]))
    check(f"openapi.json: {asked} values are read", asked > 70 and not unread, unread)
    check("openapi.json: ids of operations are unique", len(set(ids)) == len(ids), sorted(ids))


def v1():
    s = Server(*MODEL_FLAGS, data="v1")
    if models:
        faces_and_people(s)
        raw_pixels(s)
    else:
        skip("faces and people: no networks")
    values(s)
    api = s.ask("GET", "/openapi.json").json
    check("openapi.json", "/v1/people/{id}" in api["paths"] and "delete" in api["paths"]["/v1/people/{id}"])
    named = {(path, p["in"], p["name"]) for path, of in api["paths"].items() for p in of.get("post", {}).get("parameters", [])}
    if models:
        described(s, api)
    made = api["paths"]["/v1/people"]["post"]["responses"]
    check("openapi.json: statuses, and what errors are", "201" in made and "204" in api["paths"]["/v1/models/{task}"]["delete"]["responses"]
          and made["default"]["content"]["application/problem+json"]["schema"]["$ref"] == "#/components/schemas/Problem", made)
    check("openapi.json: Idempotency-Key, bare pixels", {("/v1/people", "header", "Idempotency-Key"),
          ("/v1/people/{id}/faces", "header", "Idempotency-Key"), ("/v1/detect", "query", "shape"),
          ("/v1/detect", "query", "pixels")} <= named and ("/v1/compare", "query", "shape") not in named, named)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    r = s.ask("GET", "/v1/models", headers={"X-Request-Id": "abc-1", "traceparent": trace})
    check("ids are taken over", r.headers["x-request-id"] == "abc-1" and
          r.headers["traceparent"][:36] == trace[:36] and r.headers["traceparent"] != trace, r.headers)
    r = s.ask("GET", "/v1/nothing", headers={"X-Request-Id": "a b\x01"[:3]})
    check("a malformed id is not", r.headers["x-request-id"] != "a b" and len(r.json["request_id"]) == 32, r)
    docs = s.ask("GET", "/docs")
    check("the description as a page", docs.status == 200 and b"/ui/docs.js" in docs.body
          and docs.headers["content-type"].startswith("text/html") and "content-security-policy" in docs.headers
          and s.ask("GET", "/docs/").body == docs.body, docs)
    page = s.ask("GET", "/ui/")
    check("the page", page.status == 200 and "Content-Security-Policy".lower() in page.headers, page)
    cached = s.ask("GET", "/ui/app.js", headers={"If-None-Match": s.ask("GET", "/ui/app.js").headers["etag"]})
    check("it is kept by the browser", cached.status == 304 and not cached.body)
    metrics = s.ask("GET", "/metrics").body.decode()
    check("metrics", 'uniface_requests_total{route="/v1/compare",method="POST",status="400"}' in metrics
          and "process_resident_memory_bytes" in metrics)
    s.stop()
    with open(path("server.log")) as f:
        lines = [json.loads(line) for line in f if line.startswith("{")]
    check("the log tells of the request", any(x.get("request_id") == "abc-1" and x["trace"][:36] == trace[:36] for x in lines))
    told = [json.dumps({k: v for k, v in x.items() if k != "route"}) for x in lines]
    check("and nothing of faces", not any("embedding" in x for x in told))


# ---- keys ----

def keys():
    s = Server(*MODEL_FLAGS, "--verify-failures", 3, data="keys", auth=True)
    admin = s.key
    check("a first key is printed", admin and admin.startswith("uf_"))
    modes = {n: oct(stat.S_IMODE(os.stat(path("keys", n)).st_mode)) for n in ("keys.json", "server.key", "gallery.key")}
    check("files of keys are for their owner only", set(modes.values()) == {"0o600"}, modes)
    with open(path("keys", "keys.json")) as f:
        check("keys are not stored", admin not in f.read())
    s.key = None
    check("no key", s.ask("GET", "/v1/people").status == 401)
    check("the known API wants one too", s.send_form("/embed_face/", ("file", b"x", "a.jpg")).status == 401)
    check("public", s.ask("GET", "/").status == 200 and s.ask("GET", "/healthz").status == 200)
    check("x-api-key", s.ask("GET", "/v1/keys", headers={"x-api-key": admin}).status == 200)

    def make(name, roles):
        r = s.ask("POST", "/v1/keys", {"name": name, "roles": roles}, key=admin)
        check(f"a key for {roles}", r.status == 201, r)
        return r.json.get("key"), r.json.get("id")

    reader, _ = make("reader", "read")
    door, door_id = make("door", "door:identify")
    check("read: may read", s.ask("GET", "/v1/people", key=reader).status == 200)
    check("read: may not enrol", s.send_form("/v1/people", ("id", "x"), ("file", b"x", "a"), key=reader).status == 403)
    check("read: may not make keys", s.ask("POST", "/v1/keys", {"name": "x", "roles": "admin"}, key=reader).status == 403)
    check("read: may not load models", s.ask("PUT", "/v1/models/embedder", {"name": "x"}, key=reader).status == 403)
    check("another collection", s.ask("POST", "/v1/identify", png(32, 32), "image/png", key=door).status == 403)
    check("roles that are none", s.ask("POST", "/v1/keys", {"name": "x", "roles": "king"}, key=admin).status == 400)
    if models:
        jpeg = photo("13.jpg")
        s.send_form("/v1/people", ("id", "ann"), ("collection", "door"), ("force", "1"), ("file", jpeg, "a"), key=admin)
        r = s.send_form("/v1/verify", ("id", "ann"), ("collection", "door"), ("image", jpeg, "a"), key=door)
        check("a band, no score", r.json.get("band") == "high" and "score" not in r.json, r)
        r = s.send_form("/v1/verify", ("id", "ann"), ("collection", "door"), ("image", jpeg, "a"), key=admin)
        check("a score for who may see it", r.json.get("score", 0) > 0.9, r)
        tries = [s.send_form("/v1/verify", ("id", "ann"), ("collection", "door"), ("image", photo("3.jpg"), "a"),
                             key=door).status for _ in range(4)]
        check("locked after failed tries", tries == [200, 200, 200, 429], tries)
        audit(jpeg, admin, door, door_id, s)
        once_by_two_keys(s, jpeg, admin, make("desk", "door:enrol")[0])
    check("a key is removed", s.ask("DELETE", "/v1/keys/" + door_id, key=admin).status == 204)
    check("and not taken any more", s.ask("GET", "/v1/people", key=door).status == 401)
    done = subprocess.run([program, "serve", "keys", "add", "late", "--roles", "read", "--data", path("keys"), "--json"],
                          capture_output=True, env=os.environ)
    late = json.loads(done.stdout)["key"]
    s.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    check("SIGHUP: keys are read again", s.ask("GET", "/v1/people", key=late).status == 200)
    wrong = [s.ask("GET", "/v1/people", key=f"uf_wrong{i}").status for i in range(12)]
    check("wrong keys lock an address out", wrong[0] == 401 and wrong[-1] == 429, wrong)
    s.stop()
    again = Server(data="keys", auth=True)
    check("the key is printed once", again.key is None)
    again.stop()


def once_by_two_keys(s, jpeg, admin, desk):
    """The same Idempotency-Key of two API keys is two enrolments: nobody gets another's answer."""
    def ask(key, collection="door"):
        return s.send_form("/v1/people", ("id", "eve"), ("collection", collection), ("force", "1"), ("file", jpeg, "a.jpg"), key=key,
                           headers={"Idempotency-Key": "same"})
    answers = [ask(admin), ask(desk), ask(desk), ask(admin)]
    check("of two API keys: each has its own", [r.json.get("faces") for r in answers] == [1, 2, 2, 2]
          and ["idempotency-replayed" in r.headers for r in answers] == [False, False, True, True], answers[1])
    other = ask(admin, "elsewhere")
    check("of another collection: one more", other.json.get("faces") == 1 and "idempotency-replayed" not in other.headers, other)
    check("which the key must be allowed", ask(desk, "elsewhere").status == 403)


def audit(jpeg, admin, door, door_id, s):
    """The audit log names the key that asked, and the purpose."""
    s.send_form("/v1/people", ("id", "bob"), ("collection", "door"), ("force", "1"), ("purpose", "entry"),
                ("file", jpeg, "a"), key=admin)
    r = s.send_form("/v1/verify", ("id", "bob"), ("collection", "door"), ("purpose", "entry"), ("image", jpeg, "a"), key=door)
    check("1:1 for a purpose", r.json.get("same") is True, r)
    r = s.send_form("/v1/verify", ("id", "bob"), ("collection", "door"), ("purpose", "pay"), ("image", jpeg, "a"), key=door)
    check("who was enrolled for another is not found", r.status == 404, r)
    s.send_form("/v1/identify?collection=door&purpose=round", ("image", jpeg, "a"), key=door)
    done = call("gallery", "audit", "-g", path("keys", "gallery.ufg"), "--json",
                env={"UNIFACE_GALLERY_KEY_FILE": path("keys", "gallery.key")})
    entries = json.loads(done.text or "[]")
    key = f"uniface serve, key {door_id}"
    check("verify: key and purpose", any(e["actor"] == key and e["action"] == "verify" and e["detail"].endswith(", for entry")
                                         for e in entries), done.text[-1500:] + done.errors)
    check("identify: key and purpose", any(e["actor"] == key and e["action"] == "identify"
                                           and e["detail"].endswith(", for round") for e in entries))
    check("enrol: the key", any(e["actor"].startswith("uniface serve, key ") and e["actor"] != key
                                and e["action"] == "enroll" for e in entries))


# ---- limits ----

def privileges():
    if not models:
        skip("privileges: no networks")
        return
    s = Server(*MODEL_FLAGS, "--models", path("models"), "--verify-failures", 3, data="privileges", auth=True)

    def made(roles):
        return s.ask("POST", "/v1/keys", {"name": "k", "roles": roles}).json["key"]
    local, plain, scored = made("default:admin"), made("*:identify"), made("*:identify,scores")
    for method, body in (("DELETE", None), ("PUT", {"name": "embedder"})):
        r = s.ask(method, "/v1/models/embedder", body, key=local)
        check(f"models are no matter of a collection's admin: {method}", r.status == 403 and "all collections" in r.json["detail"], r)
    r = s.ask("PUT", "/v1/models/embedder", {"name": "embedder"})
    check("but of an admin of all", r.status == 200, r)
    face = photo("13.jpg")
    s.send_form("/v1/people", ("id", "ann"), ("force", "1"), ("file", face, "a.jpg"))
    other = next(photo(n) for n in ("1.jpg", "2.jpg", "3.jpg", "5.jpg", "6.jpg") if s.send_form(
        "/v1/verify", ("image1", face, "a.jpg"), ("image2", photo(n), "b.jpg")).json.get("same") is False)
    for target in ("/v1/identify", "/v1/verify"):
        low, high = (s.ask("POST", f"{target}?threshold={t}&id=ann", other, "image/jpeg", key=plain) for t in (-1, 0.9))
        check(f"{target}: a low threshold wants the role scores", low.status == 403 and "scores" in low.json["detail"]
              and high.status == 200, (low, high))
    low, usual = (s.ask("POST", f"/v1/identify?fpir={f}", other, "image/jpeg", key=plain) for f in (0.02, 0.01))
    check("/v1/identify: a high fpir lowers the threshold too", low.status == 403 and "fpir" in low.json["detail"]
          and usual.status == 200, (low, usual))
    low = s.ask("POST", "/v1/compare", {"a": [1, 0], "b": [0, 1], "threshold": 0}, key=plain)
    check("/v1/compare: too", low.status == 403, low)
    got = [s.ask("POST", "/v1/verify?id=ann" + ("&threshold=-1" if i % 2 else ""), other, "image/jpeg", key=scored)
           for i in range(6)]
    check("a low threshold does not undo failed tries", [r.status for r in got] == [200] * 3 + [429] * 3
          and got[1].json["same"] is True, [str(r) for r in got])
    s.stop()


def limits():
    s = Server(*MODEL_FLAGS, "--max-body", 100000, "--rate", 0, data="limits")
    began = time.monotonic()
    head = (b"POST /embed_face/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 100001\r\n\r\n")
    raw = s.raw(head)
    check("413 before the body is read", raw.startswith(b"HTTP/1.1 413") and time.monotonic() - began < 2, raw[:100])
    raw = s.raw(head.replace(b"100001", b"100000\r\nExpect: 100-continue"), timeout=1)
    check("100-continue, then silence", raw.startswith(b"HTTP/1.1 100"), raw[:100])
    body = b"1" * 200000
    chunked = (b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
               + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    check("413 of a chunked body", b" 413 " in s.raw(chunked)[:20])
    s.stop()
    s = Server(*MODEL_FLAGS, "--rate", 2, data="limits")
    seen = [s.ask("GET", "/v1/models").status for _ in range(8)]
    check("a rate", 429 in seen and seen[0] == 200, seen)
    check("health is not limited", s.ask("GET", "/healthz").status == 200)
    s.stop()
    s = Server("--header-timeout", 0.5, "--body-timeout", 0.7, "--idle-timeout", 0.5, data="limits")
    began = time.monotonic()
    raw = s.raw([b"GET / HTTP/1.1\r\n"] + [b"A: b\r\n"] * 12, pause=0.2, timeout=5)
    check("a slow head", time.monotonic() - began < 4 and statuses_of(raw) in ([408], []), raw)
    began = time.monotonic()
    raw = s.raw([b"POST /v1/compare HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"] +
                [b" "] * 20, pause=0.2, timeout=5)
    check("a slow body", time.monotonic() - began < 6 and statuses_of(raw) in ([408], []), raw)
    check("others are served", s.ask("GET", "/").status == 200)
    s.stop()


def statuses_of(raw):
    return [int(x) for x in re.findall(rb"HTTP/1\.1 (\d{3})", raw)]


# ---- load ----

class Load:
    """Clients that ask as fast as they are answered, over connections that stay open."""

    def __init__(self, server, clients, target, body, kind):
        self.server, self.statuses, self.broken, self.stop = server, [], [], False
        self.threads = [threading.Thread(target=self.run, args=(target, body, kind)) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def run(self, target, body, kind):
        c = self.server.connection()
        while not self.stop:
            try:
                r = self.server.ask("POST", target, body, kind, connection=c)
                self.statuses.append(r.status)
                if r.headers.get("connection") == "close":
                    c.close()
            except ConnectionRefusedError:
                return  # it does not listen any more: nothing was accepted
            except OSError as e:
                self.broken.append(repr(e))
                return
            except Exception as e:  # an answer that was cut short
                self.broken.append(repr(e))
                return

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join()


def under_load():
    if not models:
        skip("load, drain, swap: no networks")
        return
    body, kind = form(("file", photo("13.jpg"), "13.jpg"))
    s = Server(*MODEL_FLAGS, "--queue", 4, data="load")
    load = Load(s, 16, "/embed_face/", body, kind)
    time.sleep(2)
    refused = None
    for _ in range(200):
        r = s.send_form("/embed_face/", ("file", photo("13.jpg"), "a.jpg"))
        if r.status == 503:
            refused = r
            break
    head = (b"POST /embed_face/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: %d\r\n\r\n")
    early = kept = b""
    for _ in range(200):
        if b" 503 " not in early[:20]:
            early = s.raw(head % 9_000_000, timeout=0.2)
        if b" 503 " not in kept[:20]:
            kept = s.raw(head % 90_000 + b"x" * 90_000, timeout=0.2)
    load.end()
    check("a full queue: 503 before a large body is read", b" 503 " in early[:20] and b"connection: close" in early.lower(),
          early[:300])
    check("a small body is read, and the connection stays", b" 503 " in kept[:20] and b"connection: close" not in kept.lower(),
          kept[:300])
    check("a full queue: 503 with Retry-After", refused and "retry-after" in refused.headers, refused)
    check("only 200 and 503", set(load.statuses) <= {200, 503} and 200 in load.statuses, set(load.statuses))
    metrics = s.ask("GET", "/metrics").body.decode()
    runs = re.search(r'uniface_batch_size_count\{network="embedder"\} (\S+)', metrics)
    check("runs are counted", runs and float(runs.group(1)) >= load.statuses.count(200), runs)
    refusals = re.search(r'uniface_errors_total\{class="overload"\} (\S+)', metrics)
    with open(path("server.log"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f if '"status":503' in line]
    counted = sum(1 + line.get("not_logged", 0) for line in lines)
    most = 20 * (time.monotonic() - s.started + 2)
    check("refusals are logged sparingly", refusals and lines and len(lines) <= most and counted <= float(refusals.group(1)),
          (len(lines), most, counted, refusals))
    s.stop()

    s = Server(*MODEL_FLAGS, "--models", path("models"), data="load")
    load = Load(s, 8, "/embed_face/", body, kind)
    time.sleep(1)
    swaps = [s.ask("PUT", "/v1/models/embedder", {"name": n}) for n in
             (["embedder2", "embedder"] if "embedder2" in models else ["embedder", "embedder"]) * 5]
    time.sleep(0.5)
    load.end()
    check("models are swapped", all(r.status == 200 for r in swaps), swaps[0])
    check("no request fails meanwhile", load.statuses and set(load.statuses) == {200} and not load.broken,
          (set(load.statuses), load.broken[:3]))
    check("no path leads out of the folder", s.ask("PUT", "/v1/models/embedder", {"name": "../x"}).status == 400)
    check("a model that is not there", s.ask("PUT", "/v1/models/embedder", {"name": "none"}).status == 404)
    check("a model of another kind", s.ask("PUT", "/v1/models/embedder", {"name": "detector"}).status == 409)
    shutil.copy(models["embedder"], path("models", "embedder-2.5g.ufm"))
    dotted = s.ask("PUT", "/v1/models/embedder", {"name": "embedder-2.5g"})
    check("a name with a dot", dotted.status == 200 and dotted.json.get("name") == "embedder-2.5g", dotted.body)
    check("unloaded", s.ask("DELETE", "/v1/models/embedder").status == 204)
    gone = s.ask("POST", "/embed_face/", body, kind)
    check("no model", gone.status == 500 and "not loaded" in gone.json["detail"], gone)
    # Workers close what was unloaded while requests come: none may be forgotten.
    answers = []
    for _ in range(25):
        s.ask("PUT", "/v1/models/embedder", {"name": "embedder"})
        answers.append(s.ask("POST", "/embed_face/", body, kind).status)
        s.ask("DELETE", "/v1/models/embedder")
        answers.append(s.ask("POST", "/embed_face/", body, kind).status)
    check("requests while models are closed", answers == [200, 500] * 25, answers)
    check("not ready", s.ask("GET", "/readyz").status == 503)
    s.ask("PUT", "/v1/models/embedder", {"name": "embedder"})

    load = Load(s, 4, "/embed_face/", body, kind)
    time.sleep(1)
    status, seconds = s.stop()
    load.end()
    check("SIGTERM under load", status == 0 and seconds <= 5, (status, seconds))
    check("nothing accepted is lost", set(load.statuses) == {200} and not load.broken,
          (set(load.statuses), load.broken[:3]))


def bodies():
    """Memory of bodies that came at once goes back, not at once but soon."""
    s = Server(data="bodies")
    size, held = 300_000, []
    s.ask("POST", "/v1/compare", {"a": [1], "b": [1]})
    before = s.resident()
    for turn in range(3):
        for i in range(40):
            c = socket.create_connection(("127.0.0.1", s.port))
            c.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % size
                      + bytes(size - 1000 - 5000 * (i + turn)))
            held.append(c)
        time.sleep(0.5)
        most = s.resident()
        for c in held[::-1] if turn % 2 else held:
            c.close()
        held = []
    for _ in range(60):
        time.sleep(0.1)
        after = s.resident()
        if after < before + (3 << 20):
            break
    check("bodies are held", most > before + (4 << 20), (before, most))
    check("and their memory is given back", after < before + (3 << 20), (before, most, after))
    s.stop()


def signed():
    if not models or "embedder2" not in models:
        skip("signed models: no networks")
        return
    key, public, store = path("release.key"), path("release.key.pub"), path("signed")
    os.makedirs(store)
    call("sign", "keygen", "-o", key)
    with open(public) as f:
        key_text = f.read().split()[-1]
    for name, source, release in (("detector", "detector", 1), ("r1", "embedder", 1), ("r2", "embedder", 2),
                                  ("r3", "embedder", 3)):
        call("sign", models[source], "--key", key, "--release", release, "--signer", "Builds of Ada", "-o", os.path.join(store, name + ".ufm"))
    flags = ["--trusted-keys", public, "--models", store]
    done = call_serve(*flags, "--embedder", models["embedder"], "--check-config")
    check("no start with a model that is not signed", done.returncode == 3 and "not signed" in done.errors
          and models["embedder"] in done.errors, done.errors)
    done = call_serve("--trusted-keys", "/nowhere", "--check-config")
    check("no start without the keys", done.returncode == 3 and "trusted-keys: /nowhere" in done.errors, done.errors)
    s = Server(*flags, "--embedder", os.path.join(store, "r2.ufm"), "--detector", os.path.join(store, "detector.ufm"),
               data="signed-data")
    check("signed models are served", s.ask("GET", "/readyz").status == 200)
    shown = {m["task"]: m["signature"] for m in s.ask("GET", "/v1/models").json["models"]}
    check("release and signer are shown", shown["embedder"]["release"] == 2 and shown["detector"]["release"] == 1
          and shown["embedder"]["state"] == "valid" and shown["embedder"]["signer"] == "Builds of Ada"
          and shown["embedder"]["key"] == key_text and abs(shown["embedder"]["time"] - time.time()) < 600, shown)
    older = s.ask("PUT", "/v1/models/embedder", {"name": "r1"})
    check("no swap to an older release", older.status == 409 and older.headers["content-type"] == "application/problem+json"
          and "release 1 of embedder/" in older.json["detail"] and "release 2 was in use" in older.json["detail"]
          and store not in older.json["detail"], older)
    check("the newer one stays", [m["name"] for m in s.ask("GET", "/v1/models").json["models"]] == ["detector", "r2"])
    check("a newer release", s.ask("PUT", "/v1/models/embedder", {"name": "r3"}).status == 200)
    check("the one before no more", s.ask("PUT", "/v1/models/embedder", {"name": "r2"}).status == 409)
    os.link(models["embedder2"], os.path.join(store, "plain.ufm"))
    plain = s.ask("PUT", "/v1/models/embedder", {"name": "plain"})
    check("no swap to a model that is not signed", plain.status == 409 and "not signed" in plain.json["detail"], plain)
    check("releases are kept with the data", os.path.exists(path("signed-data", "releases")))
    with open(path("signed-data", "releases"), "w", encoding="utf-8") as f:
        f.write("no list\n")
    lost = s.ask("PUT", "/v1/models/embedder", {"name": "r3"})
    check("a damaged list lets nothing in", lost.status == 500 and "list of releases" in lost.json["detail"], lost)
    s.stop()
    with open(path("signed-data", "releases"), "w", encoding="utf-8") as f:
        f.write("uniface releases 1\n9 embedder/" + models_family(os.path.join(store, "r3.ufm")) + "\n")
    done = call("serve", "--data", path("signed-data"), *flags, "--embedder", os.path.join(store, "r3.ufm"), "--check-config")
    check("nor does a restart go back", done.returncode == 3 and "release 9 was in use" in done.errors, done.errors)


def models_family(name):
    return json.loads(call("inspect", name, "--json").text)["metadata"]["family"]


def crash():
    if not models:
        skip("kill -9: no networks")
        return
    data, jpeg = "crash", photo("13.jpg")
    acknowledged = []
    slowest = 0
    for cycle in range(3):
        s = Server(*MODEL_FLAGS, data=data)
        slowest = max(slowest, s.ready_s)
        known = {p["id"] for p in s.ask("GET", "/v1/people?limit=1000").json["people"]}
        lost = set(acknowledged) - known
        check(f"start {cycle + 1}: nothing acknowledged is lost", not lost, lost)
        killed = threading.Timer(0.8, s.process.kill)
        killed.start()
        for i in range(10000):
            try:
                r = s.send_form("/v1/people", ("id", f"c{cycle}-{i}"), ("force", "1"), ("file", jpeg, "a.jpg"))
                if r.status == 201:
                    acknowledged.append(f"c{cycle}-{i}")
            except Exception:
                break
        killed.join()
        s.stop()
    s = Server(*MODEL_FLAGS, data=data)
    check("ready within 5 s after a kill", max(slowest, s.ready_s) < 5, slowest)
    known = {p["id"] for p in s.ask("GET", "/v1/people?limit=1000").json["people"]}
    check(f"{len(acknowledged)} acknowledged, all there", acknowledged and set(acknowledged) <= known)
    s.stop()


for part in (settings, known_api, without_seccomp, v1, keys, privileges, limits, under_load, bodies, signed, crash):
    part()
finish()
