#!/usr/bin/env python3
"""The API of CompreFace: its rules, what is wrong with requests, and its own SDK as a client.

usage: compreface_test.py UNIFACE FOLDER (where environments with clients are kept)
"""
import base64
import json
import math
import os
import subprocess
import sys

from clients import python_with
from serving import PHOTOS, Server, check, finish, form, has_models, make_models, photo, png, skip

API = "/api/v1"
SUBJECTS, FACES = API + "/recognition/subjects", API + "/recognition/faces"
RECOGNIZE, DETECT, VERIFY = API + "/recognition/recognize", API + "/detection/detect", API + "/verification/verify"
ONE, TWO = "5.jpg", "13.jpg"   # pictures of one face and of two
ONLY = "det_prob_threshold=0.935"   # of the two faces, the one that is surer
NO_ID = "00000000-0000-4000-8000-000000000000"


def file(name="file", data=None):
    return (name, data if data is not None else photo(ONE), "a.jpg")


def error(label, answer, status, code):
    check(label, answer.status == status and set(answer.json) == {"message", "code"} and answer.json["code"] == code
          and answer.json["message"] and answer.headers["content-type"] == "application/json", answer)


# ---- faces ----

def detection(s):
    known = s.ask("POST", "/v1/detect", photo(TWO), "image/jpeg").json["faces"]
    all_ = s.send_form(DETECT + "?face_plugins=landmarks,%20pose,age&status=true", file(data=photo(TWO)))
    found = all_.json.get("result", [])
    check("two faces", all_.status == 200 and len(found) == 2, all_)
    known.sort(key=lambda f: -f["box"][2] * f["box"][3])
    for theirs, ours in zip(found, known):
        box, (x, y, w, h) = theirs["box"], ours["box"]
        check("the box", [box["x_min"], box["y_min"], box["x_max"], box["y_max"]] ==
              [math.floor(v + 0.5) for v in (x, y, x + w, y + h)], box, ours["box"])
        check("probability", abs(box["probability"] - ours["score"]) < 1e-3, box)
        check("landmarks", all(abs(a - b) <= 0.51 for p, q in zip(theirs["landmarks"], ours["landmarks"])
                               for a, b in zip(p, q)) and len(theirs["landmarks"]) == 5, theirs)
        check("pose", abs(theirs["pose"]["yaw"] - ours["quality"]["yaw"]) < 1e-3, theirs)
        check("only what was asked for", set(theirs) == {"box", "landmarks", "pose", "execution_time"}, theirs)
    check("versions", set(all_.json["plugins_versions"]) == {"detector", "landmarks", "pose"}, all_)
    plain = s.send_form(DETECT + "?limit=1", file(data=photo(TWO))).json
    check("the largest face alone", plain == {"result": [{"box": found[0]["box"]}]}, plain)
    sure = s.send_form(DETECT + "?" + ONLY, file(data=photo(TWO))).json
    check("the sure face alone", len(sure["result"]) == 1 and sure["result"][0]["box"]["probability"] > 0.935, sure)
    text = s.ask("POST", DETECT + "?face_plugins=calculator", {"file": base64.b64encode(photo(ONE)).decode()}).json
    vector = s.ask("POST", "/v1/embed", photo(ONE), "image/jpeg").json["faces"][0]["embedding"]
    check("base64, and the embedding", text["result"][0]["embedding"] == vector)
    check("more faces than there are", s.send_form(DETECT + "?limit=2147483647", file()).status == 200)
    error("no face", s.send_form(DETECT, file(data=png(64, 64))), 400, 28)


def verification(s):
    same = s.send_form(VERIFY + "?status=true", file("source_image"), file("target_image")).json["result"]
    check("the same picture", len(same) == 1 and same[0]["face_matches"][0]["similarity"] > 0.99
          and set(same[0]) == {"source_image_face", "face_matches", "plugins_versions"}, same)
    text = base64.b64encode(photo(ONE)).decode()
    other = s.ask("POST", VERIFY, {"source_image": text, "target_image": base64.b64encode(photo(TWO)).decode()})
    matches = other.json["result"][0]["face_matches"]
    check("two strangers", len(matches) == 2 and all(0 <= m["similarity"] < 0.5 for m in matches), other)
    scored = s.send_form("/v1/verify", ("image1", photo(ONE), "a"), ("image2", photo(TWO), "b")).json
    d, d0 = (math.sqrt(2 - 2 * scored[k]) for k in ("score", "threshold"))
    wanted = (1 + math.tanh(5.3 * (d0 - d))) / 2
    check("similarity by the formula", min(abs(m["similarity"] - wanted) for m in matches) < 1e-4, wanted, matches)
    error("two faces in the source", s.send_form(VERIFY, file("source_image", photo(TWO)), file("target_image")), 400, 31)
    error("no target", s.send_form(VERIFY, file("source_image")), 400, 34)
    error("no target in JSON", s.ask("POST", VERIFY, {"source_image": text}), 400, 5)


