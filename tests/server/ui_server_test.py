#!/usr/bin/env python3
"""The pages at /ui and /docs in headless Chromium, as the real server serves them: its policy, its models, its keys.

ui_server_test.py UNIFACE
"""
import os
import subprocess
import sys

import browser
from serving import Server, check, finish, path, root, skip


def draw(person, take):
    name = path(f"{person}-{take}.png")
    subprocess.run([sys.executable, os.path.join(root, "tools", "draw_person.py"), str(person), str(take), name], check=True)
    return name


def people(b, s):
    """Two drawn people: enrolled, told apart, deleted; the server's answers agree with what is shown."""
    ada, ada_again, bob = draw(1, 1), draw(1, 2), draw(3, 1)
    b.open(f"http://127.0.0.1:{s.port}/ui/")
    check("a key is asked for", b.until("!$('message').hidden && /key/i.test($('message').textContent)"))
    b.events = [m for m in b.events if m.get("method") != "Log.entryAdded"]  # the 401 just tested
    b.js(f"$('key').value = '{s.key}'; $('key-form').requestSubmit()")
    check("an empty list", b.until("/Nobody/.test($('people-note').textContent) && $('message').hidden"),
          b.js("document.body.innerText"))
    check("the server is ready", b.until("/ready/i.test($('state').textContent)"), b.js("$('state').textContent"))
    for i, (person, name, photo) in enumerate((("ada", "<i>Ada</i>", ada), ("bob", "Bob", bob))):
        b.give_files("#person-photo", photo)
        b.js(f"$('person-id').value='{person}'; $('person-name').value='{name}'; $('consent').checked=true; $('enrol').requestSubmit()")
        check(f"{person} is enrolled", b.until(f"$('people').children.length === {i + 1}"), b.js("$('message').textContent"))
    listed = {p["id"]: p["name"] for p in s.ask("GET", "/v1/people").json["people"]}
    check("the server has them", listed == {"ada": "<i>Ada</i>", "bob": "Bob"}, listed)
    check("names are text", b.js("$('people').querySelector('i') === null"))
    b.give_files("#photo", ada_again)
    check("another picture of one: found, and drawn", b.until("/Ada/.test($('faces').textContent) && !$('canvas').hidden"),
          b.js("$('faces').textContent + $('message').textContent"))
    b.js("attempt(() => look(new Blob(['no picture'], {type: 'image/png'})))")
    check("a broken picture: a reason, no crash", b.until("!$('message').hidden && $('message').textContent.length > 10"),
          b.js("$('message').textContent"))
    b.events = [m for m in b.events if m.get("method") != "Log.entryAdded"]  # the 400 just tested
    b.js("window.confirm = () => true; $('people').querySelector('button').click()")
    check("deleted", b.until("$('people').children.length === 1"))
    check("on the server too", [p["id"] for p in s.ask("GET", "/v1/people").json["people"]] == ["bob"])
    check("live metrics", b.until("/MiB/.test($('tiles').textContent) && $('routes').children.length > 0"),
          b.js("$('tiles').textContent"))
    # its policy holds: nothing from elsewhere, no code in the page
    b.js("window.ran = false; const e = document.createElement('script'); e.textContent = 'window.ran = true'; document.head.append(e)")
    check("code in the page does not run", b.js("window.ran") is False)
    b.events = [m for m in b.events if m.get("method") != "Log.entryAdded"]
    check("wrong keys are told", b.js("$('key').value = 'uf_wrong'; $('key-form').requestSubmit(); true")
          and b.until("!$('message').hidden && /key/i.test($('message').textContent)"))
    b.events = [m for m in b.events if m.get("method") != "Log.entryAdded"]


def documentation(b, s):
    b.open(f"http://127.0.0.1:{s.port}/docs")
    check("the description is shown", b.until("document.querySelectorAll('details').length > 40"), b.js("document.body.innerText"))
    api = s.ask("GET", "/openapi.json").json["paths"]
    shown = b.js("[...document.querySelectorAll('summary code')].map((e) => e.textContent).sort().join('\\n')")
    wanted = "\n".join(sorted(f"{m.upper()} {p}" for p, methods in api.items() for m in methods))
    check("all operations, and no others", shown == wanted, shown)
    takes = b.js("[...document.querySelectorAll('details')].find((d) => /POST .v1.identify/.test(d.textContent)).querySelector('dl').textContent")
    check("what an operation takes and answers", all(word in takes for word in ("top_k", "purpose", "200: faces")), takes)
    b.js("$('filter').value = 'delete people'; $('filter').dispatchEvent(new Event('input'))")
    left = b.js("[...document.querySelectorAll('details:not([hidden])')].map((e) => e.querySelector('code').textContent).join()")
    check("filtered", "DELETE /v1/people/{id}" in left and "GET" not in left, left)
    check("an example", "-X DELETE" in b.js("document.querySelector('details:not([hidden]) pre').textContent"))


def main():
    program = browser.find()
    if not program:
        skip("the pages: no Chromium")
        finish()
    s = Server(auth=True)
    if s.ask("GET", "/readyz").status != 200:
        skip("the pages: no models are built in")
        s.stop()
        finish()
    b = browser.Browser(program)
    try:
        people(b, s)
        documentation(b, s)
        check("nothing is complained about", not b.complaints(), b.complaints()[:3])
        base = f"http://127.0.0.1:{s.port}"
        foreign = [u for u in b.addresses() if not u.startswith((base, "data:", "blob:", "about:"))]
        check("nothing comes from elsewhere", not foreign, foreign)
    finally:
        b.close()
        s.stop()
    finish()


main()
