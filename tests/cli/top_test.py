#!/usr/bin/env python3
"""`uniface health` and `uniface top` against servers of known behaviour: top_test.py UNIFACE."""
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

from harness import answer, call, check, error, finish, path, skip


class Server:
    """Answers each request by the bytes that `reply(path, number, head)` returns, and closes."""

    def __init__(self, reply, context=None):
        self.reply, self.context, self.count = reply, context, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            client, _ = self.socket.accept()
            try:
                if self.context:
                    client = self.context.wrap_socket(client, server_side=True)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(4096)
                text = head.decode()
                data = self.reply(text.split()[1], self.count, text)
                self.count += 1
                if data is None:
                    time.sleep(1)
                else:
                    client.sendall(data)
            except OSError:
                pass
            client.close()


def plain(status, body):
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def health():
    seen = []
    well = Server(lambda p, n, head: seen.append(head) or plain(200, "ok"))
    a = answer("healthy", "health", well.url)
    check("what health says", a.get("healthy") is True and a.get("status") == 200 and a["took_ms"] < 3000, a)
    call("health", "--live", well.url + "/")
    call("health", well.url + "/other?x=1")
    check("paths", [h.split()[1] for h in seen] == ["/readyz", "/healthz", "/other?x=1"]
          and f"Host: 127.0.0.1:{well.port}\r\n" in seen[0] and "Connection: close\r\n" in seen[0], seen)
    check("in words", "is well" in call("health", well.url).text)
    error("not ready", 1, "answers 503: loading", "health", Server(lambda *_: plain(503, "loading")).url)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x\r\n...\r\n0\r\n\r\n"
    check("chunks", call("health", Server(lambda *_: chunks).url).returncode == 0)
    check("until the end", call("health", Server(lambda *_: b"HTTP/1.0 200 OK\r\n\r\nok").url).returncode == 0)
    for name, bytes_ in {"cut": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "cut chunks": chunks[:-9],
                         "chunks beyond": b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\nok"}.items():
        error(name, 1, "cut off", "health", Server(lambda *_, b=bytes_: b).url)
    error("no HTTP", 1, "does not speak HTTP", "health", Server(lambda *_: b"SSH-2.0-x\r\n\r\n\r\n").url)
    error("nothing at all", 1, "does not speak HTTP", "health", Server(lambda *_: b"").url)
    start = time.time()
    error("silence", 1, "in time", "health", "--timeout", "200", Server(lambda *_: None).url)
    check("it does not wait longer", time.time() - start < 0.9)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        error("nobody listens", 1, "refused", "health", f"http://127.0.0.1:{s.getsockname()[1]}")
    for url in ("127.0.0.1:8000", "ftp://a/", "http://", "http:///x", "http://a/\r\nX: y"):
        error(f"URL {url!r}", 1, "http", "health", url)


def tls():
    if not shutil.which("openssl"):
        skip("TLS: no openssl")
        return
    key, cert = path("key.pem"), path("cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = Server(lambda *_: plain(200, "ok"), context)
    if "no TLS" in call("health", server.url).errors:
        skip("TLS: this build has none")
        return
    check("a signer who is not known", call("health", server.url).returncode == 1)
    check("a signer who is given", call("health", "--ca", cert, server.url).returncode == 0)
    wrong_name = server.url.replace("127.0.0.1", "localhost")
    check("another name", call("health", "--ca", cert, wrong_name).returncode == 1)
    check("any certificate", call("health", "--insecure", wrong_name).returncode == 0)


def metrics(n):
    """The n-th reading: 50 requests more each, of which 5 fail."""
    return f"""# HELP uniface_requests_total Requests.
# TYPE uniface_requests_total counter
uniface_requests_total{{route="/v1/detect",status="200"}} {40 * n}
uniface_requests_total{{route="/v1/detect",status="503"}} {5 * n}
uniface_requests_total{{route="/a\\"}},b",status="400"}} {5 * n}
uniface_request_seconds_bucket{{route="/v1/detect",le="0.01"}} {20 * n}
uniface_request_seconds_bucket{{route="/v1/detect",le="0.1"}} {40 * n}
uniface_request_seconds_bucket{{route="/v1/detect",le="+Inf"}} {40 * n}
uniface_request_seconds_sum{{route="/v1/detect"}} {n}
uniface_request_seconds_count{{route="/v1/detect"}} {40 * n}
uniface_batch_size_bucket{{network="embedder",le="+Inf"}} {10 * n}
uniface_batch_size_sum{{network="embedder"}} {35 * n}
uniface_batch_size_count{{network="embedder"}} {10 * n}
uniface_queue_depth 7
uniface_gallery_people 12
uniface_gallery_templates 24
process_cpu_seconds_total {0.5 * n}
process_resident_memory_bytes 5.24288e+07
process_start_time_seconds {time.time() - 100}
"""


def top():
    keys = []
    server = Server(lambda p, n, head: keys.append(head) or plain(200, metrics(n)))
    a = answer("top", "top", server.url, "--once", "--interval", "0.5", "--key", "secret")
    check("two readings", server.count == 2 and "GET /metrics " in keys[0] and "X-API-Key: secret\r\n" in keys[0])
    near = lambda x, y: abs(x / y - 1) < 0.15  # an interval is never exact
    check("rates", near(a["requests_per_second"], 100) and near(a["server_errors_per_second"], 10)
          and near(a["client_errors_per_second"], 10) and near(a["processors_used"], 1), a)
    route = a["routes"][0]
    check("latencies", route["route"] == "/v1/detect" and near(route["per_second"], 80)
          and abs(route["mean_ms"] - 25) < 1e-3 and abs(route["p50_ms"] - 10) < 1e-3
          and abs(route["p99_ms"] - (10 + 90 * 0.98)) < 1e-3, route)
    check("gauges", a["queue_depth"] == 7 and a["people"] == 12 and a["templates"] == 24 and a["resident_bytes"] == 52428800
          and 99 <= a["uptime_seconds"] <= 105, a)
    check("batches", a["batches"][0]["network"] == "embedder" and abs(a["batches"][0]["mean_size"] - 3.5) < 1e-6)
    check("a screen", "/v1/detect" in call("top", server.url, "--once", "--interval", "0.1").text)
    error("no key", 3, "UNIFACE_API_KEY", "top", "--once", Server(lambda *_: plain(401, "{}")).url)
    error("no metrics", 3, "metrics", "top", "--once", Server(lambda *_: plain(200, "")).url)
    error("wrong interval", 2, "interval", "top", "--interval", "0", server.url)


health()
tls()
top()
finish()
