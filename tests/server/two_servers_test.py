#!/usr/bin/env python3
"""Two servers on one PostgreSQL database: what one does the other sees, and a killed one loses nothing.

two_servers_test.py UNIFACE
"""
import os
import shutil
import sys
import threading
import time

from serving import PHOTOS, Server, call, check, finish, path, photo, skip

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "gallery"))
from postgres_server import Servers, Skip  # noqa: E402

has_photos = os.path.exists(os.path.join(PHOTOS, "13.jpg"))


def start(data, address, key_file, **more):
    return Server("--gallery", address, "--key-file", key_file, data=data, **more)


def enrol(s, person, picture, **more):
    return s.send_form("/v1/people", ("id", person), ("force", "1"), ("file", picture, "a.jpg"), **more)


def matches(s, picture):
    r = s.ask("POST", "/v1/identify", picture, "image/jpeg")
    return [m["id"] for f in r.json.get("faces", []) for m in f["matches"]]


def people(s):
    return {p["id"]: p for p in s.ask("GET", "/v1/people?limit=1000").json.get("people", [])}


def seen(a, b):
    """People and faces of one server at the other, both ways, in all operations that read."""
    ann, bob = photo("13.jpg"), photo("3.jpg")
    check("an empty gallery knows nobody", matches(b, ann) == [])
    made = enrol(a, "ann", ann)
    check("enrolled on A", made.status == 201, made)
    check("found on B", matches(b, ann) == ["ann"], matches(b, ann))
    check("shown by B", list(people(b)) == ["ann"])
    one = b.send_form("/v1/verify", ("id", "ann"), ("image", ann, "a.jpg"))
    check("verified on B", one.json.get("same") is True, one)
    check("enrolled on B, found on A", enrol(b, "bob", bob).status == 201 and "bob" in matches(a, bob))
    changed = b.ask("PATCH", "/v1/people/ann", {"name": "Ann", "consent": "form 7"})
    check("changed on B, shown by A", changed.status == 200 and people(a)["ann"]["consent"] == "form 7", changed)
    more = b.send_form("/v1/people/ann/faces", ("force", "1"), ("file", ann, "a.jpg"))
    check("a face added on B", more.status == 201 and people(a)["ann"]["faces"] == 2, more)
    face = a.ask("GET", "/v1/people/ann/faces").json["faces"][0]["id"]
    check("and one deleted on A", a.ask("DELETE", f"/v1/people/ann/faces/{face}").status == 200
          and people(b)["ann"]["faces"] == 1)
    check("deleted on A", a.ask("DELETE", "/v1/people/ann").status == 200)
    check("gone on B", "ann" not in people(b) and "ann" not in matches(b, ann)
          and b.ask("GET", "/v1/people/ann").status == 404)
    check("nobody else is", list(people(b)) == ["bob"] and "bob" in matches(b, bob))


def asked_again(a, b):
    """An enrolment whose answer was not seen, asked again of the other server."""
    answers = [enrol(s, "again-1", photo("3.jpg"), headers={"Idempotency-Key": "e7"}) for s in (a, b, a)]
    check("an Idempotency-Key counts on both", [r.json.get("faces") for r in answers] == [1, 1, 1]
          and ["idempotency-replayed" in r.headers for r in answers] == [False, True, True], answers[1])


