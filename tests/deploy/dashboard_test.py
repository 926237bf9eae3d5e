#!/usr/bin/env python3
"""`uniface serve` scraped by a real Prometheus: metrics, dashboard, health, top. dashboard_test.py ROOT UNIFACE LOAD."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import prometheus_data

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end, skip  # noqa: E402

root, program, load = sys.argv[1:]
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
models = {"detector": "yunet_n_320.onnx", "embedder": "mobilefacenet_foamliu.onnx"}
photo = os.path.join(shared, "testdata", "london", "001_neutral.jpg")


def get(url, key):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-API-Key": key}), timeout=5) as r:
        return r.read().decode()


def start(folder, environment):
    port = prometheus_data.free_port()
    url = f"http://127.0.0.1:{port}"
    out = open(os.path.join(folder, "out"), "w+")
    # A sanitizer that looks for leaks at the end makes system calls which a server has no use for.
    server = subprocess.Popen([program, "serve", "--listen", f"127.0.0.1:{port}", "--data", folder + "/data", "--seccomp", "off"],
                              env=environment, stdout=out, stderr=subprocess.STDOUT)
    for _ in range(100):
        if subprocess.run([program, "health", url], capture_output=True).returncode == 0:
            break
        time.sleep(0.1)
    out.seek(0)
    key = re.search(r"uf_[\w-]+", out.read())
    return server, url, key.group() if key else ""


def look_at(url, key):
    check("health", subprocess.run([program, "health", url], capture_output=True).returncode == 0)
    done = subprocess.run([program, "top", url, "--once", "--json", "--key", key], capture_output=True, text=True)
    top = json.loads(done.stdout or "{}")
    check("top", done.returncode == 0 and any(r["route"] == "/embed_face/" for r in top["routes"])
          and {s["stage"] for s in top["stages"]} >= {"decode", "detect", "align", "embed"}
          and top["resident_bytes"] > 1e6, done.stdout, done.stderr)
    metrics = get(url + "/metrics", key)
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True)
        check("promtool check metrics", done.returncode == 0, done.stderr)
    else:
        skip("promtool is absent")
    if not shutil.which("prometheus"):
        skip("Prometheus is absent")
        return
    missing = prometheus_data.without_data(root, url, key)
    check("every panel has data", not missing, missing)


def main():
    missing = [p for p in [photo, *(os.path.join(shared, "models", m) for m in models.values())]
               if not os.path.exists(p)]
    if missing:
        skip(f"the server's dashboard: no {missing[0]}")
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UNIFACE_")}
        environment["UNIFACE_MODELS"] = folder
        for task, network in models.items():
            subprocess.run([program, "import", os.path.join(shared, "models", network), "-o", f"{folder}/{task}.ufm"],
                           check=True, capture_output=True)
        server, url, key = start(folder, environment)
        command = [load, "--rate", "3", "--duration", "100", "--warm-up", "0", "--form", "file", "--body", photo,
                   url + "/embed_face/"]
        # half of them without a key, so that there are errors to be seen
        loads = [subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL)
                 for more in (["--header", "X-API-Key: " + key], [])]
        pair = os.path.join(folder, "pair.json")
        with open(pair, "w") as f:
            json.dump({"a": [1, 2, 3], "b": [3, 2, 1], "threshold": 0.4}, f)
        loads.append(subprocess.Popen(
            [load, "--rate", "3", "--duration", "100", "--warm-up", "0", "--body", pair, "--header",
             "X-API-Key: " + key, "--type", "application/json", url + "/v1/compare?threshold=0.4"],
            stdout=subprocess.DEVNULL))
        try:
            check("a first key is printed", key.startswith("uf_"))
            time.sleep(1)
            look_at(url, key)
        finally:
            for process in (*loads, server):
                process.terminate()
            check("it ends at SIGTERM", server.wait(20) == 0, server.returncode)


main()
end()
