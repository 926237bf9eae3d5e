#!/usr/bin/env python3
"""Writes files as a C table (apps/server/ui.h): embed.py OUTPUT FILE...  index.html becomes "/ui/"."""
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

output, *names = sys.argv[1:]
rows, arrays = [], []
for i, name in enumerate(names):
    path = pathlib.Path(name)
    data = path.read_bytes()
    lines = [", ".join(map(str, data[k:k + 24])) for k in range(0, len(data), 24)]
    arrays.append(f"static const unsigned char file_{i}[] = {{\n" + ",\n".join(lines) + "};\n")
    route = "/ui/" + ("" if path.name == "index.html" else path.name)
    digest = hashlib.sha256(data).hexdigest()[:16]
    rows.append(f'    {{"{route}", "{TYPES[path.suffix]}", "\\"{digest}\\"", file_{i}, sizeof file_{i}}}')
with open(output, "w") as f:
    f.write("/* Made by tools/embed.py. */\n#include \"server/ui.h\"\n\n" + "\n".join(arrays))
    f.write("\nconst srv_ui_file srv_ui_files[] = {\n" + ",\n".join(rows) + "};\n")
    f.write("const size_t srv_ui_file_count = sizeof srv_ui_files / sizeof srv_ui_files[0];\n")