# ---- subjects and examples ----

def subjects(s):
    for name in ("Ann", "Zoë Ünal", "a b+c&d", ".."):
        made = s.ask("POST", SUBJECTS, {"subject": name})
        check(f"subject {name}", made.status == 201 and made.json == {"subject": name}, made)
    error("there already", s.ask("POST", SUBJECTS, {"subject": "Ann"}), 400, 43)
    for name in ("", "   ", "a/b", "../../etc/passwd", "a\\b", "a;b", "x" * 51, "a\nb", 7, None, ["a"]):
        error(f"no name: {name!r}", s.ask("POST", SUBJECTS, {"subject": name}), 400, 26)
    check("renamed", s.ask("PUT", SUBJECTS + "/Zo%C3%AB%20%C3%9Cnal", {"subject": "Zoe"}).json == {"updated": True})
    check("the same name", s.ask("PUT", SUBJECTS + "/Zoe", {"subject": "Zoe"}).json == {"updated": False})
    error("nobody to rename", s.ask("PUT", SUBJECTS + "/Nobody", {"subject": "B"}), 404, 42)
    check("deleted", s.ask("DELETE", SUBJECTS + "/a%20b%2Bc%26d").json == {"subject": "a b+c&d"})
    check("deleted ..", s.ask("DELETE", SUBJECTS + "/%2E%2E").json == {"subject": ".."})
    error("deleted before", s.ask("DELETE", SUBJECTS + "/%2E%2E"), 404, 42)
    error("outside of everything", s.ask("DELETE", SUBJECTS + "/..%2F..%2Fserver.key"), 404, 42)
    check("who is there", s.ask("GET", SUBJECTS + "/").json == {"subjects": ["Ann", "Zoe"]})
    check("all are deleted", s.ask("DELETE", SUBJECTS).json == {"deleted": 2})
    check("nobody is there", s.ask("GET", SUBJECTS).json == {"subjects": []})


