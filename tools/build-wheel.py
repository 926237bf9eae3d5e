#!/usr/bin/env python3
"""Builds dist/uniface-VERSION-cp310-abi3-PLATFORM.whl: the Python package with the C library and the
command line inside.

usage: build-wheel.py [BUILD-FOLDER [MESON-OPTION...]]      (default build-wheel; `make wheel`)

Libraries for pictures, XML, SQLite and encryption are linked in from Debian's archives, so that the
wheel needs nothing but libc; libpq has no complete archive, so galleries in PostgreSQL are left out.
The platform's name says which glibc it needs: the newest version among the symbols that were linked.
Pillow is declared although the package never imports it: services in the field import it beside uniface
and name everything else in their requirements.txt, so it must come with us.
A wheel is a zip file with a list of its files: no package of Python is needed to write one.
"""
import base64
import hashlib
import os
import pathlib
import platform
import re
import subprocess
import sys
import sysconfig
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bindings" / "python" / "uniface"
MAX_BYTES = 6_000_000  # besides the models
ALLOWED = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
           "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

METADATA = """Metadata-Version: 2.1
Name: uniface
Version: {version}
Summary: Face biometrics: find faces, turn them into templates, compare and search them
License: Apache-2.0
Requires-Python: >=3.10
Requires-Dist: numpy>=1.21
Requires-Dist: pillow
Classifier: Programming Language :: Python :: 3
Classifier: Operating System :: POSIX :: Linux
Classifier: Typing :: Typed
Description-Content-Type: text/markdown

{description}"""
WHEEL = """Wheel-Version: 1.0
Generator: uniface build-wheel
Root-Is-Purelib: false
Tag: cp310-abi3-{platform}
"""
ENTRY_POINTS = "[console_scripts]\nuniface = uniface.__main__:main\n"


def version():
    text = (PACKAGE / "__init__.py").read_text()
    return re.search(r'^__version__ = "(.+)"$', text, re.M).group(1)


def compile_parts(build, options):
    """The extension and the program, without symbols."""
    if not (build / "build.ninja").exists():
        # Servers are for machines; their libraries cannot all be linked statically.
        subprocess.run(["meson", "setup", build, "-Dprefer_static=true", "-Dpostgres=disabled",
                        "-Dserver=disabled", "-Dgnutls=disabled", "-Dcurl=disabled", "-Dpython_extension=true",
                        f"-Dtest_python={sys.executable}", *options],
                       cwd=ROOT, check=True)
    parts = {"uniface/_native.abi3.so": "bindings/python/_native.abi3.so",
             "uniface/bin/uniface": "apps/cli/uniface"}
    subprocess.run(["ninja", "-C", build, *parts.values()], check=True)
    made = {}
    for name, part in parts.items():
        stripped = build / (part + ".stripped")
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, build / part], check=True)
        made[name] = stripped
    return made


def glibc_needed(binaries):
    """The newest glibc version among the symbols; other libraries than libc are an error."""
    newest = (2, 17)
    for binary in binaries:
        needed = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True)
        others = set(re.findall(r"\(NEEDED\).*\[(.+)\]", needed.stdout)) - ALLOWED
        if others:
            sys.exit(f"{binary} needs {', '.join(sorted(others))}: install the -dev packages that "
                     "have archives (tools/install-deps.sh)")
        symbols = subprocess.run(["readelf", "-V", binary], capture_output=True, text=True, check=True)
        for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", symbols.stdout):
            newest = max(newest, (int(major), int(minor)))
    return newest


def add(wheel, records, name, data, executable=False):
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))  # the same bytes from the same sources
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    wheel.writestr(info, data, compresslevel=9)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    records.append(f"{name},sha256={digest},{len(data)}")


def write_wheel(path, tag, parts):
    records = []
    info = f"uniface-{version()}.dist-info"
    description = (ROOT / "docs" / "python.md").read_text()
    with zipfile.ZipFile(path, "w") as wheel:
        for source in sorted(PACKAGE.iterdir()):
            if source.suffix in (".py", ".pyi", ".typed"):
                add(wheel, records, f"uniface/{source.name}", source.read_bytes())
        for name, part in parts.items():
            add(wheel, records, name, part.read_bytes(), executable=True)
        for model in sorted((ROOT / "models").glob("*.ufm")):
            add(wheel, records, f"uniface/models/{model.name}", model.read_bytes())
        for name, text in (("METADATA", METADATA.format(version=version(), description=description)),
                           ("WHEEL", WHEEL.format(platform=tag)),
                           ("LICENSE", (ROOT / "LICENSE").read_text()),
                           ("entry_points.txt", ENTRY_POINTS)):
            add(wheel, records, f"{info}/{name}", text.encode())
        add(wheel, [], f"{info}/RECORD", "\n".join(records + [f"{info}/RECORD,,", ""]).encode())


def main():
    if sys.version_info < (3, 10):
        sys.exit("the extension is built with Python 3.10 or later")
    build = ROOT / (sys.argv[1] if len(sys.argv) > 1 else "build-wheel")
    parts = compile_parts(build, sys.argv[2:])
    major, minor = glibc_needed(parts.values())
    machine = sysconfig.get_platform().split("-")[-1] or platform.machine()
    tag = f"manylinux_{major}_{minor}_{machine}"
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    path = folder / f"uniface-{version()}-cp310-abi3-{tag}.whl"
    write_wheel(path, tag, parts)
    size = os.path.getsize(path)
    models = sum(m.stat().st_size for m in (ROOT / "models").glob("*.ufm"))
    print(f"{path}: {size} bytes")
    if size - models > MAX_BYTES:
        sys.exit(f"the wheel may have {MAX_BYTES} bytes besides its models, which have {models}")


if __name__ == "__main__":
    main()
