#!/usr/bin/env python3
"""The Open Inference Protocol (KServe v2): results as those of `uniface run`, what is wrong with requests, and Triton's
client.

usage: kserve_test.py UNIFACE FOLDER (where environments with clients are kept)
"""
import ast
import concurrent.futures
import json
import os
import struct
import subprocess
import sys

from clients import python_with
from serving import MODELS, Server, call, check, environment, finish, has_models, make_models, path, png, program, skip

DYNAMIC = os.path.join(MODELS, "yunet_n_dynamic.onnx")
EMBED, DETECT = "/v2/models/embedder", "/v2/models/faces"


def values(count, seed=1):
    """Numbers as of a picture, the same each time."""
    return [float((i * 2654435761 + seed * 40503) % 251) for i in range(count)]


def write_npy(name, shape, data):
    head = repr({"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}).encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    with open(path(name), "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack(f"<{len(data)}f", *data))
    return path(name)


def read_npy(name):
    with open(name, "rb") as f:
        raw = f.read()
    end = 10 + struct.unpack_from("<H", raw, 8)[0]
    shape = ast.literal_eval(raw[10:end].decode())["shape"]
    return list(shape), list(struct.unpack_from(f"<{(len(raw) - end) // 4}f", raw, end))


def run(model, shape, data, prefix):
    """What `uniface run` gives: [(shape, numbers)] of all outputs."""
    done = call("run", model, write_npy(prefix + "in.npy", shape, data), "-t", "1", "-o", path(prefix), "--json")
    check("uniface run", done.returncode == 0, done.errors)
    return [read_npy(o["file"]) for o in json.loads(done.text)]


def tensor(name, shape, data, **more):
    return {"name": name, "shape": shape, "datatype": "FP32", "data": data, **more}


def infer(s, target, request, raw=b"", header=None, **more):
    text = json.dumps(request).encode() if isinstance(request, (dict, list)) else request
    headers = {"Inference-Header-Content-Length": str(len(text)) if header is None else header} if raw or header else {}
    return s.ask("POST", target + "/infer", text + raw, None, headers=headers, **more)


def floats(raw):
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def outputs_of(answer):
    """All outputs that came as JSON, [(shape, numbers)]: the text of a float names one float."""
    return [(o["shape"], floats(struct.pack(f"<{len(o['data'])}f", *o["data"]))) for o in answer.json["outputs"]]


def error(label, answer, status):
    check(label, answer.status == status and list(answer.json) == ["error"] and answer.json["error"], answer)


# ---- models ----

def metadata(s):
    check("the server", s.ask("GET", "/v2").json["extensions"] == ["binary_tensor_data"] and s.ask("GET", "/v2/").status == 200)
    check("live and ready", [s.ask("GET", f"/v2/health/{x}").json for x in ("live", "ready")] == [{"live": True}, {"ready": True}])
    about = s.ask("GET", EMBED)
    check("a model", about.json["name"] == "embedder" and about.json["versions"] == ["1"]
          and about.json["inputs"] == [{"name": "data", "datatype": "FP32", "shape": [1, 3, 112, 112]}]
          and about.json["outputs"] == [{"name": "fc1", "datatype": "FP32", "shape": [1, 128]}], about)
    check("of a version", s.ask("GET", EMBED + "/versions/1").json == about.json)
    check("a model of open shape", s.ask("GET", DETECT).json["inputs"][0]["shape"] == [-1, 3, -1, -1])
    check("by its task", s.ask("GET", "/v2/models/detector").json["inputs"] == s.ask("GET", DETECT).json["inputs"])
    check("ready", s.ask("GET", EMBED + "/ready").json == {"name": "embedder", "ready": True}
          and s.ask("GET", EMBED + "/versions/1/ready").status == 200)
    for target in ("/v2/models/other", "/v2/models/other/ready", EMBED + "/versions/2", EMBED + "/versions/2/ready",
                   "/v2/models/..%2Fembedder"):
        error(f"none: {target}", s.ask("GET", target), 404)
    error("none to run", infer(s, "/v2/models/other", {}), 404)


def embedding(s):
    shape, data = [1, 3, 112, 112], values(3 * 112 * 112)
    (want_shape, want), = run(models["embedder"], shape, data, "e")
    flat = infer(s, EMBED, {"id": "r1", "inputs": [tensor("data", shape, data)]})
    about = {k: v for k, v in flat.json["outputs"][0].items() if k != "data"}
    check("JSON", flat.status == 200 and about == {"name": "fc1", "datatype": "FP32", "shape": want_shape}
          and {k: v for k, v in flat.json.items() if k != "outputs"}
          == {"model_name": "embedder", "model_version": "1", "id": "r1"} and outputs_of(flat) == [(want_shape, want)], flat)
    rows = [[[data[(c * 112 + y) * 112:(c * 112 + y) * 112 + 112] for y in range(112)] for c in range(3)]]
    check("JSON in lists", infer(s, EMBED, {"inputs": [tensor("data", shape, rows)]}).json["outputs"] == flat.json["outputs"])
    raw = struct.pack(f"<{len(data)}f", *data)
    given = {"name": "data", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    mixed = infer(s, EMBED, {"inputs": [given]}, raw)
    check("bytes in, JSON out", mixed.json["outputs"] == flat.json["outputs"], mixed)
    for label, request in (("all outputs", {"parameters": {"binary_data_output": True}}),
                           ("a named output", {"outputs": [{"name": "fc1", "parameters": {"binary_data": True}}]})):
        answer = infer(s, EMBED + "/versions/1", {"inputs": [given], **request}, raw)
        size = int(answer.headers["inference-header-content-length"])
        about = json.loads(answer.body[:size])["outputs"]
        check(f"bytes out: {label}", about == [{"name": "fc1", "datatype": "FP32", "shape": want_shape,
              "parameters": {"binary_data_size": 512}}] and floats(answer.body[size:]) == want
              and answer.headers["content-type"] == "application/octet-stream", about)
    return data


def detection(s):
    one, two = values(3 * 64 * 96, 2), values(3 * 64 * 96, 3)
    want = run(DYNAMIC, [2, 3, 64, 96], one + two, "d")
    answer = infer(s, DETECT, {"inputs": [tensor("input", [2, 3, 64, 96], one + two)]})
    both = answer.json["outputs"]
    check("a batch", outputs_of(answer) == want, both[0])
    names = ["kps_32", "cls_8"]
    some = infer(s, DETECT, {"inputs": [tensor("input", [2, 3, 64, 96], one + two)],
                             "outputs": [{"name": n, "parameters": {"binary_data": n == "cls_8"}} for n in names]})
    size = int(some.headers["inference-header-content-length"])
    about = json.loads(some.body[:size])["outputs"]
    by_name = {o["name"]: o for o in both}
    check("named outputs in their order", [o["name"] for o in about] == names
          and about[0]["data"] == by_name["kps_32"]["data"]
          and some.body[size:] == struct.pack("<192f", *by_name["cls_8"]["data"]), about)
    single = infer(s, DETECT, {"inputs": [tensor("input", [1, 3, 64, 96], two)]}).json["outputs"]
    check("the second alone", all(abs(x - y) < 1e-4 for a, b in zip(single, both)
                                  for x, y in zip(a["data"], b["data"][len(b["data"]) // 2:])))
    error("a shape that the network does not take", infer(s, DETECT, {"inputs": [tensor("input", [1, 3, 1, 1], [0] * 3)]}), 400)
    error("a batch beyond the limit", infer(s, DETECT, {"inputs": [tensor("input", [17, 3, 1, 1], [0] * 51)]}), 413)


# ---- what is wrong ----

def hostile(s):
    good = tensor("data", [1, 3, 112, 112], [0])
    raw = {"name": "data", "shape": [1, 3, 112, 112], "datatype": "FP32"}

    def sized(n):
        return {"inputs": [{**raw, "parameters": {"binary_data_size": n}}]}

    size = 3 * 112 * 112 * 4
    rows = {
        "no JSON": b"{", "nothing": b"", "a list": b"[]", "deep": b"[" * 99, "no UTF-8": b'{"id":"\xff"}',
        "a name twice": b'{"id":"a","id":"b"}',
        "no inputs": {}, "inputs that are none": {"inputs": 7}, "an empty list": {"inputs": []}, "null": {"inputs": [None]},
        "too many inputs": {"inputs": [good] * 17}, "an id that is a number": {"id": 7, "inputs": [good]},
        "no name": {"inputs": [{**good, "name": ""}]}, "a name that is a number": {"inputs": [{**good, "name": 1}]},
        "another name": {"inputs": [tensor("x", [1], [1])]}, "the same twice": {"inputs": [tensor("data", [1], [1])] * 2},
        "one too many": {"inputs": [tensor("data", [1], [1]), tensor("x", [1], [1])]},
        "no type": {"inputs": [{**good, "datatype": None}]}, "an unknown type": {"inputs": [{**good, "datatype": "BYTES"}]},
        "another type": {"inputs": [{"name": "data", "shape": [1], "datatype": "UINT8", "data": [255]}]},
        "UINT8 of 256": {"inputs": [{"name": "data", "shape": [1], "datatype": "UINT8", "data": [256]}]},
        "INT8 of 1.5": {"inputs": [{"name": "data", "shape": [1], "datatype": "INT8", "data": [1.5]}]},
        "half floats as text": {"inputs": [{"name": "data", "shape": [1], "datatype": "FP16", "data": [1]}]},
        "no shape": {"inputs": [{**good, "shape": None}]}, "no dimensions": {"inputs": [tensor("data", [], [1])]},
        "nine dimensions": {"inputs": [tensor("data", [1] * 9, [1])]}, "a dimension of 0": {"inputs": [tensor("data", [0], [])]},
        "a dimension of -1": {"inputs": [tensor("data", [-1], [1])]}, "a broken one": {"inputs": [tensor("data", [1.5], [1])]},
        "2^31 elements": {"inputs": [tensor("data", [65536, 32768], [1])]},
        "2^64 elements": {"inputs": [tensor("data", [2147483647] * 8, [1])]},
        "beyond all numbers": b'{"inputs":[{"name":"data","datatype":"FP32","shape":[99999999999999999999],"data":[1]}]}',
        "more data than shape": {"inputs": [tensor("data", [1], [1, 2])]}, "less": {"inputs": [tensor("data", [3], [[1], [2]])]},
        "text": {"inputs": [tensor("data", [1], ["1"])]}, "null as a number": {"inputs": [tensor("data", [1], [None])]},
        "beyond floats": {"inputs": [tensor("data", [1], [1e39])]}, "NaN": b'{"inputs":[{"data":[NaN]}]}',
        "no data": {"inputs": [raw]}, "data twice": {"inputs": [{**good, "parameters": {"binary_data_size": size}}]},
        "another shape": {"inputs": [tensor("data", [1, 3, 1, 1], [0] * 3)]},
        "another rank": {"inputs": [tensor("data", [3], [0] * 3)]},
        "shared memory": {"inputs": [{**raw, "parameters": {"shared_memory_region": "r"}}]},
        "bytes that do not come": sized(size), "a negative size": sized(-4), "another size": sized(size - 4),
        "a size of 2^63": sized(2**63 - 1), "a size as text": sized("4"),
    }
    for label, request in rows.items():
        error(label, infer(s, EMBED, request), 400)
    whole = tensor("data", [1, 3, 112, 112], [0] * (size // 4))
    for label, more in {"an unknown output": {"outputs": [{"name": "x"}]}, "an output without a name": {"outputs": [{}]},
                        "outputs that are none": {"outputs": 7}, "too many outputs": {"outputs": [{"name": "fc1"}] * 17},
                        "classes": {"outputs": [{"name": "fc1", "parameters": {"classification": 3}}]},
                        "a flag that is none": {"outputs": [{"name": "fc1", "parameters": {"binary_data": 1}}]},
                        "another flag": {"parameters": {"binary_data_output": "yes"}}}.items():
        error(label, infer(s, EMBED, {"inputs": [whole], **more}), 400)
    error("bytes that belong to nobody", infer(s, EMBED, {"inputs": [whole]}, b"1234"), 400)
    for header in ("-1", "x", "99999999", "99999999999999999999", "1e1", "0"):
        error(f"a header of {header}", infer(s, EMBED, sized(size), bytes(size), header), 400)
    error("compressed", s.ask("POST", EMBED + "/infer", b"{}", headers={"Content-Encoding": "gzip"}), 415)
    check("another method", s.ask("GET", EMBED + "/infer").status == 405)
    check("it still works", infer(s, EMBED, sized(size), bytes(size)).status == 200)


def keys():
    s = Server(*FLAGS, data="keys", auth=True)
    admin, s.key = s.key, None
    reader = s.ask("POST", "/v1/keys", {"name": "r", "roles": "read"}, key=admin).json["key"]
    check("public", s.ask("GET", "/v2").status == 200 and s.ask("GET", "/v2/health/ready").status == 200)
    error("no key", s.ask("GET", EMBED), 401)
    check("read", s.ask("GET", EMBED, key=reader).status == 200)
    error("may not run", infer(s, EMBED, {}, key=reader), 403)
    s.stop()


def together(s, data):
    """Bare runs of both networks beside pictures, by many clients at once."""
    raw = struct.pack(f"<{len(data)}f", *data)
    faces = [values(3 * 64 * 96, i) for i in range(4)]
    crop = {"name": "data", "shape": [1, 3, 112, 112], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}

    def embed(i):
        return infer(s, EMBED, {"inputs": [crop]}, raw).body

    def detect(i):
        return infer(s, DETECT, {"inputs": [tensor("input", [1, 3, 64, 96], faces[i % 4])]}).body

    def picture(i):
        return s.send_form("/embed_face/", ("file", png(112, 112), "a.png")).body

    works = [embed, detect, picture]
    alone = {(w, i): w(i) for w in works for i in range(4)}
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda k: works[k % 3](k // 3), range(72)))
    for k, g in enumerate(got):
        want = alone[works[k % 3], k // 3 % 4]
        if k % 3 < 2:
            check("a bare run among many", g == want, k)
        else:  # in batches, whose last bits may be others
            check("a picture among bare runs", all(abs(x - y) < 1e-4 for x, y in zip(
                json.loads(g)["embedding"], json.loads(want)["embedding"])), k)


def memory():
    """Numbers as JSON take many times their text: that counts before it is read."""
    s = Server(*FLAGS, "--max-body-memory", 16 << 20)
    many = b'{"inputs":[{"name":"data","shape":[1],"datatype":"FP32","data":[' + b"1," * 500000 + b"1]}]}"
    error("too many numbers", infer(s, EMBED, many), 503)
    answer = s.ask("POST", "/v1/compare", b'{"a":[' + b"1," * 500000 + b"1]}", "application/json")
    check("too many for others too", answer.status == 503, answer)
    fewer = infer(s, EMBED, many.replace(b"1," * 400000, b""))
    check("and fewer are read", fewer.status == 400 and "shape" in fewer.json["error"], fewer)
    s.stop()


def description(s):
    paths = s.ask("GET", "/openapi.json").json["paths"]
    ours = [p for p in paths if p.startswith("/v2")]
    body = paths["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]
    check("described", len(ours) == 9 and set(body) == {"application/json", "application/octet-stream"}, ours)


def swapped(s):
    """A model that is put in the place of another is run from then on."""
    def outputs(model):
        return [o["name"] for o in s.ask("GET", model).json["outputs"]]

    before = outputs("/v2/models/embedder")
    made = s.ask("PUT", "/v1/models/embedder", {"name": "embedder2"})
    about = s.ask("GET", "/v2/models/embedder2").json
    check("another model", made.status == 200 and before == ["fc1"] and about["inputs"], made)
    shape = [abs(d) for d in about["inputs"][0]["shape"]]
    count = shape[0] * shape[1] * shape[2] * shape[3]
    got = infer(s, "/v2/models/embedder2", {"inputs": [tensor(about["inputs"][0]["name"], shape, values(count))]})
    want = run(models["embedder2"], shape, values(count), "s")
    check("is run", outputs_of(got) == want, got)
    check("unloaded", s.ask("DELETE", "/v1/models/embedder").status == 204)
    error("and gone", infer(s, "/v2/models/embedder", {}), 404)


# ---- another's client ----

def client(s, data):
    python, why = python_with(sys.argv[2], "tritonclient[http]==2.73.0")
    if not python:
        return skip(f"Triton's client: {why}")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kserve_client.py")
    source = write_npy("client.npy", [1, 3, 112, 112], data)
    done = subprocess.run([python, script, str(s.port), "embedder", source], capture_output=True, text=True, timeout=120)
    check("the client's calls", done.returncode == 0, done.stderr[-500:])
    if done.returncode:
        return
    got = json.loads(done.stdout)
    (shape, want), = run(models["embedder"], [1, 3, 112, 112], data, "c")
    check("client: states", [got[k] for k in ("live", "ready", "model ready", "version ready", "other ready")]
          == [True, True, True, True, False], got)
    check("client: metadata", got["server"]["name"] == "uniface" and got["model"]["inputs"][0]["name"] == "data", got["model"])
    for way in ("bytes", "bytes, all", "JSON", "mixed"):
        check(f"client: {way}", got[way] == {"shape": shape, "data": want, "id": "r7", "outputs": 1}, got[way])
    check("client: errors", "compressed" in got["gzip"] and "no model" in got["other"], got["gzip"], got["other"])


models = make_models() if has_models() and os.path.exists(DYNAMIC) else {}
bare = Server("--detector", "none", "--embedder", "none", data="bare")
check("without a model it is not ready", bare.ask("GET", "/v2/health/ready").status == 503)
error("and has none", bare.ask("GET", EMBED), 404)
bare.stop()
if models:
    subprocess.run([program, "import", DYNAMIC, "-o", path("models", "faces.ufm")], check=True, capture_output=True,
                   env=environment)
    FLAGS = ["--detector", path("models", "faces.ufm"), "--embedder", models["embedder"]]
    server = Server(*FLAGS, "--models", path("models"))
    metadata(server)
    picture = embedding(server)
    detection(server)
    hostile(server)
    together(server, picture)
    description(server)
    client(server, picture)
    if "embedder2" in models:
        swapped(server)
    check("ends well", server.stop()[0] == 0)
    keys()
    memory()
else:
    skip("the Open Inference Protocol with models: no networks in ../shared/models")
finish()
