#!/usr/bin/env python3
"""The load generator against a server of known behaviour: load_test.py UNIFACE_LOAD."""
import asyncio
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end  # noqa: E402


class Server:
    """Answers after `delay`, at most `at_once` together; /busy gets 503, /chunked chunks, /reset a reset."""

    def __init__(self, delay, at_once):
        self.delay, self.turns, self.bodies = delay, asyncio.Semaphore(at_once), []

    async def answer(self, path, writer):
        if path == "/reset":
            writer.transport.abort()
        elif path == "/busy":
            writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        elif path == "/chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await asyncio.sleep(0.01)
            writer.write(b"a;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n")
        elif path == "/close":
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
            writer.close()
        else:
            async with self.turns:
                await asyncio.sleep(self.delay)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def serve(self, reader, writer):
        try:
            while True:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 0.6)
                lines = head.decode().split("\r\n")
                size = [int(l.split(":")[1]) for l in lines if l.lower().startswith("content-length")]
                if size:
                    self.bodies.append(await asyncio.wait_for(reader.readexactly(size[0]), 0.6))
                await self.answer(lines[0].split()[1], writer)
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError):
            pass
        writer.close()


async def load(*arguments):
    p = await asyncio.create_subprocess_exec(sys.argv[1], *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate()
    return json.loads(out) if p.returncode == 0 else p.returncode


async def main():
    server = Server(0.02, 2)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    base = "http://127.0.0.1:%d" % listening.sockets[0].getsockname()[1]
    quick = ("--duration", "1", "--warm-up", "0.2")

    r = await load(*quick, "--rate", "40", base + "/")
    check("below capacity", r["due"] in range(39, 42) and r["ended"] == r["due"]
          and r["status"] == {"200": r["due"]}, r)
    check("latency is the delay", 19 < r["latency_ms"]["p50"] < 60, r["latency_ms"])

    # 100 a second are served; of 200 the last waits about a second, which a closed loop hides.
    r = await load(*quick, "--rate", "200", "--connections", "8", base + "/")
    check("queueing is seen", r["latency_ms"]["p99"] > 400 and r["service_ms"]["p99"] < 400, r)
    check("all are counted", r["due"] in range(199, 202) and r["ended"] + r["never_sent"] == r["due"]
          and r["never_sent"] > 50 and r["backlog_max"] > 50, r)
    r = await load(*quick, "--rate", "0", "--connections", "8", base + "/")
    check("closed loop", r["mode"] == "closed" and 40 < r["goodput"] < 101
          and r["latency_ms"]["p99"] < 400, r)

    r = await load(*quick, "--rate", "50", base + "/busy")
    check("rejections", r["goodput"] == 0 and r["rejected"] == r["due"] and r["rejection_ms"]["p99"] < 100
          and r["latency_ms"] is None, r)
    r = await load(*quick, "--rate", "20", base + "/chunked")
    check("chunks", r["status"] == {"200": r["due"]} and r["connects"] < 20, r)
    r = await load(*quick, "--rate", "20", base + "/close")
    check("the end of the connection", r["status"] == {"200": r["due"]} and r["connects"] >= r["due"], r)
    r = await load(*quick, "--rate", "20", base + "/reset")
    check("resets", r["errors"]["reset"] == r["due"] and r["status"] == {}, r)
    r = await load(*quick, "--rate", "20", "--timeout", "0.01", base + "/")
    # A generator that is held up itself may find an answer and its timeout at once.
    check("timeouts", r["errors"]["timeout"] > r["due"] / 2
          and r["errors"]["timeout"] + r["status"].get("200", 0) == r["due"], r)

    with tempfile.NamedTemporaryFile(suffix=".jpg") as f:
        f.write(b"\xff\xd8 body")
        f.flush()
        server.bodies = []
        r = await load(*quick, "--rate", "5", "--body", f.name, "--form", "file", base + "/")
        check("forms", r["status"] == {"200": r["due"]} and server.bodies
              and b'name="file"; filename="' in server.bodies[0] and b"\xff\xd8 body\r\n--" in server.bodies[0])
        for kind in ("header", "body"):
            r = await load("--slow", kind, "--duration", "1.5", "--interval", "0.2", "--connections", "20",
                           "--body", f.name, base + "/")
            check("slow " + kind, r["open_max"] >= 18 and r["connects"] >= 20, r)
    r = await load("--slow", "read", "--duration", "1", "--interval", "0.2", "--connections", "5", base + "/")
    check("slow read", r["open_max"] == 5, r)
    check("wrong usage", await load("ftp://x/") == 2 and await load("--rate", "x", base) == 2
          and await load() == 2)
    listening.close()


asyncio.run(main())
end()
