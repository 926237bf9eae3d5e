"""What the tests of the server share: a server of their own on loopback, requests, pictures."""
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from harness import call, check, environment, finish, folder, path, program, root, shared, skip  # noqa: E402,F401

MODELS = os.path.join(shared, "models")
PHOTOS = os.path.join(shared, "testdata", "photos")
DETECTOR, EMBEDDER = "yunet_n_320.onnx", "mobilefacenet_y1.onnx"


def has_models():
    return os.path.exists(os.path.join(MODELS, DETECTOR)) and os.path.exists(os.path.join(MODELS, EMBEDDER))


def make_models():
    """Model files with short names in a folder of their own; {} when the networks are not here."""
    store = path("models")
    os.makedirs(store, exist_ok=True)
    made = {}
    for task, networks in (("detector", [DETECTOR]), ("embedder", [EMBEDDER, "mobileface_v2.onnx"])):
        for i, network in enumerate(networks):
            to = os.path.join(store, task + (str(i + 1) if i else "") + ".ufm")
            source = os.path.join(MODELS, network)
            if os.path.exists(source):
                subprocess.run([program, "import", source, "-o", to], check=True, capture_output=True, env=environment)
                made[os.path.basename(to)[:-4]] = to
    return made


def photo(name):
    with open(os.path.join(PHOTOS, name), "rb") as f:
        return f.read()


def png(width, height, value=128):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes((x * 3 + y * 5 + value) % 256 for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def form(*parts):
    """Body and content type of a form; a part is (name, bytes) or (name, bytes, file name)."""
    boundary = "b0undary7"
    body = b""
    for part in parts:
        name = f'; filename="{part[2]}"' if len(part) > 2 else ""
        data = part[1] if isinstance(part[1], bytes) else part[1].encode()
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{part[0]}"{name}\r\n\r\n'.encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, {k.lower(): v for k, v in headers}, body

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def __str__(self):
        return f"{self.status} {self.body[:300]}"


class Server:
    def __init__(self, *flags, data="data", auth=False, env=None):
        self.log = open(path("server.log"), "ab")
        arguments = ["--data", path(data), *map(str, flags)] + ([] if auth else ["--auth", "off"])
        if "--listen" not in flags:
            arguments += ["--listen", "127.0.0.1:0"]
        self.started = time.monotonic()
        self.process = subprocess.Popen([program, "serve", *arguments], stdout=subprocess.PIPE, stderr=self.log,
                                        stdin=subprocess.DEVNULL, env=dict(environment, **(env or {})))
        self.key, self.port = None, None
        for line in self.process.stdout:
            text = line.decode()
            if "API key" in text:
                self.key = text.split()[-1]
            found = re.search(r"listening on \S+:(\d+)$", text.strip())
            if found:
                self.port = int(found.group(1))
                break
        self.ready_s = time.monotonic() - self.started

    def kill(self):
        """kill -9, as a machine that fails would."""
        self.process.kill()
        self.stop()

    def connection(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, target, body=None, kind=None, key=None, headers=None, connection=None):
        c = connection or self.connection()
        headers = dict(headers or {})
        if isinstance(body, dict):
            body, kind = json.dumps(body).encode(), "application/json"
        if kind:
            headers["Content-Type"] = kind
        if key or self.key:
            headers["Authorization"] = "Bearer " + (key or self.key)
        c.request(method, target, body, headers)
        r = c.getresponse()
        answer = Answer(r.status, r.getheaders(), r.read())
        if not connection:
            c.close()
        return answer

    def send_form(self, target, *parts, **more):
        body, kind = form(*parts)
        return self.ask("POST", target, body, kind, **more)

    def raw(self, data, timeout=10, pause=None, half_close=False):
        """Sends bytes as they are; what came until the end or the timeout."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            got = b""
            try:
                for piece in data if isinstance(data, list) else [data]:
                    s.sendall(piece)
                    if pause:
                        time.sleep(pause)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
                while True:
                    more = s.recv(65536)
                    if not more:
                        break
                    got += more
            except OSError:  # a timeout, or the server ended it
                pass
            return got

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    def stop(self, signal_number=signal.SIGTERM):
        """The exit status, and how long the end took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.log.close()
        return status, time.monotonic() - began


def call_serve(*flags, env=None):
    """`serve` that is expected to end by itself."""
    return call("serve", "--data", path("settings"), *flags, env=env)


def statuses(raw):
    """The status of each answer in what a connection gave."""
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)]
