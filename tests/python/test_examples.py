"""The examples do what they say, on real photos."""
import re
import shutil
import subprocess

import numpy as np
import pytest

import uniface
from conftest import ROOT, SHARED, photo_paths, run_python

EXAMPLES = ROOT / "bindings" / "python" / "examples"


def example(store, name, *args, status=0, env=None):
    got, text = run_python(EXAMPLES / name, *args,
                           env={"UNIFACE_MODELS": str(store), "UNIFACE_GALLERY_PASSPHRASE": "long enough", **(env or {})})
    assert got == status, text
    return text


@pytest.fixture(scope="module")
def models(store):
    return store, ("--embedder", "large_accuracy_model")


@pytest.fixture
def two_folders(tmp_path):
    photos = photo_paths("lfw", 56)
    for name, part in (("a", photos[:40]), ("b", photos[40:])):
        (tmp_path / name).mkdir()
        for photo in part:
            shutil.copy(photo, tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def test_verify(models):
    store, embedder = models
    neutral, smiling, other = photo_paths("london", 3)
    assert "the same person" in example(store, "verify_photos.py", neutral, smiling, "--threshold", 0.4, *embedder)
    assert "different persons" in example(store, "verify_photos.py", neutral, other, "--threshold", 0.4, *embedder,
                                          status=1)
    assert "uniface calibrate" in example(store, "verify_photos.py", neutral, other, *embedder, status=1)


def test_search(models, tmp_path):
    store, embedder = models
    photos = photo_paths("london", 12)
    for photo in photos[1:]:
        shutil.copy(photo, tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    lines = [line for line in example(store, "search_folder.py", photos[0], tmp_path, "--top", 3, *embedder).splitlines()
             if re.match(r"\d\.\d+", line)]
    assert len(lines) == 3 and "001_smiling.jpg" in lines[0] and float(lines[0][:5]) > 0.5


def test_blur(models, tmp_path, detector):
    store, _ = models
    photo = photo_paths("london", 1)[0]
    text = example(store, "blur_faces.py", photo, tmp_path / "out.png")
    assert re.search(r"[1-9] faces blurred", text), text
    before, after = uniface.Image.from_path(photo), uniface.Image.from_path(tmp_path / "out.png")
    assert before.size == after.size and len(detector.detect(after)) == 0
    corner = np.abs(before.to_numpy()[:40, :40].astype(int) - after.to_numpy()[:40, :40])
    assert corner.max() == 0


def test_precisions(models, two_folders):
    store, _ = models
    text = example(store, "compare_precisions.py", "large_accuracy_model", *two_folders)
    rows = {line.split()[0]: [float(n) for n in line.split()[1:]] for line in text.splitlines()
            if line.split() and line.split()[0] in uniface.Precision.__members__}
    assert set(rows) == {"FP32", "FP16", "BF16", "INT8"}
    assert rows["INT8"][0] < 0.35 * rows["FP32"][0] and rows["INT8"][2] > 0.98 and rows["FP16"][3] > 0.999


def test_far_frr(models, tmp_path):
    store, embedder = models
    listing = SHARED / "testdata" / "lfw" / "pairs.tsv"
    if not listing.exists():
        pytest.skip(f"no pairs {listing}")
    lines = listing.read_text().splitlines()
    (tmp_path / "pairs.tsv").write_text("\n".join(lines[::max(1, len(lines) // 60)]) + "\n")
    text = example(store, "far_frr.py", tmp_path / "pairs.tsv", listing.parent / "images", "--plot",
                   tmp_path / "curve.png", *embedder)
    assert "equal error rate" in text and uniface.Image.from_path(tmp_path / "curve.png").width > 300


def test_video(models, tmp_path):
    store, embedder = models
    program = shutil.which("ffmpeg")
    if not program:
        try:
            import imageio_ffmpeg
            program = imageio_ffmpeg.get_ffmpeg_exe()
        except (ImportError, RuntimeError):
            pytest.skip("no ffmpeg")
    photos = photo_paths("london", 4)
    for i, photo in enumerate((photos[1], photos[3])):  # smiling, of two people
        shutil.copy(photo, tmp_path / f"{i}.jpg")
    subprocess.run([program, "-v", "error", "-framerate", "1", "-i", tmp_path / "%d.jpg", "-c:v", "mpeg4", "-q:v",
                    "2", tmp_path / "video.avi"], check=True)
    for name, photo in (("ada", photos[0]), ("bob", photos[2])):
        assert name in example(store, "video_people.py", *embedder, "enrol", tmp_path / "g.ufg", name, photo)
    text = example(store, "video_people.py", *embedder, "identify", tmp_path / "g.ufg", tmp_path / "video.avi",
                   "--fps", 1, "--ffmpeg", program)
    assert re.search(r"0\.0 s  ada", text) and re.search(r"1\.0 s  bob", text), text