def same_key_at_once(a, b):
    """One Idempotency-Key on both servers at the same moment: one of them enrols."""
    for i in range(8):
        answers = []

        def work(s):
            answers.append(enrol(s, f"key-{i}", photo("3.jpg"), headers={"Idempotency-Key": "k"}))

        workers = [threading.Thread(target=work, args=(s,)) for s in (a, b)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        check("one key at once: enrolled, and replayed or refused", {r.status for r in answers} <= {201, 409}
              and 201 in {r.status for r in answers} and people(a)[f"key-{i}"]["faces"] == 1, answers)
        again = enrol(b, f"key-{i}", photo("3.jpg"), headers={"Idempotency-Key": "k"})
        check("and asked again: replayed", again.status == 201 and again.json["faces"] == 1
              and "idempotency-replayed" in again.headers, again)


def both_at_once(a, b):
    """The same people on both servers at the same time: each is there, once, with all faces."""
    answers = []

    def work(s):
        for i in range(6):
            answers.append(enrol(s, f"both-{i}", photo("3.jpg")).status)

    workers = [threading.Thread(target=work, args=(s,)) for s in (a, b)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    check("both enrol the same people at once", set(answers) == {201}, answers)
    check("each is there once, with both faces", [p["faces"] for i, p in people(a).items() if i.startswith("both")] == [2] * 6
          and people(a) == people(b), people(a))


def killed(a, b, again):
    """kill -9 of A while it enrols: what it acknowledged is there on B, whole, and B goes on."""
    acknowledged = []

    def work():
        for i in range(10000):
            try:
                if enrol(a, f"kill-{i}", photo("3.jpg")).status == 201:
                    acknowledged.append(f"kill-{i}")
            except OSError:
                return
            except Exception:  # an answer that was cut short
                return

    worker = threading.Thread(target=work)
    worker.start()
    end = time.monotonic() + 20
    while len(acknowledged) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    a.kill()
    worker.join()
    there = people(b)
    check("nothing acknowledged is lost", len(acknowledged) >= 5 and set(acknowledged) <= set(there), acknowledged)
    began = time.monotonic()
    check("B enrols at once: A holds no lock", enrol(b, "after", photo("13.jpg")).status == 201
          and time.monotonic() - began < 5, time.monotonic() - began)
    a = again()
    check("A starts within 5 s", a.ready_s < 5, a.ready_s)
    check("and knows all", people(a) == people(b) and "after" in matches(a, photo("13.jpg")))
    return a


def restarted(database, a, b):
    """The database goes and comes back: who asks meanwhile waits, and nothing is lost."""
    database.control(database.running[0], "stop")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(enrol(a, "meanwhile", photo("13.jpg"))))
    waiting.start()
    check("templates need no database", a.ask("POST", "/v1/embed", photo("13.jpg"), "image/jpeg").status == 200)
    time.sleep(0.5)
    check("an enrolment waits", not answers, *answers)
    database.control(database.running[0], "start")
    waiting.join()
    check("and is made when the database is back", answers[0].status == 201, answers[0])
    check("seen on B too", "meanwhile" in matches(b, photo("13.jpg")) and "meanwhile" in people(b))


def keys(address, key_file):
    """API keys are files of each server's folder: copied, they are the same; what is made later is not shared."""
    a = start("a-keys", address, key_file, auth=True)
    os.makedirs(path("b-keys"), mode=0o700)
    for name in ("keys.json", "server.key"):
        shutil.copy(path("a-keys", name), path("b-keys", name))
    b = start("b-keys", address, key_file, auth=True)
    check("no second first key is printed", b.key is None)
    b.key = a.key
    check("a key of A is taken by B", b.ask("GET", "/v1/people").status == 200)
    late = a.ask("POST", "/v1/keys", {"name": "late", "roles": "read"}).json["key"]
    check("a key made on A later is not known to B", b.ask("GET", "/v1/people", key=late).status == 401)
    shutil.copy(path("a-keys", "keys.json"), path("b-keys", "keys.json"))
    b.process.send_signal(1)
    time.sleep(0.5)
    check("until its file is copied and read again", b.ask("GET", "/v1/people", key=late).status == 200)
    a.stop()
    b.stop()


def wrong_key(address):
    with open(path("other.key"), "wb") as f:
        f.write(os.urandom(32))
    os.chmod(path("other.key"), 0o600)
    done = call("serve", "--data", path("c"), "--gallery", address, "--key-file", path("other.key"), "--auth", "off",
                "--check-config")
    check("a server with another gallery key does not start", done.returncode == 3 and "key" in done.errors, done.errors)
    check("and does not tell the database's password", "not-to-be-shown" not in done.errors + done.text)


def measured(address):
    """`bench gallery` makes people and deletes them: not in a gallery that has any."""
    def bench(name):
        return call("bench", "gallery", "-g", f"{address}?gallery={name}", "--plain", "--count", "20", "--dim", "64", "--singles", "2",
                    "--probes", "4", "--deletions", "1", "--dir", path())
    first, second = bench("measured"), bench("measured")
    check("an empty gallery is measured", first.returncode == 0 and "2 of 2 mates" in first.text, first.text + first.errors)
    check("one with people is left alone", second.returncode != 0 and "has 21 people" in second.errors
          and "not-to-be-shown" not in second.errors, second.errors)


def main():
    if not has_photos:
        skip("two servers: no photos at ../shared/testdata")
        finish()
    try:
        database = Servers()
    except Skip as reason:
        skip(f"two servers: {reason}")
        finish()
    # A name, so that it is looked up again after a restart, with few system calls left.
    address, key_file = database.start("one").replace("127.0.0.1", "localhost"), path("gallery.key")
    with open(key_file, "wb") as f:
        f.write(os.urandom(32))
    os.chmod(key_file, 0o600)
    a, b = start("a", address, key_file), start("b", address, key_file)
    check("both are ready", all(s.ask("GET", "/readyz").status == 200 for s in (a, b)))
    seen(a, b)
    asked_again(a, b)
    same_key_at_once(a, b)
    both_at_once(a, b)
    a = killed(a, b, lambda: start("a", address, key_file))
    restarted(database, a, b)
    for s in (a, b):
        s.stop()
    keys(address, key_file)
    wrong_key(address)
    measured(address)
    database.close()
    finish()


main()
