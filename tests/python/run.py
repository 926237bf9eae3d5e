#!/usr/bin/env python3
"""Builds the wheel, installs it into a fresh environment and runs the tests beside this file.

usage: run.py WORK-FOLDER [asan] [PYTEST-ARGUMENT...]

With "asan" the extension is built with the address sanitizer, and the tests that call it run with that
preloaded, from a folder instead of a wheel. The environment stays in the work folder for the next time, or where
UNIFACE_TEST_VENV says, to be shared by runs. Ends with "N passed, N failed, N skipped"; where no environment can be
made (no venv, no package index) it says so and skips.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["numpy", "pytest", "pillow", "opencv-python-headless", "matplotlib", "imageio-ffmpeg"]


def end(passed, failed, skipped):
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 77 if not passed else 0)


def skip(reason):
    print(f"SKIP python: {reason}")
    end(0, 0, 1)


def call(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def environment(work):
    place = pathlib.Path(os.environ.get("UNIFACE_TEST_VENV", work / "venv"))
    python = place / "bin" / "python"
    if not python.exists():
        failed, text = call(sys.executable, "-m", "venv", str(place))
        if failed:
            skip(f"no virtual environment: {text.strip().splitlines()[-1]}")
    failed, text = call(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile",
                        *PACKAGES)
    if failed:
        skip(f"the package index cannot be used: {text.strip().splitlines()[-1]}")
    return str(python)


def wheel(work):
    """The path of a wheel of these sources. The build folder is the test's own."""
    failed, text = call(sys.executable, str(ROOT / "tools" / "build-wheel.py"), str(work / "wheel"))
    if failed:
        print(text)
        print("failed: the wheel cannot be built")
        end(0, 1, 0)
    return text.strip().splitlines()[-1].rsplit(": ", 1)[0]


def install(work, python):
    """Builds the wheel and puts it into the environment; its path."""
    path = wheel(work)
    failed, text = call(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
                        "--force-reinstall", path)
    if failed:
        print(text)
        print("failed: the wheel cannot be installed")
        end(0, 1, 0)
    return path


def sanitized(work):
    """(folder to import the package from, runtime to preload): the extension with the address sanitizer."""
    build, stage = work / "asan", work / "asan-package" / "uniface"
    if not (build / "build.ninja").exists():
        options = ["-Db_sanitize=address", "-Db_lundef=false", "--buildtype=debug", "--optimization=1",
                   "-Dprefer_static=true", "-Dpostgres=disabled", "-Dpython_extension=true"]
        failed, text = call("meson", "setup", str(build), str(ROOT), f"-Dtest_python={sys.executable}", *options)
        if failed:
            print(text)
            end(0, 1, 0)
    extension = "bindings/python/_native.abi3.so"
    failed, text = call("ninja", "-C", str(build), extension)
    if failed:
        print(text)
        print("failed: the extension cannot be built with the address sanitizer")
        end(0, 1, 0)
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(ROOT / "bindings" / "python" / "uniface", stage, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(build / extension, stage)
    runtime = call(os.environ.get("CC", "gcc"), "-print-file-name=libasan.so")[1].strip()
    return str(stage.parent), runtime


def counts(report):
    """(passed, failed, skipped) of pytest's report, each skip printed with its reason."""
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    for case in suite.iter("testcase"):
        for skipped in case.iter("skipped"):
            print(f"SKIP {case.get('name')}: {skipped.get('message')}")
    total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    return total - skipped - failed, failed, skipped


def main():
    if sys.version_info < (3, 10):
        skip("the package wants Python 3.10 or later")
    work = pathlib.Path(sys.argv[1]).resolve() / "python-test"
    work.mkdir(parents=True, exist_ok=True)
    python = environment(work)
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    arguments = sys.argv[2:]
    if arguments[:1] == ["asan"]:
        # Leaks are looked for by a test of their own: Python itself keeps memory to its end.
        folder, runtime = sanitized(work)
        env.update(PYTHONPATH=folder, LD_PRELOAD=runtime, UNIFACE_FUZZ_CALLS="1000",
                   ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0")
        # Left out: what looks at memory or the clock, what starts processes by the dozen, whole quantisations and pipelines.
        slow = ("leaked", "flat", "int8", "install", "userland", "examples", "exit_with", "control_c", "pipeline",
                "multiprocessing", "prune", "microseconds")
        arguments = ["-k", " and ".join(f"not {name}" for name in slow), *arguments[1:]]
    else:
        env["UNIFACE_TEST_WHEEL"] = install(work, python)
    report = work / "report.xml"
    report.unlink(missing_ok=True)
    status = subprocess.run([python, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                             f"--junitxml={report}", str(HERE), *arguments], cwd=work, env=env)
    if not report.exists():
        print(f"failed: pytest ended with {status.returncode} and no report")
        end(0, 1, 0)
    end(*counts(report))


if __name__ == "__main__":
    main()
