"""Pictures, faces, alignment, verification, metrics."""
import numpy as np
import pytest

import uniface
from conftest import SHARED, cosines, photo_paths


def test_pictures(tmp_path):
    random = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    uniface.Image(random).save(tmp_path / "a.png")
    image = uniface.Image.from_path(tmp_path / "a.png")
    assert image.size == (50, 40) and np.array_equal(image.to_numpy(), random)
    assert np.array_equal(np.asarray(image), random) and "50 x 40" in repr(image)
    again = uniface.Image.from_bytes((tmp_path / "a.png").read_bytes())
    assert np.array_equal(again.to_numpy(), random)
    assert np.array_equal(uniface.Image(image).to_numpy(), random)
    pixels = again.to_numpy()
    del again, image
    assert np.array_equal(pixels, random)  # they live on without the Image
    for name in ("a.jpg", "a.webp"):
        uniface.Image(random).save(tmp_path / name)
        assert uniface.Image.from_path(str(tmp_path / name)).size == (50, 40)
    gray = uniface.Image(random[:, :, 0])
    assert np.array_equal(gray.to_numpy()[:, :, 2], random[:, :, 0])
    assert uniface.Image(np.zeros((3, 4, 4))).to_numpy().shape == (3, 4, 3)


def test_bad_pictures(tmp_path):
    with pytest.raises(OSError, match="missing.jpg"):
        uniface.Image.from_path(tmp_path / "missing.jpg")
    for data in (b"", b"text", b"\xff\xd8\xff\xe0" + b"\0" * 50, b"GIF89a" + b"\0" * 20):
        with pytest.raises(uniface.exceptions.UniFaceError):
            uniface.Image.from_bytes(data)
    uniface.Image(np.zeros((100, 100, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(uniface.exceptions.LimitExceeded):
        uniface.Image.from_path(tmp_path / "a.png", max_pixels=9999)
    with pytest.raises(uniface.exceptions.UniFaceError):
        uniface.Image(np.zeros((4, 4, 3))).save(tmp_path / "a.gif")


def test_faces(detector, fp32):
    image = uniface.Image.from_path(photo_paths("london", 1)[0])
    faces = detector.predict(image)
    assert len(faces) == 1 and faces.boxes.shape == (1, 4) and faces.landmarks.shape == (1, 5, 2)
    face = faces[0]
    assert 0.6 < face.score <= 1 and face.landmarks.shape == (5, 2) and faces.main(image).score == face.score
    left, right = face.landmarks[0], face.landmarks[1]
    assert left[0] < right[0] and "Face at" in repr(faces)
    quality = uniface.detection.quality(image, face)
    assert 0 <= quality.total <= 1 and quality.reason == ""
    template = fp32.embed_faces(image, faces)
    crop = uniface.alignment.align(image, face, fp32.input_size, fp32)
    assert cosines(template, fp32.predict(crop)).min() > 0.9999
    assert fp32.embed_faces(image, []).shape == (0, 128)
    by_box = uniface.Face.from_box(*face.box)
    assert by_box.landmarks is None and fp32.embed_faces(image, [by_box]).shape == (1, 128)
    with pytest.raises(ValueError, match="landmarks"):
        uniface.alignment.align(image, by_box)
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        uniface.alignment.align(image, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="coincide"):
        uniface.alignment.align(image, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="size"):
        uniface.alignment.align(image, face, 0)
    with pytest.raises(ValueError, match="faces"):
        fp32.embed_faces(image, [3])


def test_a_crowd(detector):
    path = SHARED / "testdata" / "photos" / "1.jpg"
    if not path.exists():
        pytest.skip(f"no photo {path}")
    faces = detector.clone(size=-1, score_threshold=0.1).detect(uniface.Image.from_path(path))
    assert len(faces) >= 1 and np.all(np.diff(faces.scores) <= 0)
    assert len(faces[:1]) == 1


def test_verify(detector, fp32):
    a, b = photo_paths("london", 2)  # 001 neutral and smiling
    other = photo_paths("london", 4)[3]
    verify = uniface.verification.verify
    same = verify(a, b, detector, fp32, threshold=0.4)
    different = verify(uniface.Image.from_path(a), other, detector, fp32, threshold=0.4)
    assert same.same and same.score > different.score and not different.same and same.far is None
    with pytest.raises(uniface.exceptions.NotCalibrated):
        verify(a, b, detector, fp32)
    with pytest.raises(uniface.exceptions.NoFaceFound):
        verify(a, np.zeros((64, 64, 3), np.uint8), detector, fp32, threshold=0.4)
    assert uniface.verification.similarity([1, 0], [1, 1]) == pytest.approx(0.5 ** 0.5)
    for x, y in (([1, 0], [1, 0, 0]), ([0, 0], [1, 0]), ([np.nan, 0], [1, 0])):
        with pytest.raises(ValueError):
            uniface.verification.similarity(x, y)


# ---- metrics ----

def lfw_pairs(count):
    listing = SHARED / "testdata" / "lfw" / "pairs.tsv"
    if not listing.exists():
        pytest.skip(f"no pairs {listing}")
    images = listing.parent / "images"
    lines = [line.split("\t") for line in listing.read_text().splitlines()]
    pairs = [(images / a, images / b, same.strip() == "1") for a, b, same in lines
             if (images / a).exists() and (images / b).exists()]
    step = max(1, len(pairs) // count)
    return pairs[::step][:count]


def test_accuracy_of_a_model(detector, fp32):
    pairs = lfw_pairs(120)
    found = uniface.metrics.evaluate_model_accuracy(fp32, pairs, detector=detector, folds=5)
    assert found.accuracy > 0.95 and found.eer < 0.05 and 0 < found.threshold < 1
    assert len(found.genuine) + len(found.impostor) == len(pairs)
    assert found.genuine.mean() > found.impostor.mean() + 0.3
    far, frr = uniface.metrics.far_frr(found.genuine, found.impostor, found.threshold)
    assert far.value < 0.1 and frr.value < 0.1 and far.low <= far.value <= far.high
    curve = uniface.metrics.error_curve(found.genuine, found.impostor)
    assert curve.shape[1] == 3 and curve[0, 1] == 1 and np.all(np.diff(curve[:, 0]) >= 0)
    model = fp32.clone()
    copy = uniface.models.load_model
    assert copy is not None
    assert uniface.metrics.calibrate(model, found.genuine, found.impostor) >= 1
    threshold = model.threshold(0.1)
    assert threshold.impostor_trials == len(found.impostor) and threshold.tar > 0.9


def test_metrics_by_hand():
    genuine, impostor = np.linspace(0.5, 1, 101), np.linspace(-0.5, 0.6, 201)
    rate, threshold = uniface.metrics.equal_error_rate(genuine, impostor)
    assert 0.05 < rate < 0.15 and 0.5 < threshold < 0.6
    threshold, tar = uniface.metrics.threshold_at_far(genuine, impostor, 0.1)
    assert (impostor >= threshold).mean() <= 0.1 and tar == pytest.approx((genuine >= threshold).mean())
    scores, same = [0.9, 0.1] * 20, [True, False] * 20
    assert uniface.metrics.accuracy_of_scores(scores, same).accuracy == 1
    for bad in (([0.5], [True]), ([0.5, np.nan], [True, False]), ([0.5, 0.1], [True])):
        with pytest.raises(ValueError):
            uniface.metrics.accuracy_of_scores(*bad)
    with pytest.raises(ValueError):
        uniface.metrics.threshold_at_far(genuine, impostor[:5], 0.001)
    with pytest.raises(ValueError):
        uniface.metrics.evaluate_model_accuracy("model", [])
