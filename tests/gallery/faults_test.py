"""Faults of galleries: processes killed at any moment, damaged files, full disks.

An outside record of what was acknowledged is kept here; after each kill the gallery opens by itself,
has everybody whose enrolment was acknowledged and nobody whose deletion was. Ends with "N passed, N
failed, N skipped". Usage: faults_test.py GALLERY_WORKER [CYCLES [all]]; "all" flips every byte.
"""
import pathlib
import random
import select
import subprocess
import sys
import tempfile
import time

WORKER = sys.argv[1]
CYCLES = int(sys.argv[2]) if len(sys.argv) > 2 else 50
ALL = len(sys.argv) > 3
UNSUPPORTED = ("no SQLite", "no encryption")


class Failure(Exception):
    pass


class Skip(Exception):
    pass


class Store:
    """A gallery in a folder of its own, with what is known about it."""

    def __init__(self, folder):
        self.path = str(folder / "gallery")
        self.key = str(folder / "key")
        pathlib.Path(self.key).write_bytes(bytes(range(64)))
        self.there = set()   # acknowledged
        self.unsure = set()  # begun, and killed before it was acknowledged

    def run(self, verb, *args, timeout=600):
        done = subprocess.run([WORKER, verb, self.path, self.key, *map(str, args)], timeout=timeout,
                              capture_output=True, text=True)
        wrong = [line for line in done.stdout.splitlines() if line.startswith("wrong")]
        if any(text in line for line in wrong for text in UNSUPPORTED):
            raise Skip("built without SQLite or without libsodium")
        if wrong or done.returncode:
            raise Failure(f"{verb}: exit {done.returncode} {wrong[:3]} {done.stderr[-500:]}")
        return done.stdout.splitlines()

    def follow(self, lines):
        begun = None
        for line in lines:
            what, who, *rest = line.split(" ")
            if what == "wrong":
                if any(text in line for text in UNSUPPORTED):
                    raise Skip("built without SQLite or without libsodium")
                raise Failure(line)
            if what == "?":
                begun = who
            elif what == "failed":
                self.unsure.add(who)
                begun = None
            elif what in "+-":
                self.unsure.discard(who)
                (self.there.add if what == "+" else self.there.discard)(who)
                begun = None
        if begun and begun != "upkeep":
            self.unsure.add(begun)

    def check(self):
        listed = {line.split(" ")[1] for line in self.run("check") if line.startswith("has ")}
        lost, back = self.there - listed - self.unsure, listed - self.there - self.unsure
        if lost or back:
            raise Failure(f"lost {sorted(lost)}, came back {sorted(back)}")
        self.there, self.unsure = listed, set()


def start(store, name, draw):
    return subprocess.Popen([WORKER, "work", store.path, store.key, str(draw.randrange(1 << 60)), name],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_after(workers, seconds):
    """Kills each at its moment and returns its whole lines; the pipes are read meanwhile."""
    ends = {w: time.monotonic() + s for w, s in zip(workers, seconds)}
    said = {w: b"" for w in workers}
    while ends:
        ready, _, _ = select.select([w.stdout for w in ends], [], [], 0.002)
        for w in list(ends):
            if w.stdout in ready:
                chunk = w.stdout.read1(65536)
                said[w] += chunk
                if not chunk:
                    del ends[w]
                    continue
            if time.monotonic() >= ends[w]:
                w.kill()
                del ends[w]
    for w in workers:
        rest, trouble = w.communicate()
        said[w] += rest
        if w.returncode not in (-9, 1) or b"ERROR" in trouble:
            raise Failure(f"exit {w.returncode}: {trouble[-800:]!r}")
    return [said[w].decode().split("\n")[:-1] for w in workers]


def killed_at_any_moment(folder, draw):
    store = Store(folder)
    operations = 0
    for cycle in range(CYCLES):
        names = ["a", "b"] if cycle % 4 == 3 else ["a"]
        workers = [start(store, name, draw) for name in names]
        # Mostly while it works; sometimes while it opens and recovers.
        moments = [draw.choice([0.03, 0.1, 0.4]) * (0.2 + draw.random()) for _ in names]
        for lines in kill_after(workers, moments):
            operations += sum(line[0] in "+-" for line in lines)
            store.follow(lines)
        store.check()
    if operations < CYCLES:
        raise Failure(f"only {operations} operations were acknowledged")
    print(f"{CYCLES} kills, {operations} operations acknowledged")


def damaged(folder, draw, how, people):
    store = Store(folder)
    store.run("make", people)
    files = [store.path, *map(str, pathlib.Path(store.path + "-index").glob("*.ufx"))]
    if people > 2000 and len(files) == 1:
        raise Failure("no snapshot to damage")
    for name in files:
        tries = 0 if ALL and people < 100 else 3000 if ALL else 150 if people < 100 else 25
        last = store.run("damage", name, draw.randrange(1 << 60), tries, how, timeout=7200)[-1]
        count, errors = map(int, last.split(" ")[2:4])
        print(f"{pathlib.Path(name).suffix or 'database'}: {count} times {how}, {errors} errors")


def flipped(folder, draw):
    damaged(folder, draw, "flip", 12)


def flipped_with_snapshot(folder, draw):
    damaged(folder, draw, "flip", 2100)


def cut(folder, draw):
    damaged(folder, draw, "cut", 12)


def cut_with_snapshot(folder, draw):
    damaged(folder, draw, "cut", 2100)


def full_disk(folder, draw):
    for number, size in enumerate((600_000, 1_000_000, 3_000_000)):
        (folder / str(number)).mkdir()
        store = Store(folder / str(number))
        print(store.run("full", size)[-1])


def failed_sync(folder, draw):
    """The system cannot write for a while: whoever was acknowledged is there all the same."""
    probe = ["strace", "-f", "-qq", "-e", "trace=none", "true"]
    try:
        if subprocess.run(probe, capture_output=True).returncode:
            raise Skip("strace may not trace here")
    except FileNotFoundError:
        raise Skip("no strace") from None
    failures = 0
    for number in range(4):
        (folder / str(number)).mkdir()
        store = Store(folder / str(number))
        store.run("make", 1)
        store.there.add("q-0")
        first = draw.randrange(1, 12)
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", str(folder / "trace"), "-e", "trace=fsync,fdatasync", "-e",
             f"inject=fsync,fdatasync:error=EIO:when={first}..{first + 5}",
             WORKER, "persist", store.path, store.key, "40"],
            capture_output=True, text=True, timeout=600)
        lines = done.stdout.splitlines()
        store.follow(lines)
        failures += sum(line.startswith("failed") for line in lines)
        store.check()
    if not failures:
        raise Failure("no write failed")
    print(f"{failures} enrolments failed, none was lost that was acknowledged")


def main():
    passed = failed = skipped = 0
    for test in (killed_at_any_moment, flipped, flipped_with_snapshot, cut, cut_with_snapshot, full_disk,
                 failed_sync):
        seed = random.randrange(1 << 32)
        with tempfile.TemporaryDirectory(prefix="uniface-faults-") as folder:
            try:
                test(pathlib.Path(folder), random.Random(seed))
                passed += 1
            except Skip as reason:
                print(f"SKIP {test.__name__}: {reason}")
                skipped += 1
            except (Failure, subprocess.TimeoutExpired) as problem:
                print(f"FAIL {test.__name__} (seed {seed}): {problem}")
                failed += 1
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 77 if not passed else 0


if __name__ == "__main__":
    sys.exit(main())