def examples(s):
    def add(subject, more="", data=None):
        made = s.send_form(f"{FACES}?subject={subject}{more}", file(data=data))
        check(f"an example of {subject}", made.status == 201 and set(made.json) == {"image_id", "subject"}, made)
        return made.json.get("image_id", NO_ID)

    ids = [add("Ann"), add("Ann"), add("Bob", "&" + ONLY, photo(TWO))]
    strange = add("..%2F..%2Fx")
    text = s.ask("POST", FACES + "?subject=Bob&" + ONLY, {"file": base64.b64encode(photo(TWO)).decode()})
    check("an example as base64", text.status == 201 and text.json["subject"] == "Bob", text)
    everything = s.ask("GET", FACES).json
    check("the list", [f["subject"] for f in everything["faces"]] == ["../../x", "Ann", "Ann", "Bob", "Bob"]
          and {f["image_id"] for f in everything["faces"]} == {*ids, strange, text.json["image_id"]}
          and everything["total_elements"] == 5 and everything["page_size"] == 20, everything)
    pages = [s.ask("GET", f"{FACES}?size=2&page={p}").json for p in range(4)]
    check("pages", [f for p in pages for f in p["faces"]] == everything["faces"] and pages[0]["total_pages"] == 3
          and [len(p["faces"]) for p in pages] == [2, 2, 1, 0], pages)
    bob = s.ask("GET", FACES + "?subject=Bob&page=-1&size=99999999999").json
    check("of one subject, and a size that is none", bob["total_elements"] == 2 and bob["page_size"] == 20, bob)
    check("the size is bounded", s.ask("GET", FACES + "?size=100000").json["page_size"] == 2000)

    found = s.send_form(RECOGNIZE + "?prediction_count=9&face_plugins=calculator&status=true", file(data=photo(TWO)))
    faces = found.json["result"]
    best = [f["subjects"][0] for f in faces]
    check("recognized", any(b["subject"] == "Bob" and b["similarity"] > 0.99 for b in best)
          and any(b["similarity"] < 0.5 for b in best), best)
    check("people, the best first", all([x["similarity"] for x in f["subjects"]] == sorted(
        (x["similarity"] for x in f["subjects"]), reverse=True) and len(f["subjects"]) == 3 for f in faces), faces)
    check("times and names", "calculator" in faces[0]["execution_time"]
          and set(found.json["plugins_versions"]) == {"detector", "calculator"}, found)
    check("the best alone", [len(f["subjects"]) for f in s.send_form(RECOGNIZE, file()).json["result"]] == [1])
    crop = s.send_form(RECOGNIZE + "?detect_faces=false", file(data=png(112, 112)))
    check("a crop", crop.json["result"][0]["box"] == {"probability": 1, "x_max": 112, "y_max": 112, "x_min": 0, "y_min": 0},
          crop)

    same = s.send_form(f"{FACES}/{ids[0].upper()}/verify", file()).json["result"]
    check("1:1", len(same) == 1 and same[0]["subject"] == "Ann" and same[0]["similarity"] > 0.99, same)
    other = s.send_form(f"{FACES}/{ids[2]}/verify", file()).json["result"]
    check("1:1 with another", other[0]["subject"] == "Bob" and other[0]["similarity"] < 0.5, other)
    error("1:1 with none", s.send_form(f"{FACES}/{NO_ID}/verify", file()), 404, 44)
    check("no picture is kept", [(a.status, a.body) for a in (s.ask("GET", f"{FACES}/{ids[0]}/img"), s.ask(
        "GET", f"{API}/static/any-key/images/{ids[0]}"))] == [(200, b"")] * 2)
    embeddings(s, ids[0], [f["embedding"] for f in faces])

    check("joined", s.ask("PUT", SUBJECTS + "/..%2F..%2Fx", {"subject": "Bob"}).json == {"updated": True}
          and s.ask("GET", FACES + "?subject=Bob").json["total_elements"] == 3)
    check("an example is deleted", s.ask("DELETE", f"{FACES}/{ids[0]}").json == {"image_id": ids[0], "subject": "Ann"})
    error("deleted before", s.ask("DELETE", f"{FACES}/{ids[0]}"), 404, 44)
    left = s.ask("POST", FACES + "/delete", json.dumps([ids[1], ids[0], NO_ID]).encode(), "application/json")
    check("several are deleted", left.json == [{"image_id": ids[1], "subject": "Ann"}], left)
    check("a subject without examples stays", s.ask("GET", SUBJECTS).json["subjects"] == ["Ann", "Bob"])
    check("all of a subject", s.ask("DELETE", FACES + "?subject=Bob").json == {"deleted": 3})
    check("of nobody", s.ask("DELETE", FACES + "?subject=Bob").json == {"deleted": 0})
    check("all of all", s.ask("DELETE", FACES).json == {"deleted": 0}
          and s.ask("GET", SUBJECTS).json["subjects"] == [])


def embeddings(s, image_id, vectors):
    ask = API + "/recognition/embeddings/"
    known = s.ask("POST", ask + "recognize?prediction_count=2", {"embeddings": vectors}).json["result"]
    check("whose embeddings", len(known) == 2 and known[0]["embedding"] == vectors[0]
          and len(known[0]["similarities"]) == 2, [k["similarities"] for k in known])
    same = s.ask("POST", f"{ask}faces/{image_id}/verify", {"embeddings": vectors}).json["result"]
    check("with an example, the best first", len(same) == 2 and same[0]["similarity"] >= same[1]["similarity"])
    pair = s.ask("POST", API + "/verification/embeddings/verify", {"source": vectors[0], "targets": vectors}).json["result"]
    check("with each other", pair[0]["similarity"] > 0.99 and pair[0]["embedding"] == vectors[0])
    for label, list_, code in (("none", [], 37), ("too many", [[1]] * 1025, 37), ("no list", {}, 37),
                               ("of another length", [[1.0, 2.0]], 36), ("of text", [["a"] * len(vectors[0])], 36),
                               ("zeros", [[0] * len(vectors[0])], 36)):
        error(f"embeddings: {label}", s.ask("POST", ask + "recognize", {"embeddings": list_}), 400, code)


# ---- what is wrong ----

