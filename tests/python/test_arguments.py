"""Arguments that make no sense: a ValueError that begins with the argument's name, before any work is done."""
import copy
import pickle
import time

import numpy as np
import pytest

import uniface
from conftest import photo_paths

POINTS = np.array([[38, 51], [73, 51], [56, 71], [41, 92], [70, 92]], np.float32)
PIXELS = np.zeros((50, 60, 3), np.uint8)


def refused(call, argument):
    with pytest.raises(uniface.exceptions.InvalidArgument) as caught:
        call()
    assert str(caught.value).startswith(f"{argument}: got "), caught.value


@pytest.mark.parametrize("argument, value", [
    ("device", None), ("device", 5), ("threads", "2"), ("threads", -1), ("batch", "3"), ("batch", 1.5), ("batch", 0),
    ("flip", "x")])
def test_options_of_embedders(fp32, argument, value):
    refused(lambda: uniface.models.FaceEmbedder(fp32._handle, **{argument: value})._prepare(), argument)


@pytest.mark.parametrize("argument, value", [
    ("size", "x"), ("size", 1.5), ("size", 10 ** 12), ("size", -2), ("score_threshold", 2), ("score_threshold", -0.5),
    ("score_threshold", float("nan")), ("score_threshold", "x"), ("nms_threshold", [])])
def test_options_of_detectors(detector, argument, value):
    refused(lambda: uniface.models.FaceDetector(detector._handle, **{argument: value}), argument)


@pytest.mark.parametrize("value", [float("nan"), "x", None, -1, 2])
def test_thresholds(fp32, value):
    refused(lambda: fp32.threshold(value), "far")


@pytest.mark.parametrize("argument, value", [
    ("detector", "x"), ("embedder", 5), ("device", None), ("batch", True), ("batch", 1.5), ("max_pixels", "x"),
    ("max_faces", -1)])
def test_options_of_pipelines(fp32, argument, value):
    refused(lambda: uniface.Pipeline(**{"embedder": fp32, argument: value}), argument)


def test_sources_and_progress_of_pipelines(fp32, detector):
    refused(lambda: uniface.Pipeline(embedder=detector), "embedder")
    pipeline = uniface.Pipeline(embedder=fp32, max_faces=np.int64(3))
    for sources in (None, 5, b"abc"):
        refused(lambda: pipeline.run(sources), "sources")
    refused(lambda: pipeline.run([], progress=5), "progress")


@pytest.mark.parametrize("value", [None, 5, [], np.zeros(3)])
def test_paths(fp32, tmp_path, value):
    for call in (uniface.Image.from_path, uniface.Image(PIXELS).save, fp32.save, uniface.import_model,
                 lambda path: uniface.Gallery.open(path, plain=True)):
        refused(lambda: call(value), "path")
    refused(lambda: uniface.load_model(value), "model")
    refused(lambda: uniface.load_model(""), "model")


def test_pictures_and_crops():
    photo = photo_paths("lfw", 1)[0]
    for argument, value in (("min_side", "x"), ("min_side", -1), ("max_pixels", 0), ("max_pixels", None)):
        refused(lambda: uniface.Image.from_path(photo, **{argument: value}), argument)
    for size in (None, "ab", 160.5, (1.5, 2), (1, 2, 3), (0, 5), True, (True, 5)):
        refused(lambda: uniface.preprocess.resize_and_normalize(PIXELS, size), "target_size")
    assert uniface.preprocess.resize_and_normalize(PIXELS, np.int64(7)).shape == (7, 7, 3)
    for size in (True, 1.5, None, 0):
        refused(lambda: uniface.alignment.align(PIXELS, POINTS, size), "size")


def test_faces(fp32):
    for faces in (None, 5, [1, 2], POINTS):
        refused(lambda: fp32.embed_faces(PIXELS, faces), "faces")


@pytest.mark.parametrize("argument, value", [
    ("id", 5), ("id", None), ("id", "a\0b"), ("metadata", {"a": object()}), ("consent", 5), ("purpose", 5),
    ("collection", 5), ("source", 5), ("quality", "x"), ("quality", float("nan")), ("expires", "x"), ("expires", -1)])
