#!/usr/bin/env python3
"""What a machine does to a server: no descriptors, no disk, no memory, files that go or change, signals at any moment.

usage: faults_test.py UNIFACE
"""
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from serving import Server, check, environment, finish, path, png, program, root, skip

FACE = path("face.png")
subprocess.run([sys.executable, os.path.join(root, "tools", "draw_person.py"), "1", "1", FACE], check=True)
with open(FACE, "rb") as f:
    FACE = f.read()


def enroll(s, person):
    return s.send_form("/v1/people", ("id", person), ("force", "1"), ("file", FACE, "a.png"))


def people(s):
    return {p["id"] for p in s.ask("GET", "/v1/people?limit=1000").json["people"]}


def limited(kind, soft, *flags):
    """A server under a soft limit, which it inherits from this process."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        return Server(*flags, data="limited")
    finally:
        resource.setrlimit(kind, before)


def connections(s, count):
    held = []
    for _ in range(count):
        try:
            held.append(socket.create_connection(("127.0.0.1", s.port), timeout=5))
        except OSError:
            break
    return held


def open_files(s):
    return len(os.listdir(f"/proc/{s.process.pid}/fd"))


def limit_of(s):
    with open(f"/proc/{s.process.pid}/limits") as f:
        return int(next(line for line in f if line.startswith("Max open files")).split()[3])


def few_files():
    s = limited(resource.RLIMIT_NOFILE, 100)
    check("the soft limit on files is raised", limit_of(s) > 100, limit_of(s))
    s.stop()
    child = os.fork()  # who lowers a hard limit cannot raise it again
    if child:
        check("no descriptors: all of it", os.waitpid(child, 0)[1] == 0)
        return
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        s = Server(data="few")
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        held = []
        for _ in range(4):  # more connections than the server may open files, though not than this process
            held += connections(s, 70 - len(held))
            time.sleep(0.2)
        most = open_files(s)
        for c in held:
            c.close()
        time.sleep(0.5)
        alive = s.ask("GET", "/healthz").status == 200
        ended = s.stop()[0] == 0
        with open(path("server.log")) as f:
            warned = "may open 100 files" in f.read()
        print(f"of 100 files {most} were open; alive {alive}, warned {warned}")
        status = 0 if most < 100 and alive and ended and warned else 2
    finally:
        os._exit(status)


def full_disk():
    """Where a file system may be mounted, one of 3 MB; elsewhere a limit on the sizes of files, which is an error like others."""
    os.makedirs(path("full"))
    small = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path("full")], capture_output=True).returncode == 0
    s = Server(data="full/data")
    unlimited = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)
    try:
        there = [p for p in ("a", "b") if enroll(s, p).status == 201]
        check("enrolled before", there == ["a", "b"])
        if not small:
            most = os.path.getsize(path("full", "data", "gallery.ufg-wal")) + 100_000
            resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (most, unlimited[1]))
        for i in range(300):
            refused = enroll(s, f"p{i}")
            if refused.status != 201:
                break
            there.append(f"p{i}")
        check("no space is 507", refused.status == 507 if small else refused.status in (500, 507), refused)
        check("and again", enroll(s, "again").status == refused.status)
        found = s.ask("POST", "/v1/identify?threshold=0.5", FACE, "image/png")
        check("who is there is found", found.status == 200 and found.json["faces"][0]["matches"], found)
        check("all are listed", people(s) == set(there), people(s) ^ set(there))
        if small:
            subprocess.run(["mount", "-o", "remount,size=30m", path("full")], check=True)
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, unlimited)
        check("with space, it goes on by itself", enroll(s, "late").status == 201)
        there.append("late")
        s.kill()
        s = Server(data="full/data")
        check("nobody is lost", people(s) == set(there), people(s) ^ set(there))
    finally:
        s.stop()
        if small:
            subprocess.run(["umount", path("full")])


def folder_goes():
    s = Server(data="goes")
    check("enrolled", enroll(s, "a").status == 201)
    os.rename(path("goes"), path("gone"))
    check("moved away: nothing is acknowledged", enroll(s, "b").status == 500)
    check("but read", people(s) == {"a"})
    os.symlink(path("elsewhere"), path("goes"))
    os.makedirs(path("elsewhere"))
    check("a link to an empty folder: neither", enroll(s, "c").status == 500)
    os.remove(path("goes"))
    os.rename(path("gone"), path("goes"))
    check("back: as before", enroll(s, "d").status == 201)
    shutil.copy(path("goes", "gallery.ufg"), path("goes", "copy"))
    os.replace(path("goes", "copy"), path("goes", "gallery.ufg"))
    check("replaced by a copy: nothing is acknowledged", enroll(s, "e").status == 500)
    check("the server lives", s.ask("GET", "/healthz").status == 200)
    s.kill()


def model_is_written_to():
    for name in ("detector", "embedder"):
        done = subprocess.run([program, "models", "path", name], capture_output=True, text=True, env=environment)
        source = done.stdout.strip() if done.returncode == 0 else os.path.join(
            root, "models", "detector.ufm" if name == "detector" else "large_accuracy_model.ufm")
        shutil.copy(source, path(name + ".ufm"))
    flags = ["--detector", path("detector.ufm"), "--embedder", path("embedder.ufm"), "--models", path()]
    s = Server(*flags, data="written")
    first = s.ask("POST", "/v1/embed", FACE, "image/png")
    check("embedded", first.status == 200 and len(first.json["faces"]) == 1, first)
    for name in ("detector.ufm", "embedder.ufm"):
        os.utime(path(name), (1, 1))
    touched = s.ask("POST", "/v1/embed", png(200, 320), "image/png")
    check("models with a new time: a picture of another shape", touched.status == 200, touched)
    for name in ("detector.ufm", "embedder.ufm"):
        os.truncate(path(name), 0)
    again = s.ask("POST", "/v1/embed", FACE, "image/png")
    check("models that were cut: the same answer, or an error", again.status == 500 or again.json == first.json, again)
    other = s.ask("POST", "/v1/embed", png(320, 100), "image/png")
    check("another shape, which reads the detector again: an error", other.status == 500, other)
    broken = s.ask("PUT", "/v1/models/embedder", {"name": "embedder"})
    check("and not loaded again", broken.status == 409, broken)
    check("the server lives after it", s.ask("GET", "/healthz").status == 200)
    status, _ = s.stop()
    check("and ends well", status == 0, status)


def little_memory():
    s = limited(resource.RLIMIT_AS, 400 << 20, "--threads", 2)  # not as many as there are cores
    held = connections(s, 300)  # each would have a thread with a stack of its own
    for c in held:
        c.close()
    time.sleep(0.5)
    check("no memory for threads: it lives", s.process.poll() is None and s.ask("GET", "/healthz").status == 200)
    status, _ = s.stop()
    check("and ends", status == 0, status)


def seen_in(s, patterns):
    """Which of the patterns stand anywhere in the server's memory; None: it may not be read."""
    found = set()
    try:
        with open(f"/proc/{s.process.pid}/maps") as maps, open(f"/proc/{s.process.pid}/mem", "rb", 0) as memory:
            for line in maps:
                first, last = (int(x, 16) for x in line.split()[0].split("-"))
                try:
                    memory.seek(first)
                    data = memory.read(last - first)
                except (OSError, OverflowError, ValueError):  # what is no memory, such as vsyscall
                    continue
                found |= {p for p in patterns if p in data}
    except PermissionError:
        return None
    return found


