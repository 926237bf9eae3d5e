#!/usr/bin/env python3
"""The server's bars, measured on this machine: speed beside FastAPI, batching, overload, start, soak, slow clients.

usage: server.py UNIFACE UNIFACE_LOAD MODELS PHOTOS OUT.md [--only PART,...] [--seconds S] [--minutes M] [--state FILE]

MODELS holds yunet_n_320.onnx and mobilefacenet_foamliu.onnx, PHOTOS JPEGs of about 100 kB. Generator, server and peer share
the machine. Parts can be measured one by one: results are kept in --state, and OUT.md is written from all that are there.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PARTS = ("peer", "batching", "heavy", "overload", "start", "slow", "crash", "soak")
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("uniface", "load", "models", "photos", "out"):
    p.add_argument(name)
p.add_argument("--only", default=",".join(PARTS[:-1]))
p.add_argument("--seconds", type=float, default=8, help="of each measurement")
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--minutes", type=float, default=10, help="of the soak")
p.add_argument("--int8", help="INT8 embedder in the peer's place (default: quantized from PHOTOS)")
p.add_argument("--state", default="bench-server.json")
a = p.parse_args()
for name in ("uniface", "load", "models", "photos"):
    setattr(a, name, os.path.abspath(getattr(a, name)))
here = os.path.dirname(os.path.abspath(__file__))
work = tempfile.mkdtemp()
environment = dict(os.environ, UNIFACE_MODELS=os.path.join(work, "store"))
state = {}
photos = [os.path.join(a.photos, f) for f in sorted(os.listdir(a.photos)) if f.endswith(".jpg")
          and 85_000 <= os.path.getsize(os.path.join(a.photos, f)) <= 130_000]


def uniface(*arguments):
    done = subprocess.run([a.uniface, *map(str, arguments)], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"uniface {arguments[0]}: {done.stderr[-400:]}")
    return done.stdout


def model(name):
    to = os.path.join(work, name + ".ufm")
    if not os.path.exists(to):
        uniface("import", os.path.join(a.models, name + ".onnx"), "-o", to)
    return to


def int8_embedder():
    to = a.int8 or os.path.join(work, "int8.ufm")
    if not os.path.exists(to):
        uniface("quantize", model("mobilefacenet_foamliu"), "--calibration", a.photos, "-d", model("yunet_n_320"), "-o", to)
    return to


class Process:
    """Something that serves on loopback, and what the system says of it."""

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(30)


class Server(Process):
    def __init__(self, *flags, embedder=None, data=None):
        data = data or tempfile.mkdtemp(dir=work)
        began = time.monotonic()
        self.process = subprocess.Popen(
            [a.uniface, "serve", "--data", data, "--auth", "off", "--listen", "127.0.0.1:0", "--log-level", "error", "--detector",
             model("yunet_n_320"), "--embedder", embedder or model("mobilefacenet_foamliu"), *map(str, flags)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True)
        found = None
        while not found:
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the server does not start")
            found = re.search(r"listening on \S+:(\d+)$", line.strip())
        self.port = int(found.group(1))
        self.get("/readyz")
        self.ready_ms = (time.monotonic() - began) * 1e3

    def get(self, target):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{target}", timeout=30) as r:
            return r.read()


class Peer(Process):
    """gunicorn with four uvicorn workers, as users start it; each worker's session has one thread."""

    def __init__(self):
        about = [json.loads(uniface("inspect", model(m), "--json"))["metadata"] for m in ("yunet_n_320", "mobilefacenet_foamliu")]
        constants = {"detector": os.path.join(a.models, "yunet_n_320.onnx"), "threads": 1,
                     "embedder": os.path.join(a.models, "mobilefacenet_foamliu.onnx"),
                     "score": float(about[0]["detector.score"]), "nms": float(about[0]["detector.nms"]),
                     "template": [float(v) * 112 for v in about[1]["align.template"].split()],
                     "mean": [float(v) for v in about[1]["input.mean"].split()],
                     "scale": [float(v) for v in about[1]["input.scale"].split()], "order": about[1]["input.order"]}
        with open(os.path.join(work, "peer.json"), "w", encoding="utf-8") as f:
            json.dump(constants, f)
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "server_peer:app", "--workers", "4", "-k", "uvicorn.workers.UvicornWorker",
             "--bind", f"127.0.0.1:{self.port}", "--log-level", "warning"], cwd=here,
            env=dict(os.environ, UNIFACE_PEER=os.path.join(work, "peer.json"), OMP_NUM_THREADS="1"))
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(1)  # the other workers


