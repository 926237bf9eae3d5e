"""$UNIFACE_TRUSTED_KEYS: only models that are signed by these keys are opened (docs/signing.md)."""
import os
import shutil
import subprocess

import pytest

import uniface
from conftest import run_python

PROGRAM = os.path.join(os.path.dirname(uniface.__file__), "bin", "uniface")
BUILT_IN = os.path.join(os.path.dirname(uniface.__file__), "models", "large_accuracy_model.ufm")


def uniface_command(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def signed(tmp_path):
    """(keys, release 1, release 2) of the embedder that comes with the package."""
    if not os.path.exists(PROGRAM):
        pytest.skip("the package is installed without its program")
    uniface_command("sign", "keygen", "-o", tmp_path / "key")
    for release in (1, 2):
        shutil.copy(BUILT_IN, tmp_path / f"r{release}.ufm")
        uniface_command("sign", tmp_path / f"r{release}.ufm", "--key", tmp_path / "key", "--release", release)
    keys = tmp_path / "keys"
    keys.mkdir()
    shutil.move(tmp_path / "key.pub", keys)
    return keys, tmp_path / "r1.ufm", tmp_path / "r2.ufm"


def test_only_signed_models_and_no_older_ones(signed, monkeypatch):
    keys, old, new = signed
    load = uniface.models.FaceEmbedder.load_optimized
    monkeypatch.setenv("UNIFACE_TRUSTED_KEYS", str(keys))
    with pytest.raises(uniface.exceptions.NotTrusted, match="not signed"):
        uniface.load_model(BUILT_IN)
    load(old)
    load(new)
    assert (keys / "releases").read_text().splitlines()[1].startswith("2 embedder/")
    with pytest.raises(PermissionError, match="release 1"):
        load(old)
    monkeypatch.setenv("UNIFACE_RELEASES", str(keys / "others"))
    load(old)
    monkeypatch.setenv("UNIFACE_TRUSTED_KEYS", str(keys / "no-such-key"))
    with pytest.raises(OSError, match="no-such-key"):
        load(new)


def test_workers_take_over_what_was_checked(signed):
    keys, old, _ = signed
    program = ("import pickle, sys, uniface\n"
               "m = pickle.loads(pickle.dumps(uniface.load_model(sys.argv[1])))\n"
               "print(m.dimension)")
    status, text = run_python("-c", program, old, env={"UNIFACE_TRUSTED_KEYS": str(keys)})
    assert status == 0 and int(text), text
