"""Environments with other people's clients, which are run against our server."""
import os
import shutil
import subprocess
import sys


def python_with(folder, *packages):
    """A Python with these packages in a folder that is kept for the next time; None and why where there can be none."""
    place = os.path.join(folder, packages[0].split("=")[0].split("[")[0])
    python, done = os.path.join(place, "bin", "python"), os.path.join(place, "installed")
    wanted = " ".join(packages)
    if os.path.exists(done) and open(done).read() == wanted:
        return python, ""
    shutil.rmtree(place, ignore_errors=True)
    for command in ([sys.executable, "-m", "venv", place],
                    [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile",
                     "--retries", "1", *packages]):
        try:
            made = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as e:
            return None, str(e)
        if made.returncode:
            return None, (made.stderr.strip().splitlines() or ["no venv"])[-1]
    with open(done, "w") as f:
        f.write(wanted)
    return python, ""