def start_load(server, *flags, seconds=None, target="/embed_face/"):
    flags = ["--duration", seconds or a.seconds, "--form", "file", *flags]
    for photo in photos:
        flags += ["--body", photo]
    return subprocess.Popen([a.load, *map(str, flags), f"http://127.0.0.1:{server.port}{target}"], stdout=subprocess.PIPE, text=True)


def load(server, *flags, **more):
    return json.loads(start_load(server, *flags, **more).communicate()[0])


def closed(server, connections, **more):
    return load(server, "--rate", 0, "--connections", connections, **more)


def median(values):
    return statistics.median(values)


def embedding(server, photo):
    with open(photo, "rb") as f:
        body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + f.read() + b"\r\n--b--\r\n"
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/embed_face/", body,
                                     {"Content-Type": "multipart/form-data; boundary=b"})
    with urllib.request.urlopen(request, timeout=30) as r:
        return json.loads(r.read())["embedding"]


def library_rate(embedder):
    """Pictures a second in one process (bench/library_rate.c), from bytes to templates."""
    done = subprocess.run([os.path.join(os.path.dirname(os.path.realpath(a.uniface)), "../../bench/library_rate"), model("yunet_n_320"),
                           embedder, str(a.seconds), *photos], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure_peer():
    engines = {"fp32": model("mobilefacenet_foamliu"), "int8": int8_embedder()}
    rates = {k: [] for k in ("peer", "fp32", "int8", "library fp32", "library int8")}
    p99 = {k: [] for k in ("peer", "fp32", "int8")}
    agreement = []
    for turn in range(a.rounds):
        for name in ("peer", "fp32", "int8"):
            s = Peer() if name == "peer" else Server(embedder=engines[name])
            closed(s, 32, seconds=1)
            if name != "int8" and not turn:
                agreement.append([embedding(s, photo) for photo in photos])
            r = closed(s, 32)
            rates[name].append(r["goodput"])
            p99[name].append(r["latency_ms"]["p99"])
            s.stop()
            if name != "peer":
                rates["library " + name].append(library_rate(engines[name]))
    cosines = [sum(x * y for x, y in zip(u, v)) for u, v in zip(*agreement)]
    return {"rates": {k: median(v) for k, v in rates.items()}, "p99_ms": {k: median(v) for k, v in p99.items()},
            "ratio": {k: median([x / y for x, y in zip(rates[k], rates["peer"])]) for k in ("fp32", "int8")},
            "of_library": {k: median([x / y for x, y in zip(rates[k], rates["library " + k])]) for k in ("fp32", "int8")},
            "pictures": len(cosines), "same": sum(c >= 0.98 for c in cosines), "cosine_median": median(cosines)}


def measure_batching():
    got = {k: [] for k in ("batch 1", "batches", "alone")}
    p99 = {k: [] for k in ("batches", "alone")}
    for _ in range(a.rounds):
        s = Server("--batch", 1)
        got["batch 1"].append(closed(s, 32)["goodput"])
        s.stop()
        s = Server()
        for name, connections in (("batches", 32), ("alone", 1)):
            r = closed(s, connections)
            got[name].append(r["goodput"])
            p99[name].append(r["latency_ms"]["p99" if name == "batches" else "p50"])
        s.stop()
    return {"rates": {k: median(v) for k, v in got.items()}, "p99_ms": median(p99["batches"]), "alone_ms": median(p99["alone"]),
            "gain": median([x / y for x, y in zip(got["batches"], got["batch 1"])])}


def heavy_embedder():
    to = os.path.join(work, "iresnet50.onnx")
    if not os.path.exists(to):
        subprocess.run([sys.executable, os.path.join(here, "make_iresnet.py"), to, "--depth", "50"], check=True)
        uniface("import", to, "-o", to[:-4] + "ufm")
    return to[:-4] + "ufm"


def measure_heavy():
    """A network that gains by company, in batches and without them."""
    rates, p99 = {"batch 1": [], "batches": []}, {"batch 1": [], "batches": []}
    for _ in range(a.rounds):
        for name, flags in (("batch 1", ("--batch", 1)), ("batches", ())):
            s = Server(*flags, embedder=heavy_embedder())
            closed(s, 8, seconds=1)
            r = closed(s, 32)
            rates[name].append(r["goodput"])
            p99[name].append(r["latency_ms"]["p99"])
            s.stop()
    return {"rates": {k: median(v) for k, v in rates.items()}, "p99_ms": {k: median(v) for k, v in p99.items()},
            "gain": median([x / y for x, y in zip(rates["batches"], rates["batch 1"])])}


def measure_overload():
    """Peak and overload take turns. What the generator takes of the machine the server has not: a second ratio is of the rest."""
    s, got, cores = Server(), [], os.cpu_count()
    closed(s, 32, seconds=1)
    for _ in range(a.rounds):
        peak = closed(s, 64)
        before = s.resident_mb()
        r = load(s, "--rate", 10 * peak["goodput"], "--connections", 512)
        rejected = r["rejection_ms"] or {}
        left = [cores - x["generator_processor_share"] for x in (peak, r)]
        got.append({"peak": peak["goodput"], "peak_p99_ms": peak["latency_ms"]["p99"], "goodput": r["goodput"],
                    "share": r["goodput"] / peak["goodput"], "share_of_rest": r["goodput"] / left[1] / (peak["goodput"] / left[0]),
                    "generator": r["generator_processor_share"], "accepted_p99_ms": r["service_ms"]["p99"], "rejected": r["rejected"],
                    "rejection_p50_ms": rejected.get("p50", 0), "rejection_p99_ms": rejected.get("p99", 0),
                    "memory_before_mb": before, "memory_after_mb": s.resident_mb(), "errors": sum(r["errors"].values())})
    time.sleep(4)
    quiet = s.resident_mb()
    s.stop()
    return {"memory_quiet_mb": quiet, **{k: median([x[k] for x in got]) for k in got[0]}}


def make_gallery(data, count, dimension=128):
    """A gallery of `count` people with one random template each, by `uniface gallery import`."""
    import numpy as np
    folder = os.path.join(work, "people")
    os.makedirs(folder)
    os.makedirs(data)
    rows = np.random.default_rng(1).standard_normal((count, dimension)).astype(np.float32)
    np.save(os.path.join(folder, "templates.npy"), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    about = json.loads(uniface("inspect", model("mobilefacenet_foamliu"), "--json"))["id"]
    with open(os.path.join(folder, "people.jsonl"), "w", encoding="utf-8") as f:
        for i in range(count):
            f.write(json.dumps({"id": f"p{i}", "templates": [{"model_id": about, "vectors": "templates.npy", "row": i}]}) + "\n")
    with open(os.path.join(data, "gallery.key"), "wb") as f:
        f.write(os.urandom(32))
    os.chmod(os.path.join(data, "gallery.key"), 0o600)
    uniface("gallery", "import", "-g", os.path.join(data, "gallery.ufg"), "--key-file", os.path.join(data, "gallery.key"), folder)


def measure_start():
    data = os.path.join(work, "full")
    make_gallery(data, 100_000)
    ready = []
    for _ in range(8):  # the first one makes the index
        s = Server(data=data)
        ready.append(s.ready_ms)
        full = s.resident_mb()
        s.stop()
    s = Server()
    empty = s.resident_mb()
    closed(s, 32)
    after = s.resident_mb()
    s.stop()
    return {"first_ms": ready[0], "ready_ms": median(ready[1:]), "full_mb": full, "empty_mb": empty, "after_traffic_mb": after}


def measure_slow():
    s = Server()
    rate = closed(s, 8, seconds=3)["goodput"] / 2
    ratios, alone, beside = [], [], []
    for _ in range(a.rounds):
        alone.append(load(s, "--rate", rate)["latency_ms"]["p99"])
        slow = [start_load(s, "--slow", kind, "--connections", n, seconds=a.seconds + 6)
                for kind, n in (("header", 667), ("body", 667), ("read", 666))]
        time.sleep(3)
        beside.append(load(s, "--rate", rate)["latency_ms"]["p99"])
        ended = [json.loads(x.communicate()[0]) for x in slow]
        ratios.append(beside[-1] / alone[-1])
    threads = s.threads()
    s.stop()
    return {"rate": rate, "alone_p99_ms": median(alone), "beside_p99_ms": median(beside), "ratio": median(ratios),
            "connections": sum(x["open_max"] for x in ended), "threads_after": threads}


def measure_crash():
    """kill -9 while people are enrolled; who was acknowledged must be there after the next start."""
    data, known, slowest = os.path.join(work, "crash"), set(), 0
    with open(photos[0], "rb") as f:
        jpeg = f.read()

    def enrol(s, cycle, number):
        for i in range(100_000):
            who = f"c{cycle}-{number}-{i}"
            body = (f'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n{who}\r\n--b\r\nContent-Disposition: form-data; '
                    'name="force"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n').encode()
            try:
                with urllib.request.urlopen(urllib.request.Request(
                        f"http://127.0.0.1:{s.port}/v1/people", body + jpeg + b"\r\n--b--\r\n",
                        {"Content-Type": "multipart/form-data; boundary=b"}), timeout=10) as r:
                    if r.status == 201:
                        known.add(who)
            except (OSError, ValueError, EOFError):
                return
    for cycle in range(6):
        s = Server(data=data)
        slowest = max(slowest, s.ready_ms)
        clients = [threading.Thread(target=enrol, args=(s, cycle, n)) for n in range(4)]
        for c in clients:
            c.start()
        time.sleep(1)
        s.stop(signal.SIGKILL)
        for c in clients:
            c.join()
    s = Server(data=data)
    slowest, there, more = max(slowest, s.ready_ms), set(), ""
    while True:
        page = json.loads(s.get("/v1/people?limit=1000" + more))
        there |= {x["id"] for x in page["people"]}
        if not page.get("next"):
            break
        more = "&after=" + urllib.request.quote(page["next"])
    s.stop()
    return {"acknowledged": len(known), "lost": len(known - there), "ready_ms": slowest}


def measure_soak():
    """Memory, files and threads over mixed traffic at a third of what the machine can do."""
    s, samples, end = Server(), [], time.monotonic() + 60 * a.minutes
    rate = closed(s, 8, seconds=3)["goodput"] / 3
    while time.monotonic() < end:
        span = min(20, max(5, end - time.monotonic()))
        running = [start_load(s, "--rate", rate / 3, seconds=span, target=t) for t in ("/embed_face/", "/v1/detect", "/v1/identify")]
        running.append(start_load(s, "--slow", "body", "--connections", 20, seconds=span))
        running.append(subprocess.Popen([a.load, "--rate", "2", "--duration", str(span), f"http://127.0.0.1:{s.port}/metrics"],
                                        stdout=subprocess.DEVNULL))
        for x in running:
            x.communicate()
        time.sleep(1)
        samples.append((s.resident_mb(), s.files(), s.threads()))
    s.stop()
    third = max(1, len(samples) // 3)
    first, last = samples[third:2 * third] or samples[:1], samples[-third:]
    return {"minutes": a.minutes, "rate": rate, "samples": len(samples),
            **{name: [max(x[i] for x in first), max(x[i] for x in last)] for i, name in enumerate(("memory_mb", "files", "threads"))}}


# ---- the document ----

def bars(got):
    """(what, measured, wanted, met) of what was measured."""
    if "peer" in got:
        r = got["peer"]
        for k, name in (("fp32", "FP32 beside FP32"), ("int8", "INT8 embedder beside FP32")):
            yield (f"`/embed_face/`, {name}: requests/s", f"{r['rates'][k]:.0f} against {r['rates']['peer']:.0f}: {r['ratio'][k]:.2f} x",
                   ">= 5 x", r["ratio"][k] >= 5)
            yield (f"{name}: p99", f"{r['p99_ms'][k]:.0f} ms against {r['p99_ms']['peer']:.0f}", "lower",
                   r["p99_ms"][k] < r["p99_ms"]["peer"])
            yield (f"{k.upper()}: of what the library reaches in-process",
                   f"{r['rates'][k]:.0f} of {r['rates']['library ' + k]:.0f}: {r['of_library'][k]:.0%}", ">= 85 %",
                   r["of_library"][k] >= 0.85)
    if "batching" in got:
        r = got["batching"]
        yield ("32 clients: batches beside `--batch 1`", f"{r['rates']['batches']:.0f} against {r['rates']['batch 1']:.0f}: {r['gain']:.2f} x",
               ">= 1.5 x", r["gain"] >= 1.5)
        yield ("32 clients: p99", f"{r['p99_ms']:.0f} ms, one client {r['alone_ms']:.1f} ms", "<= 3 x", r["p99_ms"] <= 3 * r["alone_ms"])
    if "heavy" in got:
        r = got["heavy"]
        yield ("32 clients, IResNet-50: batches beside `--batch 1`",
               f"{r['rates']['batches']:.1f} against {r['rates']['batch 1']:.1f}: {r['gain']:.2f} x", ">= 1.5 x", r["gain"] >= 1.5)
    if "overload" in got:
        r = got["overload"]
        yield ("10x overload: goodput", f"{r['goodput']:.0f} of {r['peak']:.0f}: {r['share']:.0%}; {r['share_of_rest']:.0%} of what the "
               f"generator ({r['generator']:.2f} cores) leaves", ">= 90 %", r["share"] >= 0.9)
        yield ("10x overload: p99 of accepted requests", f"{r['accepted_p99_ms']:.0f} ms, at the peak {r['peak_p99_ms']:.0f}", "<= 2 x",
               r["accepted_p99_ms"] <= 2 * r["peak_p99_ms"])
        if r["rejection_p99_ms"]:
            yield ("10x overload: rejections", f"p50 {r['rejection_p50_ms']:.1f} ms, p99 {r['rejection_p99_ms']:.1f} ms", "<= 5 ms",
                   r["rejection_p99_ms"] <= 5)
        yield ("10x overload: memory", f"{r['memory_before_mb']:.0f} to {r['memory_after_mb']:.0f} MB, {r['memory_quiet_mb']:.0f} when it is over", "flat",
               r["memory_after_mb"] <= 1.1 * r["memory_before_mb"] + 5)
    if "start" in got:
        r = got["start"]
        yield ("ready with 100,000 faces", f"{r['ready_ms']:.0f} ms (first start {r['first_ms']:.0f} ms)", "<= 100 ms", r["ready_ms"] <= 100)
        yield ("memory, empty gallery", f"{r['empty_mb']:.0f} MB, after traffic {r['after_traffic_mb']:.0f} MB", "<= 60 MB",
               max(r["empty_mb"], r["after_traffic_mb"]) <= 60)
    if "slow" in got:
        r = got["slow"]
        yield (f"p99 beside {r['connections']} slow connections, {r['rate']:.0f} requests/s",
               f"{r['beside_p99_ms']:.0f} ms against {r['alone_p99_ms']:.0f}: {r['ratio']:.2f} x", "<= 1.2 x", r["ratio"] <= 1.2)
    if "crash" in got:
        r = got["crash"]
        yield ("kill -9 under load", f"{r['lost']} of {r['acknowledged']} acknowledged lost, ready after {r['ready_ms']:.0f} ms",
               "0, 5 s", not r["lost"] and r["ready_ms"] <= 5000)
    if "soak" in got:
        r = got["soak"]
        yield (f"soak, {r['minutes']:g} minutes at {r['rate']:.0f} requests/s",
               ", ".join(f"{n} {r[k][0]:.0f} to {r[k][1]:.0f}" for n, k in (("MB", "memory_mb"), ("files", "files"), ("threads", "threads"))),
               "no growth", r["memory_mb"][1] <= 1.05 * r["memory_mb"][0] + 1 and r["files"][1] <= r["files"][0] + 1
               and r["threads"][1] <= r["threads"][0] + 1)


def versions():
    import importlib.metadata as m
    names = ("fastapi", "gunicorn", "uvicorn", "onnxruntime", "opencv-python-headless")
    return ", ".join(f"{n} {m.version(n)}" for n in names)


def document():
    with open("/proc/cpuinfo", encoding="ascii") as f:
        cpu = re.search(r"model name\s*:\s*(.*)", f.read()).group(1)
    lines = ["# Benchmarks of the server", "",
             f"Written by `make bench-server` on {time.strftime('%Y-%m-%d')}: {cpu}, {os.cpu_count()} cores, on which the load generator and",
             f"the peer ran too; {uniface('--version').strip()}; {versions()}.",
             "Networks are YuNet-n (320x320) and MobileFaceNet (foamliu). Servers take turns; printed are medians of the rounds. The peer",
             "is `bench/server_peer.py`: FastAPI, gunicorn with 4 uvicorn workers, OpenCV, ONNX Runtime with one thread each, 32 clients.", "",
             "| what | measured | wanted | |", "|---|---|---|---|"]
    lines += [f"| {what} | {value} | {wanted} | {'met' if met else '**missed**'} |" for what, value, wanted, met in bars(state)]
    if "batching" in state:
        mean = 32e3 / state["batching"]["rates"]["batches"]
        lines += ["", f"32 clients that wait for their answers see a mean of 32 / rate = {mean:.0f} ms, whatever a server does (Little's law): the p99",
                  "shows how near it comes to that; a multiple of one client's latency is for the number of cores to reach."]
    if "peer" in state:
        r = state["peer"]
        lines += ["", f"Of {r['pictures']} pictures both servers say the same of {r['same']} (cosine of the FP32 embeddings >= 0.98, median",
                  f"{r['cosine_median']:.4f}); of groups they may take different faces: the peer the largest, `uniface serve` a large one in the middle."]
    return "\n".join(lines) + "\n"


if not photos:
    sys.exit(f"{a.photos}: there are no JPEGs of 85 to 130 kB")
if os.path.exists(a.state):
    with open(a.state, encoding="utf-8") as f:
        state = json.load(f)
try:
    for part in a.only.split(","):
        if part not in PARTS:
            sys.exit(f"--only {part}: parts are {', '.join(PARTS)}")
        state[part] = globals()["measure_" + part]()
        print(part, json.dumps(state[part]), flush=True)
        with open(a.state, "w", encoding="utf-8") as f:
            json.dump(state, f, indent=1)
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(document())
finally:
    shutil.rmtree(work, ignore_errors=True)
