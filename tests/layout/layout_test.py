"""The rules of the house: who may include whom, and how long things may get.

Prints every breach, and ends with "N passed, N failed, N skipped". Usage: layout_test.py SOURCE_ROOT
"""
import pathlib
import re
import sys

FLOORS = {"base": 1, "tensor": 2, "kernels": 2, "graph": 3, "backend": 4, "format": 4, "image": 4,
          "model": 5, "index": 5, "optimize": 5, "train": 5, "evaluate": 5, "gallery": 6,
          "monitor": 6, "api": 7}
MAX_LINE, MAX_FUNCTION, MAX_FILE, MAX_PUBLIC_HEADER = 100, 70, 800, 400
INCLUDE = re.compile(r'^\s*#include "([^"]+)"')


def sources(root, *folders):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".c", ".h", ".def"):
                yield path.relative_to(root), path.read_text().split("\n")


def floor_breaches(root):
    for path, lines in sources(root, "src"):
        room = path.parts[1]
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            target = found.group(1).split("/")[0] if found else ""
            if target in FLOORS and target != room and FLOORS[target] > FLOORS[room]:
                yield f"{path}:{number}: {room} (floor {FLOORS[room]}) includes {found.group(1)}"
    for path, lines in sources(root, "include", "apps", "bindings", "examples"):
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if found and found.group(1).split("/")[0] in FLOORS:
                yield f"{path}:{number}: a program or public header includes {found.group(1)}"


def line_breaches(root):
    for path, lines in sources(root, "src", "include", "apps", "bindings", "examples", "tests"):
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE and path.suffix != ".def":
                yield f"{path}:{number}: {len(line)} columns"


def file_breaches(root):
    for path, lines in sources(root, "src", "include", "apps", "bindings", "examples", "tests"):
        limit = MAX_PUBLIC_HEADER if path.parts[0] == "include" else MAX_FILE
        if len(lines) > limit and path.suffix != ".def":
            yield f"{path}: {len(lines)} lines, the limit is {limit}"


def function_breaches(root):
    """A function body is what stands between "{" and "}" in the first column (the house's format)."""
    for path, lines in sources(root, "src", "apps", "bindings", "examples", "tests"):
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start - 1 > MAX_FUNCTION:
                    yield f"{path}:{start}: a function of {number - start - 1} lines"
                start = None


def main():
    root = pathlib.Path(sys.argv[1])
    failed = 0
    checks = (floor_breaches, line_breaches, file_breaches, function_breaches)
    for check in checks:
        breaches = list(check(root))
        for breach in breaches:
            print("failed:", breach)
        failed += bool(breaches)
    print(f"{len(checks) - failed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
