#!/usr/bin/env python3
"""The page at /ui in headless Chromium, against a server that keeps people in memory.

ui_page_test.py FOLDER-OF-THE-PAGE [PICTURE-TO-WRITE]
"""
import http.server
import json
import os
import re
import struct
import sys
import tempfile
import threading
import urllib.parse
import zlib

import browser

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end, skip  # noqa: E402

POLICY = re.findall(r'"([^"]*)"', open(os.path.join(sys.argv[1], "..", "ui.h")).read().split("SRV_UI_POLICY")[1])


def png(width, height):
    """A grey picture."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + b"\x80" * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    people, requests, keys = {}, 0, []

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "".join(POLICY))
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        key = self.headers.get("X-API-Key")
        Handler.keys.append(key)
        if key != "secret":
            self.reply(401, {"title": "Unauthorized", "status": 401, "detail": "An API key is needed."})
        return key == "secret"

    def do_GET(self):
        Handler.requests += 10
        path = urllib.parse.urlsplit(self.path).path
        types = {"index.html": "text/html", "app.js": "text/javascript", "style.css": "text/css"}
        name = "index.html" if path == "/ui/" else path.removeprefix("/ui/")
        if name in types:
            with open(os.path.join(sys.argv[1], name), "rb") as f:
                self.reply(200, f.read(), types[name])
        elif path == "/readyz":
            self.reply(200, {"status": "ready"})
        elif path == "/metrics":
            n = Handler.requests
            self.reply(200, (f'uniface_requests_total{{route="/v1/detect",status="200"}} {n}\n'
                             f'uniface_request_seconds_sum{{route="/v1/detect"}} {n * 0.02}\n'
                             f'uniface_request_seconds_count{{route="/v1/detect"}} {n}\n'
                             "process_resident_memory_bytes 52428800\n").encode(), "text/plain")
        elif path == "/v1/people" and self.allowed():
            after = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("after", [""])[0]
            rest = [p for i, p in sorted(self.people.items()) if i > after]
            self.reply(200, {"people": rest[:50], "next": rest[49]["id"] if len(rest) > 50 else None})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urllib.parse.urlsplit(self.path).path
        if not self.allowed():
            return
        face = {"box": [20, 10, 40, 50], "score": 0.98, "quality": 0.75,
                "landmarks": [[30, 25], [50, 25], [40, 35], [32, 45], [48, 45]]}
        if path == "/v1/people":
            fields = dict(re.findall(rb'name="(id|name|consent)"\r\n\r\n([^\r]*)', body))
            person = fields[b"id"].decode()
            self.people[person] = {"id": person, "name": fields.get(b"name", b"").decode(), "faces": 1}
            self.reply(201, self.people[person])
        elif path == "/v1/identify":
            first = [{"id": p["id"], "name": p["name"], "score": 0.81} for p in list(self.people.values())[:1]]
            self.reply(200, {"faces": [dict(face, matches=first)]})
        else:
            self.reply(200, {"faces": [face]} if body[1:4] == b"PNG" else {"faces": []})

    def do_DELETE(self):
        if self.allowed():
            self.people.pop(urllib.parse.unquote(self.path.split("?")[0].rsplit("/", 1)[1]))
            self.send_response(204)
            self.end_headers()


def visit(b, base, photo):
    b.open(base + "/ui/")
    check("a key is asked for", b.until("!$('message').hidden && /API key/.test($('message').textContent)"),
          b.js("document.body.innerText"))
    b.events = [m for m in b.events if m.get("method") != "Log.entryAdded"]  # the 401 just tested
    b.js("$('key').value = 'secret'; $('key-form').requestSubmit()")
    check("an empty list", b.until("/Nobody/.test($('people-note').textContent) && $('message').hidden"))
    check("the key is kept in the tab", b.js("sessionStorage.getItem('key')") == "secret"
          and b.js("JSON.stringify(localStorage).includes('secret')") is False)

    b.give_files("#person-photo", photo)
    b.js("$('person-id').value='a/1'; $('person-name').value='<b>Ada</b>'; $('consent').checked=true;"
         "$('enrol').requestSubmit()")
    check("enrolled", b.until("$('people').children.length === 1"), b.js("$('message').textContent"))
    check("names are text", b.js("$('people').querySelector('b') === null && "
                                 "$('people').children[0].children[1].textContent") == "<b>Ada</b>")
    b.give_files("#photo", photo)
    check("recognised", b.until("/Ada.*0.810/.test($('faces').textContent)"), b.js("$('message').textContent"))
    check("facts", b.js("/98 %.*quality 75 %/.test($('faces').textContent)"))
    # the box is drawn in green, and what is within it is the picture
    pixel = "Array.from($('canvas').getContext('2d').getImageData({},{},1,1).data).slice(0,3).join()"
    check("drawn", b.js(pixel.format(20, 40)) != "128,128,128" and b.js(pixel.format(40, 50)) == "128,128,128"
          and b.js(pixel.format(30, 25)) != "128,128,128" and b.js(pixel.format(75, 75)) == "128,128,128")
    check("described", "1 face" in b.js("$('canvas').getAttribute('aria-label')"))
    b.js("$('identify').checked = false")
    b.js("look(new Blob(['x'], {type:'image/jpeg'}))")
    check("no face", b.until("/no face/.test($('faces').textContent)"))
    b.js("attempt(() => look(new Blob(['x'], {type:'text/plain'})))")
    check("what is no picture", b.until("/JPEG, PNG or WebP/.test($('message').textContent)"))

    check("no picture is to be taken yet", b.js("$('shoot').offsetParent === null"))
    b.js("$('camera').click()")
    check("camera", b.until("!$('shoot').hidden && $('video').videoWidth > 0"), b.js("$('message').textContent"))
    b.js("$('faces').replaceChildren(); $('shoot').click()")
    check("a picture of the camera", b.until("$('faces').children.length === 1 && $('video').hidden"))
    check("metrics", b.until("/50 MiB/.test($('tiles').textContent) && /detect.*20.0/.test($('routes').textContent)"),
          b.js("$('tiles').textContent + $('routes').textContent"))

    for i in range(60):
        Handler.people[f"p{i:02}"] = {"id": f"p{i:02}", "name": "", "faces": 1}
    b.js("listPeople()")
    check("a page of people", b.until("$('people').children.length === 50 && !$('more').hidden"))
    b.js("$('more').click()")
    check("all people", b.until("$('people').children.length === 61 && $('more').hidden"))
    b.js("window.confirm = () => true; $('people').querySelector('button').click()")
    check("deleted", b.until("!$('people').textContent.includes('a/1')") and "a/1" not in Handler.people)
    back = b.js("getComputedStyle(document.body).backgroundColor")
    b.js("$('theme').click()")
    check("dark and light", b.js("getComputedStyle(document.body).backgroundColor") != back)
    b.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    check("on a phone", b.js("document.documentElement.scrollWidth") <= 360,
          b.js("document.documentElement.scrollWidth"))
    check("labels", b.js("[...document.querySelectorAll('input')].every((i) => i.labels.length)"))
    check("nothing is complained about", not b.complaints(), b.complaints()[:3])
    foreign = [u for u in b.addresses() if not u.startswith((base, "data:", "blob:", "about:"))]
    check("nothing comes from elsewhere", not foreign, foreign)


def main():
    program = browser.find()
    if not program:
        skip("the page: no Chromium")
        end()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    b = browser.Browser(program)
    with tempfile.NamedTemporaryFile(suffix=".png") as photo:
        photo.write(png(80, 80))
        photo.flush()
        try:
            visit(b, f"http://127.0.0.1:{server.server_port}", photo.name)
            if len(sys.argv) > 2:
                b.send("Emulation.clearDeviceMetricsOverride")
                b.picture(sys.argv[2])
        finally:
            b.close()
    end()


main()
