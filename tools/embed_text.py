#!/usr/bin/env python3
"""Writes text files as a C table of names and texts: embed_text.py OUTPUT SYMBOL FILE..."""
import json
import pathlib
import sys

output, symbol, *names = sys.argv[1:]
with open(output, "w", encoding="ascii") as f:
    f.write(f"/* Made by tools/embed_text.py. */\n#include <stddef.h>\n\n"
            f"extern const char *const {symbol}[][2];\nconst char *const {symbol}[][2] = {{\n")
    for path in map(pathlib.Path, names):
        lines = path.read_text(encoding="ascii").splitlines()
        f.write(f'    {{"{path.stem}",\n')
        f.write("\n".join(f"     {json.dumps(line + chr(10))}" for line in lines) + "},\n")
    f.write("    {NULL, NULL},\n};\n")