def hostile(s):
    text = base64.b64encode(photo(ONE)).decode()
    for label, body, code in (("no base64", {"file": "@@@"}, 21), ("half of base64", {"file": text[:-3]}, 21),
                              ("base64 of no picture", {"file": "aGVsbG8="}, 21), ("a number", {"file": 7}, 21),
                              ("no file", {}, 5), ("null", {"file": None}, 21)):
        error(f"JSON with {label}", s.ask("POST", DETECT, body), 400, code)
    for label, answer, code in (
            ("no JSON", s.ask("POST", DETECT, b"{", "application/json"), 36),
            ("a list", s.ask("POST", DETECT, b"[]", "application/json"), 36),
            ("no part", s.send_form(DETECT, ("other", b"x", "a.jpg")), 34),
            ("an empty file", s.send_form(DETECT, file(data=b"")), 21),
            ("a text file", s.send_form(DETECT, file(data=b"hello")), 21),
            ("half a picture", s.send_form(DETECT, file(data=photo(ONE)[:100])), 21),
            ("a picture as the body", s.ask("POST", DETECT, photo(ONE), "image/jpeg"), 21)):
        error(label, answer, 400, code)
    for query in ("limit=-1", "limit=x", "limit=1e99", "limit=nan", "det_prob_threshold=2", "prediction_count=0",
                  "prediction_count=99999999999", "status=maybe", "detect_faces=2"):
        error(query, s.send_form(f"{RECOGNIZE}?{query}", file()), 400, 26)
    check("more predictions than people", s.send_form(RECOGNIZE + "?prediction_count=2147483647", file()).status == 200)
    check("plugins nobody knows", s.send_form(DETECT + "?face_plugins=,,x,%20,calculatorx", file()).json["result"][0].keys()
          == {"box"})
    error("no subject", s.send_form(FACES, file()), 400, 33)
    error("a subject of 1 MiB", s.ask("POST", SUBJECTS, {"subject": "x" * (1 << 20)}), 400, 26)
    error("half of a pair", s.ask("POST", SUBJECTS, b'{"subject": "\\ud800"}', "application/json"), 400, 36)
    error("a NUL", s.ask("POST", SUBJECTS, b'{"subject": "a\\u0000b"}', "application/json"), 400, 36)
    error("an empty subject", s.send_form(FACES + "?subject=", file()), 400, 26)
    check("a target that is not UTF-8", s.send_form(FACES + "?subject=%FF%FE", file()).status == 400)
    error("a subject that is not UTF-8", s.send_form(FACES, ("subject", b"\xff\xfe"), file()), 400, 36)
    error("JSON that is not UTF-8", s.ask("POST", SUBJECTS, b'{"subject": "\xff"}', "application/json"), 400, 36)
    error("a long subject", s.send_form(FACES + "?subject=" + "x" * 257, file()), 400, 26)
    error("an empty subject to delete", s.ask("DELETE", FACES + "?subject="), 400, 26)
    for wrong in ("x", "..%2F..%2Fx", NO_ID[:-1], NO_ID + "0", NO_ID.replace("-", "_"), NO_ID[:-1] + "g"):
        error(f"no image_id: {wrong}", s.ask("DELETE", f"{FACES}/{wrong}"), 400, 36)
    ours = "756e6966-6163-8000-8fff-ffffffffffff"
    error("an image_id beyond all", s.ask("DELETE", f"{FACES}/{ours}"), 404, 44)
    for label, body in (("an object", b"{}"), ("text", b'["x"]'), ("numbers", b"[1]"), ("no list", b"7")):
        error(f"ids: {label}", s.ask("POST", FACES + "/delete", body, "application/json"), 400, 36)
    error("too many ids", s.ask("POST", FACES + "/delete", json.dumps([NO_ID] * 1001).encode(), "application/json"), 413, 0)
    check("another method", s.ask("PATCH", SUBJECTS).status == 405)


def keys():
    s = Server(*FLAGS, data="keys", auth=True)
    admin, s.key = s.key, None

    def made(grants):
        return s.ask("POST", "/v1/keys", {"name": "k", "roles": grants}, key=admin).json["key"]

    camera = {"x-api-key": made("cam:read,identify,enrol")}
    reader = {"x-api-key": made("cam:read")}
    error("no key", s.ask("GET", SUBJECTS), 400, 20)
    error("a wrong key", s.ask("GET", SUBJECTS, headers={"x-api-key": NO_ID}), 404, 10)
    check("the wrong key is not repeated", NO_ID not in s.ask("GET", SUBJECTS, headers={"x-api-key": NO_ID}).body.decode())
    error("no right", s.ask("POST", SUBJECTS, {"subject": "Ann"}, headers=reader), 403, 1)
    check("added", s.send_form(FACES + "?subject=Ann", file(), headers=camera).status == 201)
    check("in the key's collection", s.ask("GET", "/v1/people?collection=cam", key=admin).json["people"][0]["id"] == "Ann")
    check("read by another key of it", s.ask("GET", SUBJECTS, headers=reader).json == {"subjects": ["Ann"]})
    check("default of a key of all", s.ask("GET", SUBJECTS, headers={"x-api-key": admin}).json == {"subjects": []})
    check("by name", s.ask("GET", SUBJECTS + "?collection=cam", headers={"x-api-key": admin}).json == {"subjects": ["Ann"]})
    error("another's collection", s.ask("GET", SUBJECTS + "?collection=default", headers=reader), 403, 1)
    known = s.send_form(RECOGNIZE, file(), headers=camera).json["result"][0]["subjects"]
    check("without scores there are steps", known == [{"subject": "Ann", "similarity": 0.99}], known)
    strange = s.send_form(RECOGNIZE + "?prediction_count=5", file(data=photo(TWO)), headers=camera).json["result"]
    check("and strangers are nobody", [f["subjects"] for f in strange] == [[], []], strange)
    error("all of a collection", s.ask("DELETE", SUBJECTS, headers=camera), 403, 1)
    error("all examples", s.ask("DELETE", FACES, headers=camera), 403, 1)
    check("by an administrator", s.ask("DELETE", SUBJECTS + "?collection=cam", headers={"x-api-key": admin}).json
          == {"deleted": 1})
    s.stop()


