"""Pipelines: order, errors of single pictures, equal to single calls, bounded memory."""
import itertools
import os
import sys

import numpy as np
import pytest

import uniface
from conftest import ROOT, cosines, photo_paths, run_python


@pytest.fixture(scope="module")
def photos():
    return photo_paths("lfw", 60)


def test_equal_to_single_calls(detector, fp32, photos):
    items = list(uniface.Pipeline(detector, fp32, batch=7).run(photos))
    assert [item.source for item in items] == photos
    for item in items[::6]:
        image = uniface.Image.from_path(item.source)
        face = detector.detect(image).main(image)
        assert item.error is None and len(item.faces) == 1 and item.templates.shape == (1, 128)
        assert np.allclose(item.faces[0].box, face.box, atol=0.5)
        assert cosines(item.templates, fp32.embed_faces(image, [face])).min() > 0.999


def test_errors_are_of_single_pictures(detector, fp32, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    uniface.Image(np.zeros((99, 99, 3), np.uint8)).save(tmp_path / "black.png")
    sources = [photos[0], tmp_path / "bad.jpg", "/no/such.jpg", open(photos[1], "rb").read(), b"",
               str(tmp_path / "black.png"), photos[2]]
    seen = []
    items = list(uniface.Pipeline(detector, fp32).run(sources, progress=lambda *at: seen.append(at)))
    assert seen == [(i, 7) for i in range(1, 8)]
    assert [item.error is None for item in items] == [True, False, False, True, False, True, True]
    assert "bad.jpg" in str(items[1].error) and isinstance(items[2].error, OSError)
    assert items[3].source == 3 and items[3].templates.shape == (1, 128)
    assert len(items[5].faces) == 0 and items[5].templates.shape == (0, 128) and items[5].width == 99


def test_crops_faces_only_and_folders(detector, fp32, crops, tmp_path, photos):
    for i, crop in enumerate(crops[:5]):
        uniface.Image(crop).save(tmp_path / f"{i}.png")
    items = list(uniface.Pipeline(embedder=fp32).run(tmp_path))
    assert len(items) == 5 and all(item.faces is None for item in items)
    assert cosines(np.concatenate([item.templates for item in items]), fp32.predict(crops[:5])).min() > 0.9999
    items = list(uniface.Pipeline(detector, max_faces=10).run(photos[0]))
    assert len(items) == 1 and items[0].templates is None and len(items[0].faces) >= 1 and items[0].face_errors == {}
    assert list(uniface.Pipeline(detector).run([])) == []


def test_faces_without_a_template_are_named(detector, photos, tmp_path):
    sys.path.insert(0, str(ROOT / "tests"))
    from dull_embedder import write_dull_embedder
    write_dull_embedder(tmp_path / "dull.onnx")
    dull = uniface.import_model(tmp_path / "dull.onnx", preset="arcface")
    item, = uniface.Pipeline(detector, dull, max_faces=10).run(photos[0])
    assert item.error is None and len(item) == 7 and list(item.face_errors) == list(range(len(item.faces))) != []
    assert "no direction" in str(item.face_errors[0]) and not item.templates.any()
    item, = uniface.Pipeline(detector, dull).run(photos[0])
    assert "no direction" in str(item.error) and item.faces is None and item.face_errors == {}


def test_endless_sources_and_leaving_early(detector, fp32, photos):
    pipeline = uniface.Pipeline(detector, fp32, max_bytes=1, ring=8)
    items = list(itertools.islice(pipeline.run(itertools.cycle(photos)), 50))
    assert len(items) == 50 and all(item.error is None for item in items)
    for item in pipeline.run(photos):
        break
    runs = [pipeline.run(photos[:9]) for _ in range(3)]
    assert [len(list(r)) for r in runs] == [9, 9, 9]


def test_bad_options(detector, fp32):
    for options in ({}, {"detector": detector, "batch": -1}, {"detector": detector, "batch": 0},
                    {"detector": detector, "ring": 3}, {"detector": detector, "max_faces": 5000},
                    {"detector": detector, "threads": "x"}):
        with pytest.raises(ValueError):
            uniface.Pipeline(**options)
    with pytest.raises(uniface.exceptions.DeviceNotFound):
        uniface.Pipeline(detector, fp32, device="GPU:5")
    with pytest.raises(ValueError):
        list(uniface.Pipeline(detector).run([5]))
    with pytest.raises(ValueError):
        uniface.Pipeline(detector).run(b"bytes")

    def sources():
        yield "/no/such.jpg"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(uniface.Pipeline(detector).run(sources()))


def test_memory_stays_flat():
    """The short form of the benchmark, which takes 100,000 pictures: 2 MB in 5,400 are 370 bytes a picture."""
    count = int(os.environ.get("UNIFACE_FLAT_PICTURES", "6000"))
    status, text = run_python(ROOT / "bench" / "python_memory.py", "--pictures", count, "--every", count // 12)
    assert status == 0 and "with templates" in text, text
