"""What the tests of the command line share: calls, checks, the closing line."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end, skip  # noqa: E402

program = sys.argv[1]
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
shared = os.environ.get("UNIFACE_SHARED", os.path.join(root, "..", "shared"))
folder = tempfile.mkdtemp()
environment = {k: v for k, v in os.environ.items() if not k.startswith("UNIFACE_") or k == "UNIFACE_CPU"}
environment.update(UNIFACE_MODELS=os.path.join(folder, "store"))
SECRET = {"UNIFACE_GALLERY_PASSPHRASE": "correct horse"}


def call(*args, env=None):
    """Runs the program without a terminal, so that nothing can be asked for."""
    done = subprocess.run([program, *map(str, args)], capture_output=True, env=dict(environment, **(env or {})),
                          stdin=subprocess.DEVNULL, timeout=300, start_new_session=True)
    done.text, done.errors = done.stdout.decode(), done.stderr.decode()
    return done


def answer(label, *args, status=0, env=SECRET):
    """The JSON that a call prints; a check that it ended with this status."""
    done = call(*args, "--json", env=env)
    check(label, done.returncode == status, f"exit {done.returncode}: {done.errors}")
    try:
        return json.loads(done.text)
    except ValueError:
        check(label + " prints JSON", False, done.text)
        return {}


def error(label, status, part, *args, env=SECRET):
    """The call fails with this status and says so in one line that contains `part`."""
    done = call(*args, env=env)
    check(label, done.returncode == status and part in done.errors and done.errors.startswith("uniface: "),
          f"exit {done.returncode}: {done.errors}")


def path(*parts):
    return os.path.join(folder, *parts)


def has_signatures():
    """Whether the program was built with libsodium."""
    name = path("probe.key")
    done = call("sign", "keygen", "-o", name)
    for made in (name, name + ".pub"):
        if os.path.exists(made):
            os.remove(made)
    return done.returncode == 0


def small_network(name):
    """An ONNX file, written field by field: y is the positive part of x, four numbers."""
    def number(field, value):
        return bytes([field << 3, value])

    def part(field, *data):
        data = b"".join(data)
        return bytes([field << 3 | 2, len(data)]) + data

    def value(field, called):
        shape = part(2, part(1, number(1, 1)), part(1, number(1, 4)))
        return part(field, part(1, called), part(2, part(1, number(1, 1), shape)))
    node = part(1, part(1, b"x"), part(2, b"y"), part(4, b"Relu"))
    graph = part(7, node, part(2, b"small"), value(11, b"x"), value(12, b"y"))
    with open(name, "wb") as f:
        f.write(number(1, 8) + graph + part(8, number(2, 13)))


def finish():
    shutil.rmtree(folder)
    end()
