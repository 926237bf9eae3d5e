#!/usr/bin/env python3
"""Requests that two readers read differently: framing, smuggling, lines, fields, what answers must say.

usage: http_framing_test.py UNIFACE
"""
import concurrent.futures
import re

from serving import Server, check, finish, statuses

HOST = b"Host: x\r\n"
END = b"Connection: close\r\n"
JSON = b'{"a":[1,0],"b":[1,0]}'
SIZE = b"%d" % len(JSON)
HEX = b"%x" % len(JSON)
LAST = b"0\r\n\r\n"
WHOLE = HEX + b"\r\n" + JSON + b"\r\n" + LAST
SMUGGLED = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
REFUSED = [400, None]  # 400, or the connection ends: RFC 9112 leaves the choice
# libmicrohttpd 0.9.75 reads over what stands behind a chunk's size, and ends a line of the head at NUL, before anybody
# sees it. Rows that allow this still want one answer: the message has the length that everybody reads.
READ_OVER = [400, 200, None]


def get(*fields, target=b"/", version=b"HTTP/1.1", method=b"GET"):
    return method + b" " + target + b" " + version + b"\r\n" + HOST + END + b"".join(f + b"\r\n" for f in fields) + b"\r\n"


def post(*fields, body=b"", version=b"HTTP/1.1", end=END):
    return (b"POST /v1/compare " + version + b"\r\n" + HOST + end + b"Content-Type: application/json\r\n"
            + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body)


def length(value, body=JSON):
    return post(b"Content-Length:" + value, body=body)


def coded(value, body=WHOLE, *more):
    return post(b"Transfer-Encoding:" + value, *more, body=body)


def chunked(body):
    return coded(b" chunked", body)