def secrets():
    """Of a person who was deleted, and of the key's file, nothing is in memory."""
    s = Server(data="secrets")
    faces = s.ask("POST", "/v1/embed", FACE, "image/png").json["faces"]
    vector = next(v for v in faces[0].values() if isinstance(v, list) and len(v) > 64)
    numbers = struct.pack(f"<{len(vector)}f", *vector)
    check("enrolled, found", enroll(s, "a").status == 201
          and s.ask("POST", "/v1/identify?threshold=0.5", FACE, "image/png").json["faces"][0]["matches"])
    s.send_form("/v1/verify", ("id", "a"), ("image", FACE, "a.png"))
    s.ask("POST", "/v1/compare", {"a": vector, "b": vector})
    check("deleted", s.ask("DELETE", "/v1/people/a").status == 200)
    with open(path("secrets", "gallery.key"), "rb") as f:
        key = f.read()
    patterns = [numbers[i:i + 16] for i in range(0, len(numbers), len(numbers) // 128 * 16)] + [key[:16], key[-16:]]
    found = seen_in(s, patterns)
    if found is None:
        skip("memory of the server: it may not be read here")
    else:
        check("nothing is left in memory", not found, f"{len(found)} of {len(patterns)} patterns")
    s.stop()


def signals():
    for number in (signal.SIGTERM, signal.SIGINT):
        for delay in (0, 0.01, 0.02, 0.04, 0.08, 0.16):
            p = subprocess.Popen([program, "serve", "--data", path("signals"), "--auth", "off", "--listen", "127.0.0.1:0"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            time.sleep(delay)
            p.send_signal(number)
            try:
                status = p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                status = p.wait()
            check(f"{number.name} after {delay} s", status in (0, -number), status)
    s = Server(data="signals")
    for _ in range(5):
        s.process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    check("five SIGHUPs", s.ask("GET", "/healthz").status == 200)
    s.process.send_signal(signal.SIGTERM)
    status, _ = s.stop(signal.SIGTERM)
    check("two SIGTERMs", status == 0, status)


for part in (few_files, full_disk, folder_goes, model_is_written_to, little_memory, secrets, signals):
    part()
finish()
