"""What the tests share: networks and photos (skipped where these are absent), a store, crops."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import uniface

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = pathlib.Path(os.environ.get("UNIFACE_SHARED", ROOT.parent / "shared"))
WHEEL = os.environ.get("UNIFACE_TEST_WHEEL")


def network_path(name):
    path = SHARED / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"no network {path}")
    return path


def photo_paths(folder, count):
    paths = sorted((SHARED / "testdata" / folder).rglob("*.jpg"))
    if len(paths) < count:
        pytest.skip(f"no photos in {SHARED / 'testdata' / folder}")
    return [str(p) for p in paths[:count]]


def run_python(*args, cwd=None, env=None, timeout=300):
    """The tests' interpreter on a program; (exit status, output)."""
    done = subprocess.run([sys.executable, "-W", "default", *map(str, args)], cwd=cwd, text=True,
                          env=dict(os.environ, **(env or {})), timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


@pytest.fixture(scope="session")
def fp32():
    """128 numbers, batch of one."""
    return uniface.import_model(network_path("mobilefacenet_foamliu"))


@pytest.fixture(scope="session")
def wide():
    """512 numbers, any batch."""
    return uniface.import_model(network_path("w600k_mbf_int8_dynamic"))


@pytest.fixture(scope="session")
def detector():
    return uniface.import_model(network_path("yunet_n_320"))


@pytest.fixture(scope="session")
def crops(detector, fp32):
    """(24, 112, 112, 3): aligned faces of 24 photos."""
    return aligned(photo_paths("lfw", 24), detector, fp32)


def aligned(paths, detector, embedder, size=112):
    made = []
    for path in paths:
        image = uniface.Image.from_path(path)
        face = detector.detect(image).main(image)
        made.append(uniface.alignment.align(image, face, size, embedder))
    return np.stack(made)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A model store with the names that users write."""
    folder = tmp_path_factory.mktemp("store")
    uniface.import_model(network_path("mobilefacenet_foamliu")).save(folder / "large_accuracy_model.ufm")
    uniface.import_model(network_path("w600k_mbf_int8_dynamic")).save(folder / "quantized_int8_embedder.ufm")
    uniface.import_model(network_path("yunet_n_320")).save(folder / "detector.ufm")
    return folder


def cosines(a, b):
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