# (row, bytes, statuses that are right; None: the connection ends without an answer)
LINES = [
    ("only carriage returns", b"GET / HTTP/1.1\rHost: x\r\r", [400, 408, None]),
    ("no target", b"GET HTTP/1.1\r\n" + HOST + b"\r\n", REFUSED),
    ("a space in the target", get(target=b"/a b"), REFUSED),
    ("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + END + b"\r\n", [400, 200]),
    ("a tab between", b"GET\t/\tHTTP/1.1\r\n" + HOST + END + b"\r\n", REFUSED),
    ("a space before the method", b" GET / HTTP/1.1\r\n" + HOST + END + b"\r\n", REFUSED),
    ("a space behind the version", b"GET / HTTP/1.1 \r\n" + HOST + END + b"\r\n", [400, 505, 200]),
    ("HTTP/1", get(version=b"HTTP/1"), [400, 505]),
    ("HTTP/01.01", get(version=b"HTTP/01.01"), [400, 505]),
    ("HTTP/ 1.1", get(version=b"HTTP/ 1.1"), [400, 505]),
    ("HTTP/1.2", get(version=b"HTTP/1.2"), [200, 505]),
    ("an empty line before", b"\r\n" + get(), [200]),
    ("line feeds alone", get().replace(b"\r\n", b"\n"), [200, 400]),
    ("a line feed alone behind the first line", get().replace(b"\r\n", b"\n", 1), [200, 400]),
    ("nothing", b"", [408, None]),
    ("a line of spaces", b"   \r\n\r\n", REFUSED),
    ("half a request", b"GET / HTTP/1.1\r\nHost: x", [408, None]),
    ("noise", bytes(range(128, 256)) * 4 + b"\r\n\r\n", REFUSED),
    ("NUL in the target", get(target=b"/a\0b"), [400, 404]),
    ("%0d%0a", get(target=b"/%0d%0aSet-Cookie:a"), [400]),
    ("a backslash", get(target=b"/ui\\..\\x"), [400]),
    ("a target of 7,900 bytes", get(target=b"/" + b"a" * 7900), [404]),
    ("an absolute target of another host", get(target=b"http://other/"), [200, 400]),
    ("an authority as target", get(target=b"x:80"), [400]),
    ("TRACE with a body", get(b"Content-Length: 5", method=b"TRACE") + b"hello", [400, 405, 501]),
    ("TRACE with a secret", get(b"Authorization: Bearer secret", b"Cookie: secret", method=b"TRACE"), [405, 501]),
    ("GET with a body", get(b"Content-Length: 5") + b"hello", [200, 400]),
    ("HEAD with a body", get(b"Content-Length: 5", method=b"HEAD") + b"hello", [200, 400]),
    ("OPTIONS with a body", get(b"Content-Length: 5", method=b"OPTIONS") + b"hello", [200, 204, 400]),
]
FIELDS = [
    ("two Hosts, the same", b"GET / HTTP/1.1\r\n" + HOST + HOST + END + b"\r\n", [400]),
    ("two hosts in one", b"GET / HTTP/1.1\r\nHost: a, b\r\n" + END + b"\r\n", [400]),
    ("brackets in a name", get(b"A[b]: c"), [400]),
    ("a tab in a name", get(b"Content\tLength: 5"), [400]),
    ("a name beyond ASCII", get(b"A\xc3\xa9: c"), [400]),
    ("NUL in a value", get(b"A: b\0c"), [400, 200]),
    ("NUL behind a value that is known", post(b"Content-Length: " + SIZE + b"\0", body=JSON), [400, 200]),
    ("a carriage return in a value", get(b"A: b\rc"), [400]),
    ("a vertical tab in a value", get(b"A: b\x0bc"), [400]),
    ("a name of 64 KiB", get(b"A" * 65536 + b": b"), [431, 413]),
    ("a value beyond ASCII", get(b"A: \xc3\xa9"), [200, 400]),
    ("two types", post(b"Content-Type: text/plain", b"Content-Length: " + SIZE, body=JSON), [400]),
    ("two keys", get(b"Authorization: Bearer a", b"Authorization: Bearer b"), [400]),
    ("a type that is wanted and nonsense", get(b"Accept: nonsense/x"), [200]),
    ("a range that is none", get(b"Range: bytes=x-"), [200]),
    ("ranges over each other", get(b"Range: bytes=" + b"0-," * 999 + b"0-"), [200]),
    ("a range for POST", post(b"Range: bytes=0-1", b"Content-Length: " + SIZE, body=JSON), [200]),
    ("an empty cookie", get(b"Cookie:"), [200]),
    ("a cookie of signs", get(b"Cookie: ===;;;=;"), [200]),
    ("1,000 cookies", get(b"Cookie: " + b"; ".join(b"a%d=b" % i for i in range(1000))), [200]),
    ("two Cookies", get(b"Cookie: a=b", b"Cookie: c=d"), [200]),
    ("a cookie with NUL", get(b"Cookie: a=\0b"), [400, 200]),
    ("a cookie with control characters", get(b"Cookie: a=\x01\x02\x03"), [400]),
    ("a cookie of 64 KiB", get(b"Cookie: a=" + b"b" * 65536), [431, 413]),
    ("Upgrade without Connection", get(b"Upgrade: websocket"), [200]),
    ("an upgrade of HTTP/1.0", get(b"Upgrade: websocket", version=b"HTTP/1.0"), [200]),
    ("an upgrade to what nobody knows", get(b"Upgrade: x/9"), [200]),
    ("a WebSocket of version 99", get(b"Upgrade: websocket", b"Sec-WebSocket-Version: 99", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), [200, 426]),
    ("a WebSocket by POST", post(b"Upgrade: websocket", b"Content-Length: " + SIZE, body=JSON), [200]),
    ("Content_Length", post(b"Content_Length: 3", b"Content-Length: " + SIZE, body=JSON), [200, 400]),
    ("Transfer_Encoding", post(b"Transfer_Encoding: chunked", b"Content-Length: " + SIZE, body=JSON), [200, 400]),
]
LENGTHS = [
    ("length abc", length(b" abc"), REFUSED),
    ("length -0", length(b" -0", b""), REFUSED),
    ("length 00", length(b" 00", b""), REFUSED),
    ("length 0200", length(b" 0200"), REFUSED),
    ("length 0o25", length(b" 0o25"), REFUSED),
    ("length 2_1", length(b" 2_1"), REFUSED),
    ("length 2 1", length(b" 2 1"), REFUSED),
    ("length 21,21", length(b" 21, 21"), REFUSED),
    ("length 21,21,21", length(b" 21,21,21"), REFUSED),
    ("length 21,22", length(b" 21, 22"), REFUSED),
    ("length 21x", length(b" 21x"), REFUSED),
    ("length 2^64+21", length(b" 18446744073709551637"), [400, 413, None]),
    ("blanks behind the length", length(b" 21 \t"), [200, 400]),
    ("two blanks before the length", length(b"  21"), [200]),
    ("a tab before the length", length(b"\t21"), [200]),
    ("a space before its colon", post(b"Content-Length : 21", body=JSON), [400]),
    ("two equal lengths of other case", post(b"content-length: 21", b"CONTENT-LENGTH: 21", body=JSON), [400]),
    ("length 0", length(b" 0", b""), [400]),
    ("fewer bytes than the length", length(b" 99"), [408, None]),
    ("length 2^62 and no body", length(b" 4611686018427387904", b""), [400, 413]),
]
CODINGS = [
    ("Chunked", coded(b" Chunked"), [200]),
    ("TRANSFER-ENCODING", post(b"TRANSFER-ENCODING: chunked", body=WHOLE), [200]),
    ("a tab before chunked", coded(b"\tchunked"), [200]),
    ("a space behind chunked", coded(b" chunked "), [400]),
    ("a comma before chunked", coded(b" , chunked"), [400, 200]),
    ("a comma behind chunked", coded(b" chunked,"), [400, 200]),
    ("identity", coded(b" identity", JSON), [400, 501]),
    ("no coding", coded(b"", JSON), [400, 501]),
    ("chunked, identity", coded(b" chunked, identity"), [400, 501]),
    ("chunked with a parameter", coded(b" chunked;q=1"), [400, 501]),
    ("chunked behind a vertical tab", coded(b" \x0bchunked"), [400, 501]),
    ("chunked behind a form feed", coded(b" \x0cchunked"), [400, 501]),
    ("chunked with NUL", coded(b" chunked\0"), [400, 501, 200]),
    ("chunked on a line of its own", coded(b"\r\n chunked"), [400]),
    ("chunked, a space before the colon", post(b"Transfer-Encoding : chunked", body=WHOLE), [400]),
    ("chunked in HTTP/1.0", post(b"Transfer-Encoding: chunked", body=WHOLE, version=b"HTTP/1.0"), [400]),
    ("chunked and identity in two fields", coded(b" chunked", WHOLE, b"Transfer-Encoding: identity"), [400, 501]),
    ("100-continue in HTTP/1.0", post(b"Expect: 100-continue", b"Content-Length: 21", body=JSON, version=b"HTTP/1.0"), [200]),
]
CHUNKS = [
    ("a chunk of letters in capitals", chunked(b"A\r\n" + JSON[:10] + b"\r\nB\r\n" + JSON[10:] + b"\r\n" + LAST), [200]),
    ("zeros before a size", chunked(b"00000015\r\n" + JSON + b"\r\n" + LAST), [200, 400]),
    ("no chunk but the last", chunked(LAST), [400]),
    ("an extension that is quoted", chunked(HEX + b';a="b c"\r\n' + JSON + b"\r\n" + LAST), [200]),
    ("a plus", chunked(b"+" + HEX + b"\r\n" + JSON + b"\r\n" + LAST), REFUSED),
    ("an underscore", chunked(b"1_5\r\n" + JSON + b"\r\n" + LAST), REFUSED),
    ("a space before", chunked(b" " + HEX + b"\r\n" + JSON + b"\r\n" + LAST), REFUSED),
    ("a space behind", chunked(HEX + b" \r\n" + JSON + b"\r\n" + LAST), [400, None]),
    ("no size", chunked(b"\r\n" + JSON + b"\r\n" + LAST), REFUSED),
    ("a size of letters", chunked(b"xyz\r\n" + JSON + b"\r\n" + LAST), REFUSED),
    ("a semicolon alone", chunked(HEX + b";\r\n" + JSON + b"\r\n" + LAST), READ_OVER),
    ("an extension of no token", chunked(HEX + b";[\r\n" + JSON + b"\r\n" + LAST), READ_OVER),
    ("NUL in an extension", chunked(HEX + b";a=\0\r\n" + JSON + b"\r\n" + LAST), READ_OVER),
    ("a carriage return in an extension", chunked(HEX + b";a\rb\r\n" + JSON + b"\r\n" + LAST), READ_OVER),
    ("a line feed in an extension", chunked(HEX + b";a\n" + JSON + b"\r\n" + LAST), [200, 400, None]),
    ("a size before a carriage return", chunked(HEX + b"\r" + JSON + b"\r\n" + LAST), REFUSED),
    ("a size before a line feed", chunked(HEX + b"\n" + JSON + b"\r\n" + LAST), [200, 400, None]),
    ("data before a line feed", chunked(HEX + b"\r\n" + JSON + b"\n" + LAST), [200, 400, None]),
    ("data before nothing", chunked(HEX + b"\r\n" + JSON + LAST), REFUSED),
    ("data that spills", chunked(b"5\r\n" + JSON + b"\r\n" + LAST), REFUSED),
    ("2^64+21", chunked(b"10000000000000015\r\n" + JSON + b"\r\n" + LAST), [400, 413, None]),
    ("2^63", chunked(b"8000000000000000\r\n" + JSON), [400, 408, 413, None]),
    ("an extension of 64 KiB", chunked(HEX + b";" + b"a" * 65536 + b"\r\n" + JSON + b"\r\n" + LAST), READ_OVER + [413, 500]),
    ("a trailer", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\nA: b\r\n\r\n"), [200]),
    ("a length among trailers", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\nContent-Length: 5\r\n\r\n"), [200, 400]),
    ("a coding among trailers", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), [200, 400]),
    ("a Host among trailers", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\nHost: y\r\n\r\n"), [200, 400]),
    ("a type among trailers", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\nContent-Type: a/b\r\n\r\n"), [200, 400]),
    ("trailers before a line feed", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\n\n"), [200, 400, 408, None]),
    ("1,000 trailers", chunked(HEX + b"\r\n" + JSON + b"\r\n0\r\n" + b"".join(b"A%d: b\r\n" % i for i in range(1000))
                               + b"\r\n"), [200, 400, 413, 431, 500]),
]

BOTH = [b"Content-Length: %d" % (len(LAST + SMUGGLED)), b"Transfer-Encoding: chunked"]
# What follows a body that one of two readers would end earlier: one answer, and the connection ends.
SMUGGLING = [(name, post(*fields, body=body, end=b""), [400]) for name, fields, body in (
    ("length and coding", BOTH, LAST + SMUGGLED),
    ("coding and length", BOTH[::-1], LAST + SMUGGLED),
    ("a shorter length and coding", [b"Content-Length: 4", BOTH[1]], b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n" + LAST),
    ("length + and coding", [BOTH[0].replace(b": ", b": +"), BOTH[1]], LAST + SMUGGLED),
    ("length x and coding", [BOTH[0] + b"x", BOTH[1]], LAST + SMUGGLED),
    ("length and a coding on its own line", [BOTH[0], b"Transfer-Encoding:\r\n chunked"], LAST + SMUGGLED),
    ("length and a coding with a blank", [BOTH[0], BOTH[1] + b" "], LAST + SMUGGLED),
    ("length and a coding behind a comma", [BOTH[0], b"Transfer-Encoding: , chunked"], LAST + SMUGGLED),
    ("length and Chunked", [BOTH[0], b"Transfer-Encoding: Chunked"], LAST + SMUGGLED),
    ("length and two codings", [BOTH[0], BOTH[1], b"Transfer-Encoding: identity"], LAST + SMUGGLED),
    ("length and xchunked", [BOTH[0], b"Transfer-Encoding: xchunked"], LAST + SMUGGLED),
    ("length and a HEAD behind", BOTH, LAST + SMUGGLED.replace(b"GET", b"HEAD")),
    ("two lengths", [b"Content-Length: 5", b"Content-Length: %d" % (5 + len(SMUGGLED))], b"hello" + SMUGGLED),
    ("a plus before the last chunk", [BOTH[1]], b"+0\r\n\r\n" + SMUGGLED),
)] + [(name, data, [400, 204]) for name, data in (
    ("GET with a request in its body", get(b"Content-Length: %d" % len(SMUGGLED)).replace(END, b"") + SMUGGLED),
    ("HEAD with a request in its body", get(b"Content-Length: %d" % len(SMUGGLED), method=b"HEAD").replace(END, b"") + SMUGGLED),
    ("OPTIONS with a coding on its own line",
     get(b"Transfer-Encoding:\r\n chunked", method=b"OPTIONS").replace(END, b"") + LAST + SMUGGLED),
)]


def first_of(got):
    return next((x for x in got if x != 100), None)


def rows(s, table):
    """Many at a time: most of a row's time is waiting for the connection's end."""
    def ask(row):
        name, data, right = row
        return row, [x for x in statuses(s.raw(data, timeout=6)) if x != 100]

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        for (name, data, right), got in pool.map(ask, table):
            if not got and None not in right:  # a machine that was too busy to answer in time: once more, alone
                got = ask((name, data, right))[1]
            check(name, first_of(got) in right, f"{got}, not {right}")
            # libmicrohttpd 0.9.75 sends the head of its own refusals twice, and closes.
            check(name + ": one answer", len(got) <= 1 or (len(got) == 2 and got[0] == got[1] >= 400), got)


def sequences(s):
    """What is read as the next request, where one may follow."""
    two = s.raw(SMUGGLED + get(), timeout=5)
    check("two requests", statuses(two) == [200, 200], two[:200])
    zero = s.raw(post(b"Content-Length: 0", end=b"") + get(), timeout=5)
    check("no body, then another request", statuses(zero) == [400, 200], zero[:300])
    rest = s.raw(post(b"Content-Length: 0", end=b"") + b"X" + get(), timeout=5)
    check("no body, then a byte too many: no method", len(statuses(rest)) == 2 and statuses(rest)[1] in (400, 501), rest[:300])
    left = s.raw(get(b"Content-Length: 20").replace(END, b"") + b"GET /v1/people HTTP/1.1\r\nA: " + get(), timeout=5)
    check("the beginning of a request in a body", statuses(left) in ([400], [200, 200]), left[:300])
    expected = s.raw(post(b"Expect: 100-continue", b"Content-Length: " + SIZE, body=JSON, end=b"") + get(), timeout=5)
    check("100-continue that is not waited for, then another", [x for x in statuses(expected) if x != 100] == [200, 200], expected[:300])


def answers(s):
    """What answers must have, and must not."""
    def head_of(data):
        return s.raw(data, timeout=5).partition(b"\r\n\r\n")[0].lower()

    date = re.search(rb"\r\ndate: (.*)\r", head_of(get()))
    check("Date", date and re.fullmatch(rb"(mon|tue|wed|thu|fri|sat|sun), \d\d [a-z]{3} \d{4} \d\d:\d\d:\d\d gmt", date.group(1)), date)
    for name, data in (("200", get()), ("404", get(target=b"/none")), ("400", length(b" 0", b""))):
        check(f"{name} has Date and Content-Type", all(f in head_of(data) for f in (b"\r\ndate:", b"\r\ncontent-type:")), head_of(data))
    wrong = head_of(get(target=b"/v1/compare"))
    check("405 with Allow", b" 405 " in wrong and b"\r\nallow: post" in wrong, wrong)
    options = head_of(get(target=b"/v1/people", method=b"OPTIONS"))
    check("OPTIONS with Allow", b" 204 " in options and b"\r\nallow: " in options, options)
    check("204 without Content-Length", b"content-length" not in options, options)
    old = s.raw(b"GET / HTTP/1.0\r\n\r\n", timeout=5)
    check("HTTP/1.0 ends the connection", old.endswith(b"}"), old)
    early = s.raw(post(b"Expect: 100-continue", b"Content-Length: 21", body=JSON, version=b"HTTP/1.0"), timeout=5)
    check("HTTP/1.0 gets no 100", 100 not in statuses(early.replace(b"HTTP/1.0", b"HTTP/1.1")), early[:200])
    traced = s.raw(get(b"Cookie: secret", method=b"TRACE"), timeout=5)
    check("TRACE tells no secrets", b"secret" not in traced, traced)
    for upgrade in (b"h2c", b"websocket", b"TLS/1.0"):
        raw = s.raw(get(b"Upgrade: " + upgrade), timeout=5)
        check(f"{upgrade.decode()}: no 101", statuses(raw) == [200], raw[:200])


def kept_pages(s):
    """What a browser asks for again (RFC 9110, section 13)."""
    etag = s.ask("GET", "/ui/app.js").headers["etag"]
    for name, value, right in (("the tag", etag, 304), ("weak", "W/" + etag, 304), ("any", "*", 304),
                               ("in a list", f'"other", {etag}', 304), ("in a list without blanks", f'"a",W/"b",{etag},"c"', 304),
                               ("another", '"other"', 200), ("without quotes", etag.strip('"'), 200), ("nothing", "", 200),
                               ("a part of it", etag[:-2] + '"', 200), ("quotes that do not end", '"' + "a" * 500, 200)):
        got = s.ask("GET", "/ui/app.js", headers={"If-None-Match": value})
        check(f"If-None-Match: {name}", got.status == right and got.headers.get("etag") == etag, got.status)
    for name, value in (("the future", "Fri, 01 Jan 2100 00:00:00 GMT"), ("no date", "yesterday")):
        check(f"If-Modified-Since: {name}", s.ask("GET", "/ui/app.js", headers={"If-Modified-Since": value}).status == 200)
    both = s.ask("GET", "/ui/app.js", headers={"If-None-Match": '"other"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"})
    check("If-None-Match comes first", both.status == 200, both.status)


s = Server("--header-timeout", 2, "--body-timeout", 2, "--idle-timeout", 2, data="framing")
for table in (LINES, FIELDS, LENGTHS, CODINGS, CHUNKS, SMUGGLING):
    rows(s, table)
sequences(s)
answers(s)
kept_pages(s)
check("it still serves", s.ask("GET", "/").status == 200)
status, seconds = s.stop()
check("and ends well", status == 0 and seconds < 5, (status, seconds))
finish()
