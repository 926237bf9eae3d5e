#!/usr/bin/env python3
"""Malformed and hostile HTTP, each row with the statuses that are right; afterwards the server still serves.

(Framing and smuggling, and what answers must have: http_framing_test.py.)

usage: http_rows_test.py UNIFACE
"""
import socket
import struct

from serving import Server, check, finish, form, png, statuses

HOST = b"Host: x\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST


def request(line, *fields, body=b""):
    return line + b"\r\n" + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def post(*fields, body=b"", target=b"/v1/compare", kind=b"application/json"):
    return request(b"POST " + target + b" HTTP/1.1", b"Host: x", b"Content-Type: " + kind, *fields, body=body)


def chunks(*pieces, end=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n" % len(p) + p + b"\r\n" for p in pieces) + end


JSON, LIMIT = b'{"a":[1,0],"b":[1,0]}', 7_000_000
CL = b"Content-Length: %d" % len(JSON)
TE = b"Transfer-Encoding: chunked"

# (row, bytes, statuses that are right; none: the connection ends without an answer)
ROWS = [
    ("plain", GET + b"Connection: close\r\n\r\n", [200]),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", [400]),
    ("two Hosts", GET + b"Host: y\r\n\r\n", [400]),
    ("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", [400]),
    ("Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", [400]),
    ("Host with a user", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", [400]),
    ("no version", b"GET /\r\n\r\n", [400, None, 505]),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", [400, 505, None]),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", [400, 505, None]),
    ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", [200]),
    ("a wrong version", b"GET / HTTQ/1.1\r\n" + HOST + b"\r\n", [400, 505, None]),
    ("a version in small letters", b"GET / http/1.1\r\n" + HOST + b"\r\n", [400, 505, None]),
    ("TRACE", b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", [405, 501]),
    ("CONNECT", b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n", [400, 405, 501]),
    ("an unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", [405, 501]),
    ("a method of 10 KiB", b"A" * 10240 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", [400, 405, 501]),
    ("a method in small letters", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", [400, 405, 501]),
    ("a method that is no token", b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", [400, 501]),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [204]),
    ("GET *", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("OPTIONS", b"OPTIONS /v1/people HTTP/1.1\r\n" + HOST + b"\r\n", [204]),
    ("a URI of 9 KiB", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", [414]),
    ("%00", b"GET /v1/people/%00 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("%2e%2e", b"GET /ui/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", [400, 404]),
    ("..", b"GET /ui/../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", [400, 404]),
    ("overlong UTF-8", b"GET /v1/people/%c0%af HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("a raw byte", b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("a cut escape", b"GET /v1/people/%4 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("a fragment", b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("an absolute target", b"GET http://x/ HTTP/1.1\r\n" + HOST + b"\r\n", [200]),
    ("101 fields", GET + b"".join(b"A%d: b\r\n" % i for i in range(101)) + b"\r\n", [431]),
    ("1,000 fields", GET + b"".join(b"A%d: b\r\n" % i for i in range(1000)) + b"\r\n", [431, 413]),
    ("a field of 64 KiB", GET + b"A: " + b"b" * 65536 + b"\r\n\r\n", [431, 413]),
    ("a space before the colon", GET + b"A : b\r\n\r\n", [400]),
    ("a field without a colon", GET + b"Abc\r\n\r\n", [400]),
    # libmicrohttpd 0.9.75 drops the line before anybody sees it; what stands in front must refuse it
    ("a field without a name", GET + b": b\r\n\r\n", [400, 200]),
    ("a name with a control character", GET + b"A\x01: b\r\n\r\n", [400]),
    ("a value with a control character", GET + b"A: \x01\r\n\r\n", [400]),
    ("obs-fold", GET + b"A: b\r\n c: d\r\n\r\n", [400]),
    ("obs-fold at the first line", b"GET / HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n", [400]),
    ("h2c", GET + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", [200]),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 405, 501, 505, None]),
    ("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64, [400, None]),
    ("zero bytes", b"\0" * 64 + b"\r\n\r\n", [400, None]),
    ("Content-Length", post(CL, body=JSON), [200]),
    ("chunked", post(TE, body=chunks(JSON)), [200]),
    ("chunked in bytes", post(TE, body=chunks(*[JSON[i:i + 1] for i in range(len(JSON))])), [200]),
    ("an extension of a chunk", post(TE, body=b"%x;a=b\r\n" % len(JSON) + JSON + b"\r\n0\r\n\r\n"), [200]),
    ("two equal lengths", post(CL, CL, body=JSON), [400]),
    ("two different lengths", post(CL, b"Content-Length: 3", body=JSON), [400]),
    ("length and chunked", post(CL, TE, body=chunks(JSON)), [400]),
    ("chunked and length", post(TE, CL, body=chunks(JSON)), [400]),
    ("length -1", post(b"Content-Length: -1"), [400, None]),
    ("length +1", post(b"Content-Length: +1", body=b"1"), [400, None]),
    ("length 0x10", post(b"Content-Length: 0x10", body=b"1" * 16), [400, None]),
    ("length 1,1", post(b"Content-Length: 1,1", body=b"1"), [400, None]),
    ("length 1e20", post(b"Content-Length: 1e20"), [400, None]),
    ("length 10^20", post(b"Content-Length: 100000000000000000000"), [400, 413, None]),
    ("length 10^17", post(b"Content-Length: 100000000000000000"), [413]),
    ("length 00", post(b"Content-Length: 00021", body=JSON), [400]),
    ("an empty length", post(b"Content-Length:"), [400, None]),
    ("Content-Length :", post(b"Content-Length : 21", body=JSON), [400]),
    ("gzip", post(b"Transfer-Encoding: gzip", body=JSON), [400, 501]),
    ("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=chunks(JSON)), [400, 501]),
    ("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked", body=chunks(JSON)), [400, 501]),
    ("two Transfer-Encodings", post(TE, TE, body=chunks(JSON)), [400, 501]),
    ("xchunked", post(b"Transfer-Encoding: xchunked", body=chunks(JSON)), [400, 501]),
    ("a chunk size of 17 digits", post(TE, body=b"fffffffffffffffff\r\n"), [400, 413, None]),
    ("a negative chunk", post(TE, body=b"-1\r\n"), [400, None]),
    ("a chunk size in 0x", post(TE, body=b"0x15\r\n" + JSON + b"\r\n0\r\n\r\n"), [400, None]),
    ("a chunk that is longer than it says", post(TE, body=b"3\r\n" + JSON + b"\r\n0\r\n\r\n"), [400, None]),
    ("no body", post(b"Content-Length: 0"), [400]),
    ("no length", post(), [400, 411]),
    # libmicrohttpd 0.9.75 has no room for it, and answers and closes by itself.
    ("an extension of 1 MB", post(TE, body=b"5;a=" + b"b" * 1000000 + b"\r\nhello\r\n0\r\n\r\n"), [400, 413, 500]),
    ("a missing last chunk", post(TE, body=b"%x\r\n" % len(JSON) + JSON + b"\r\n"), [408]),
    ("100-continue, then silence", post(b"Expect: 100-continue", CL), [408]),
    ("a body over the limit, announced", post(b"Expect: 100-continue", b"Content-Length: %d" % (LIMIT + 1)), [413]),
    ("a body over the limit, chunked", post(TE, body=chunks(b" " * (LIMIT + 1))), [413]),
    ("an unknown expectation", post(b"Expect: 200-maybe", CL, body=JSON), [200, 417]),
]


def rows(s):
    for name, data, right in ROWS:
        got = [x for x in statuses(s.raw(data, timeout=5 if right == [408] else 1.5)) if x != 100]
        check(name, (got[0] if got else None) in right, f"{got}, not {right}")
        # A second answer would mean that a body was read as a request. But libmicrohttpd 0.9.75 sends the head of
        # its own refusals twice, and closes.
        check(name + ": one request", len(got) <= 1 or (len(got) == 2 and got[0] == got[1] >= 400), got)


def forms(s):
    def row(name, body, right, boundary="b"):
        r = s.ask("POST", "/embed_face/", body, "multipart/form-data" + (f"; boundary={boundary}" if boundary else ""))
        check(name, r.status in right, r)

    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    row("a form without an end", part + b"x", [400])
    row("no boundary", part + b"x\r\n--b--\r\n", [400], None)
    row("an empty boundary", part + b"x\r\n--b--\r\n", [400], '""')
    row("a boundary of 80", part, [400], "b" * 80)
    row("a boundary in the data", part + b"x --b y\r\n--b--\r\n", [400])
    row("10,000 parts", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 10000 + b"--b--\r\n", [413])
    row("a part without a name", b"--b\r\nContent-Type: a\r\n\r\nx\r\n--b--\r\n", [400, 422])
    row("a part's head of 64 KiB", b"--b\r\nA: " + b"x" * 65536 + b"\r\n\r\nx\r\n--b--\r\n", [413, 400])
    row("no form at all", b"x" * 1000, [400])
    row("an empty body", b"", [400])
    body, kind = form(("file", png(64, 64), "../../etc/passwd"))
    r = s.ask("POST", "/v1/detect", body, kind)
    check("a path as a name", r.status != 500 and b"etc" not in r.body, r)


def pieces(s):
    whole = post(CL, b"Connection: close", body=JSON)
    check("a byte a packet", statuses(s.raw([whole[i:i + 1] for i in range(len(whole))], pause=0.0005)) == [200])
    many = GET + b"\r\n"
    got = statuses(s.raw(many * 9999 + GET + b"Connection: close\r\n\r\n", timeout=30))
    check("10,000 pipelined", got == [200] * 10000, len(got))
    check("a half-close after the request", statuses(s.raw(GET + b"\r\n", half_close=True, timeout=3)) in ([200], []))
    check("a half-close within the body", statuses(s.raw(post(CL, body=JSON[:5]), half_close=True, timeout=3)) in ([], [400]))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            c.sendall(post(CL, body=JSON[:5]))
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
    kept = s.raw(GET.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n", timeout=1)
    check("HTTP/1.0 keep-alive", statuses(kept) == [200], kept[:100])
    trailers = post(TE, b"Connection: close", body=chunks(JSON, end=b"0\r\nAuthorization: Bearer x\r\n\r\n"))
    check("a key among trailers", statuses(s.raw(trailers)) == [200])
    small = post(TE, b"Connection: close", body=chunks(*[b" " * 6] * 1_000_000, JSON))
    check("1,000,000 chunks of 6 bytes", statuses(s.raw(small, timeout=60)) == [200])
    head = s.raw(b"HEAD /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    check("HEAD has no body", statuses(head) == [200] and head.endswith(b"\r\n\r\n"), head)


s = Server("--header-timeout", 3, "--body-timeout", 3, "--max-body", LIMIT, data="rows")
before = s.resident()
rows(s)
forms(s)
pieces(s)
check("it still serves", s.ask("GET", "/").status == 200)
check("and its memory is as it was", s.resident() - before < 64 << 20, s.resident() - before)
status, seconds = s.stop()
check("and ends well", status == 0 and seconds < 5, (status, seconds))
finish()