def test_enrolments(fp32, tmp_path, argument, value):
    with uniface.Gallery.open(tmp_path / "g.ufg", create=True, plain=True) as gallery:
        with pytest.raises(uniface.exceptions.InvalidArgument, match=f"^{argument}: "):
            gallery.enroll(**{"id": "ada", "templates": np.ones(128), "embedder": fp32, argument: value})
        assert gallery.stats().people == 0


@pytest.mark.parametrize("argument, value", [
    ("threshold", "x"), ("threshold", float("nan")), ("top_k", 1.5), ("top_k", 0), ("fpir", "x"), ("metadata", 5),
    ("collection", 5), ("purpose", 5), ("min_score", "x")])
def test_searches(fp32, tmp_path, argument, value):
    with uniface.Gallery.open(tmp_path / "g.ufg", create=True, plain=True) as gallery:
        gallery.enroll("ada", np.ones(128), fp32)
        refused(lambda: gallery.identify(np.ones(128), fp32, **{"threshold": 0.5, argument: value}), argument)
        assert gallery.identify(np.ones(128), fp32, threshold=0.5, top_k=np.int64(2))[0].id == "ada"
        refused(lambda: gallery.delete(5), "id")
        refused(lambda: gallery.verify(5, np.ones(128), fp32), "id")
        refused(lambda: gallery.verify("ada", np.ones(128), fp32, collection=5), "collection")
        refused(lambda: gallery.people(5), "collection")
        assert gallery.enroll("eve", np.ones(128), fp32, expires=time.time() + 86400)


@pytest.mark.parametrize("argument, value", [
    ("passphrase", 5), ("actor", 5), ("threads", "x"), ("threads", -1), ("create", "yes"), ("key_file", 5)])
def test_opening_galleries(tmp_path, argument, value):
    refused(lambda: uniface.Gallery.open(tmp_path / "g.ufg", **{"create": True, "plain": True, argument: value}), argument)
    assert not (tmp_path / "g.ufg").exists()


def test_measuring_and_calibrating(fp32, detector, tmp_path):
    refused(lambda: uniface.metrics.evaluate_model_accuracy(fp32, None), "pairs")
    refused(lambda: uniface.verification.verify(PIXELS, PIXELS, detector, fp32, threshold="x"), "threshold")
    load = uniface.datasets.load_calibration_data
    refused(lambda: load(5), "folder")
    refused(lambda: load(tmp_path, detector=5), "detector")
    with pytest.raises(uniface.exceptions.NotFound, match="is no folder"):
        load(tmp_path / "none")
    with pytest.raises(uniface.exceptions.NotFound, match="no pictures"):
        load(tmp_path)
    quantize, prune = uniface.optimization.quantize_model, uniface.optimization.prune
    refused(lambda: quantize(fp32, uniface.Precision.FP16, min_agreement="x"), "min_agreement")
    for argument, value in (("keep", "x"), ("keep", 2), ("sparsity", float("nan")), ("min_agreement", 2)):
        refused(lambda: prune(fp32, **{argument: value}), argument)


def test_paths_to_calibrate_with(detector):
    small = uniface.optimization.quantize_model(detector, uniface.Precision.INT8, photo_paths("lfw", 8),
                                                range_method="mse", min_agreement=-1)
    assert small.precision == "int8"


def test_lists_of_numbers_are_one_picture(detector, fp32):
    image = uniface.Image.from_path(photo_paths("lfw", 1)[0])
    want = detector.detect(image)
    got = detector.predict(image.to_numpy().tolist())
    assert isinstance(got, uniface.Faces) and np.array_equal(got.rows, want.rows)
    assert len(detector.predict([image, image])) == 2


def test_engines_can_be_sent_to_other_processes(fp32, crops):
    engine = uniface.runtime.InferenceEngine(fp32, threads=1)
    for other in (pickle.loads(pickle.dumps(engine)), copy.deepcopy(engine)):
        assert np.array_equal(other.predict(crops[:2]), engine.predict(crops[:2]))
