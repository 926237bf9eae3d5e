"""What test programs in Python count, and their closing line."""
import sys

counts = {"passed": 0, "failed": 0, "skipped": 0}


def check(label, ok, *what):
    counts["passed" if ok else "failed"] += 1
    if not ok:
        print(f"FAIL {label}:", *what, flush=True)


def skip(reason):
    counts["skipped"] += 1
    print("SKIP", reason, flush=True)


def end():
    """Prints the closing line and ends the program; 77: everything was skipped."""
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(1 if counts["failed"] else 77 if not counts["passed"] else 0)
