#!/usr/bin/env python3
"""Writes files as C, to be a part of a program.

embed.py OUTPUT FILE...              the table of the page at /ui (apps/server/ui.h): index.html becomes "/ui/", docs.html "/docs"
embed.py --text NAME OUTPUT FILE     one text, which ends with a zero: const char NAME[]
embed.py --table NAME OUTPUT FILE... names and texts of several: const char *const NAME[][2], NULL at its end
"""
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def numbers(data):
    return ",\n".join(", ".join(map(str, data[k:k + 24])) for k in range(0, len(data), 24))


def page(names):
    rows, arrays = [], []
    for i, name in enumerate(names):
        path = pathlib.Path(name)
        data = path.read_bytes()
        arrays.append(f"static const unsigned char file_{i}[] = {{\n{numbers(data)}}};\n")
        route = {"index.html": "/ui/", "docs.html": "/docs"}.get(path.name, "/ui/" + path.name)
        digest = hashlib.sha256(data).hexdigest()[:16]
        rows.append(f'    {{"{route}", "{TYPES[path.suffix]}", "\\"{digest}\\"", file_{i}, sizeof file_{i}}}')
    return ("#include \"server/ui.h\"\n\n" + "\n".join(arrays) + "\nconst srv_ui_file srv_ui_files[] = {\n"
            + ",\n".join(rows) + "};\nconst size_t srv_ui_file_count = sizeof srv_ui_files / sizeof srv_ui_files[0];\n")


def text(name, path):
    data = pathlib.Path(path).read_bytes()
    if max(data) > 127:
        sys.exit(f"{path}: not plain ASCII")
    return f"extern const char {name}[];\nconst char {name}[] = {{\n{numbers(data + bytes(1))}}};\n"


def table(name, paths):
    arrays, rows = [], []
    for i, path in enumerate(paths):
        arrays.append(f"static const char text_{i}[] = {{\n{numbers(pathlib.Path(path).read_bytes() + bytes(1))}}};\n")
        rows.append(f'    {{"{pathlib.Path(path).stem}", text_{i}}},\n')
    return (f"#include <stddef.h>\n\n{''.join(arrays)}\nextern const char *const {name}[][2];\n"
            f"const char *const {name}[][2] = {{\n{''.join(rows)}    {{NULL, NULL}}}};\n")


arguments = sys.argv[1:]
if arguments[0] == "--text":
    name, output, source = arguments[1:]
    made = text(name, source)
elif arguments[0] == "--table":
    name, output, *sources = arguments[1:]
    made = table(name, sources)
else:
    output, *sources = arguments
    made = page(sources)
with open(output, "w") as f:
    f.write("/* Made by tools/embed.py. */\n" + made)