def description(s):
    paths = s.ask("GET", "/openapi.json").json["paths"]
    ours = {p: set(v) for p, v in paths.items() if p.startswith(API)}
    check("described", len(ours) == 14 and ours[SUBJECTS] == {"get", "post", "delete"}
          and "application/json" in paths[FACES + "/delete"]["post"]["requestBody"]["content"], ours)


# ---- its own client ----

def sdk(s):
    python, why = python_with(sys.argv[2], "compreface-sdk==0.6.0", "urllib3<2")
    if not python:
        return skip(f"CompreFace's SDK: {why}")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compreface_sdk.py")
    done = subprocess.run([python, script, str(s.port), NO_ID, *(os.path.join(PHOTOS, p) for p in (ONE, TWO))],
                          capture_output=True, text=True, timeout=60)
    check("the SDK's calls", done.returncode == 0, done.stderr[-500:])
    if done.returncode:
        return
    got = json.loads(done.stdout)
    first, second = got["add example"]["image_id"], got["add bytes"]["image_id"]
    wanted = {"add subject": {"subject": "Empty"}, "rename subject": {"updated": True},
              "list subjects": {"subjects": ["Ann", "Bob", "Still empty"]}, "delete of subject": {"deleted": 1},
              "delete example": {"image_id": second, "subject": "Ann"}, "delete subject": {"subject": "Still empty"},
              "delete all": {"deleted": 1}, "nobody is left": {"subjects": []}}
    for name, answer in wanted.items():
        check(f"SDK: {name}", got[name] == answer, got[name])
    codes = {"add again": 43, "rename nobody": 42, "add two": 31, "delete again": 44, "delete nobody": 42}
    for name, code in codes.items():
        check(f"SDK: {name}", got[name].get("code") == code, got[name])
    check("SDK: examples", [(f["image_id"], f["subject"]) for f in got["list examples"]["faces"]] == [
        (first, "Ann"), (second, "Ann"), (got["add one of two"]["image_id"], "Bob")], got["list examples"])
    faces = got["recognize"]["result"]
    check("SDK: recognize", len(faces) == 2 and any(f["subjects"][0]["subject"] == "Bob" for f in faces)
          and all(len(f["subjects"]) == 2 and len(f["landmarks"]) == 5 and f["embedding"] for f in faces), faces)
    check("SDK: recognize one", got["recognize all default"]["result"][0]["subjects"][0]["subject"] == "Ann")
    check("SDK: verify an example", got["verify example"]["result"][0]["similarity"] > 0.99, got["verify example"])
    check("SDK: detect", len(got["detect"]["result"]) == 1 and "landmarks" in got["detect"]["result"][0], got["detect"])
    check("SDK: verify", len(got["verify"]["result"][0]["face_matches"]) == 2, got["verify"])


def without_models():
    s = Server("--detector", "none", "--embedder", "none", data="bare")
    error("no detector", s.send_form(DETECT, file(data=png(64, 64))), 503, 0)
    subjects(s)
    s.stop()


models = make_models() if has_models() else {}
FLAGS = ["--detector", models["detector"], "--embedder", models["embedder"]] if models else []
without_models()
if models:
    server = Server(*FLAGS)
    detection(server)
    verification(server)
    examples(server)
    hostile(server)
    description(server)
    sdk(server)
    check("ends well", server.stop()[0] == 0)
    keys()
else:
    skip("CompreFace's API with faces: no networks in ../shared/models")
finish()
