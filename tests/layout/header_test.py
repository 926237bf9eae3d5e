#!/usr/bin/env python3
"""One public header compiles by itself: header_test.py INCLUDE HEADER LANGUAGE STANDARD."""
import os
import shutil
import subprocess
import sys

include, header, language, standard = sys.argv[1:]
compiler = shutil.which({"c": "cc", "c++": "c++"}[language])
if not compiler:
    print(f"SKIP header {header}: no {language} compiler")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(77)
done = subprocess.run([compiler, "-x", language, standard, "-Wall", "-Wextra", "-pedantic", "-Werror",
                       "-fsyntax-only", "-I", include, "-"], input=f"#include <{header}>\n", text=True,
                      capture_output=True)
if done.returncode:
    print(f"FAIL {header} as {language}: {done.stderr}")
print(f"{int(not done.returncode)} passed, {int(bool(done.returncode))} failed, 0 skipped")
sys.exit(1 if done.returncode else 0)
