"""Models: the store, loading, saving, quantising, pruning, engines."""
import os
import pickle

import numpy as np
import pytest

import uniface
from conftest import cosines, network_path, photo_paths


def test_names_come_from_the_store(store, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIFACE_MODELS", str(store))
    monkeypatch.chdir(tmp_path)
    assert uniface.store.folder() == str(store)
    assert uniface.store.names() == ["detector", "large_accuracy_model", "quantized_int8_embedder"]
    assert uniface.models.FaceEmbedder.load_pretrained("large_accuracy_model").dimension == 128
    assert uniface.load_model("quantized_int8_embedder.ufm").dimension == 512
    assert isinstance(uniface.models.FaceDetector.load_pretrained(), uniface.models.FaceDetector)
    monkeypatch.delenv("UNIFACE_MODELS")
    monkeypatch.setenv("UNIFACE_CACHE_DIR", "/big/disk")
    assert uniface.store.folder() == "/big/disk/models"
    monkeypatch.delenv("UNIFACE_CACHE_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert uniface.store.folder() == "/somewhere/uniface/models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert uniface.store.folder() == "/home/ada/.local/share/uniface/models"


def test_an_absent_model(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIFACE_MODELS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for load in (uniface.load_model, uniface.models.FaceEmbedder.load_pretrained,
                 uniface.models.FaceEmbedder.load_optimized):
        with pytest.raises(uniface.exceptions.ModelNotFound) as caught:
            load("no_such_model")
        assert isinstance(caught.value, FileNotFoundError)
        assert f"uniface import NETWORK.onnx -o {tmp_path}/no_such_model.ufm" in str(caught.value)


def test_models_come_with_the_package(monkeypatch, tmp_path):
    if not os.environ.get("UNIFACE_TEST_WHEEL"):
        pytest.skip("the package was not installed from a wheel")
    monkeypatch.setenv("UNIFACE_MODELS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, precision in (("large_accuracy_model", "fp32"), ("quantized_int8_embedder", "int8")):
        model = uniface.load_model(name)
        assert model.precision == precision and "LFW" in model.metadata["card.accuracy"]
        assert model.predict(np.zeros((1, 160, 160, 3), np.uint8) + 99).shape == (1, 512)
    assert uniface.load_model("detector").metadata["task"] == "detector"


def test_a_model_of_another_kind(store):
    with pytest.raises(uniface.exceptions.Mismatch, match="is a detector, not a embedder|detector"):
        uniface.models.FaceEmbedder.load_optimized(store / "detector.ufm")
    with pytest.raises(uniface.exceptions.Mismatch):
        uniface.models.FaceDetector.load_optimized(store / "large_accuracy_model.ufm")


def test_damaged_files(tmp_path):
    (tmp_path / "a.ufm").write_bytes(b"UFM\0 nothing behind")
    (tmp_path / "b.onnx").write_bytes(b"")
    for name in ("a.ufm", "b.onnx"):
        with pytest.raises(uniface.exceptions.UniFaceError) as caught:
            uniface.load_model(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(ValueError):
        uniface.load_model("a\0b")
    for name in (5, None, ...):
        with pytest.raises(ValueError, match="wants a path or a name"):
            uniface.runtime.InferenceEngine(name)


def test_facts(fp32, detector):
    assert fp32.metadata["task"] == "embedder" and fp32.precision == "fp32"
    assert len(fp32.id) == 64 and fp32.parameter_count > 900_000 and fp32.size_bytes > 3_900_000
    assert fp32.inputs[0].shape == (1, 3, 112, 112) and fp32.inputs[0].dtype == np.float32
    assert fp32.outputs[0].shape[-1] == 128 and fp32.input_size == 112
    assert "FaceEmbedder" in repr(fp32) and "FaceDetector" in repr(detector)
    with pytest.raises(uniface.exceptions.NotCalibrated):
        fp32.threshold(1e-3)


def test_save_load_pickle_clone(fp32, crops, tmp_path):
    want = fp32.predict(crops[:2])
    uniface.save_model(fp32, tmp_path / "saved.ufm")
    loaded = uniface.load_model(tmp_path / "saved.ufm")
    assert loaded.id == fp32.id and np.array_equal(loaded.predict(crops[:2]), want)
    assert np.array_equal(pickle.loads(pickle.dumps(loaded)).predict(crops[:2]), want)
    # One thread runs pictures one by one, two run them as a batch: sums may be rounded otherwise.
    assert np.abs(fp32.clone(threads=1).predict(crops[:2]) - want).max() < 1e-5
    flipped = fp32.clone(flip=True).predict(crops[:2])
    assert 0.5 < cosines(flipped, want).min() < 0.99999
    with pytest.raises(OSError):
        fp32.save(tmp_path / "no" / "such" / "folder.ufm")
    with pytest.raises(ValueError, match="wants a uniface model"):
        uniface.save_model(5, tmp_path / "x.ufm")


def test_options(store):
    load = uniface.models.FaceEmbedder.load_optimized
    for options in ({"batch": 0}, {"batch": 2000}, {"threads": -1}, {"threads": "x"}):
        with pytest.raises(ValueError):
            load(store / "large_accuracy_model.ufm", **options)
    with pytest.raises(uniface.exceptions.DeviceNotFound, match="CPU"):
        load(store / "large_accuracy_model.ufm", device="GPU:9")
    assert load(store / "large_accuracy_model.ufm", device="auto", threads=1, batch=2).dimension == 128


# ---- smaller models ----

def test_half_precision(fp32, crops):
    for precision, name in ((uniface.Precision.FP16, "fp16"), (uniface.Precision.BF16, "bf16")):
        made = uniface.optimization.quantize_model(fp32, precision=precision)
        assert made.precision == name and made.size_bytes < 0.55 * fp32.size_bytes
        assert cosines(made.predict(crops), fp32.predict(crops)).min() > 0.999
        with pytest.raises(uniface.exceptions.StateError):
            uniface.optimization.quantize_model(made, precision=precision)
        with pytest.raises(uniface.exceptions.NotSupported):
            uniface.optimization.quantize_model(made, precision=uniface.Precision.FP32)
    assert uniface.optimization.quantize_model(fp32, precision=uniface.Precision.FP32).precision == "fp32"


def test_int8_on_real_faces(fp32, detector, crops, tmp_path):
    for i, photo in enumerate(photo_paths("lfw", 64)[24:]):
        os.symlink(photo, tmp_path / f"{i}.jpg")
    data = uniface.datasets.load_calibration_data(tmp_path, detector=detector, limit=32)
    assert len(data) == 32 and data.samples[0].face is not None
    seen = []
    made = uniface.optimization.quantize_model(fp32, precision=uniface.Precision.INT8, calibration_dataset=data,
                                               progress=lambda done, total: seen.append((done, total)))
    assert made.precision == "int8" and made.size_bytes < 0.3 * fp32.size_bytes and len(seen) > 3
    assert cosines(made.predict(crops), fp32.predict(crops)).mean() > 0.99


def test_int8_refuses(fp32, crops):
    quantize = uniface.optimization.quantize_model
    with pytest.raises(uniface.exceptions.NotCalibrated, match="8 calibration pictures"):
        quantize(fp32)
    with pytest.raises(uniface.exceptions.NotCalibrated):
        quantize(fp32, calibration_dataset=crops[:3])
    with pytest.raises(ValueError, match="uniface.Precision"):
        quantize(fp32, precision="int8")
    with pytest.raises(ValueError, match="range_method"):
        quantize(fp32, calibration_dataset=crops, range_method="x")
    with pytest.raises(ValueError, match="calibration_dataset"):
        quantize(fp32, calibration_dataset=7)
    with pytest.raises(ValueError, match="wants a uniface model"):
        quantize("model")

    def stop(done, total):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        quantize(fp32, calibration_dataset=crops, progress=stop)


def test_prune(fp32, crops):
    sparse = uniface.optimization.prune(fp32, sparsity=0.2)
    assert cosines(sparse.predict(crops), fp32.predict(crops)).mean() > 0.9
    with pytest.raises(uniface.exceptions.NotCalibrated):
        uniface.optimization.prune(fp32)
    with pytest.raises(ValueError):
        uniface.optimization.prune(fp32, sparsity=2)


def test_distill_says_what_is_missing(fp32, monkeypatch):
    monkeypatch.setenv("UNIFACE_TRAIN", "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(uniface.exceptions.NotSupported, match="uniface-train"):
        uniface.optimization.distill(fp32, "mobilefacenet", "faces/")
    with pytest.raises(uniface.exceptions.InvalidArgument, match="teacher"):
        uniface.optimization.distill("big", "mobilefacenet", "faces/")


def test_distill(fp32, crops, tmp_path):
    if not os.environ.get("UNIFACE_TRAIN"):
        pytest.skip("uniface-train was not built (oneDNN is not installed)")
    for i, crop in enumerate(crops):
        uniface.Image(crop).save(tmp_path / f"{i}.png")
    told = []
    student = uniface.optimization.distill(
        fp32, "mobilefacenet-0.25x", tmp_path, epochs=2, batch=8, held_out=0, threads=1, rate=0.003,
        progress=lambda done, total: told.append((done, total)))
    assert student.predict(crops).shape == (len(crops), 512)
    assert told and told[-1][0] == told[-1][1] == 6
    assert student.metadata["trained.from"] == "mobilefacenet-0.25x"
    with pytest.raises(uniface.exceptions.InvalidArgument, match="no option"):
        uniface.optimization.distill(fp32, "mobilefacenet", tmp_path, no_such_option=1)
    with pytest.raises(uniface.exceptions.UniFaceError, match="no architecture"):
        uniface.optimization.distill(fp32, "resnet", tmp_path)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        uniface.optimization.distill(fp32, "mobilefacenet-0.25x", tmp_path, epochs=500, batch=8,
                                     threads=1, measure_every=1, progress=stop)


def test_calibration_data(tmp_path):
    with pytest.warns(UserWarning, match="drawn faces"):
        data = uniface.datasets.load_calibration_data()
    assert len(data) == 96 and np.asarray(data.samples[0].image).shape == (160, 160, 3)
    with pytest.raises(uniface.exceptions.NotFound):
        uniface.datasets.load_calibration_data(tmp_path)
    uniface.Image(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="1 calibration pictures left out"):
        assert len(uniface.datasets.load_calibration_data(tmp_path)) == 1


# ---- engines ----

def test_engines(fp32, detector, crops):
    assert "CPU" in uniface.runtime.list_available_devices()
    device = uniface.runtime.list_available_devices()[0]
    assert device.cores >= 1 and device.description
    engine = uniface.runtime.InferenceEngine(fp32)
    assert engine.device == "CPU"
    assert np.array_equal(engine.predict(crops), fp32.predict(crops))
    assert engine.predict(uniface.Image(crops[0])).shape == (1, 128)
    with pytest.raises(uniface.exceptions.DeviceNotFound, match="GPU:77"):
        uniface.runtime.InferenceEngine(fp32, device="GPU:77")
    steps = engine.profile(runs=3)
    assert len(steps) > 20 and sum(s.macs for s in steps) > 100e6 and any(s.time_us > 0 for s in steps)
    faces = uniface.runtime.InferenceEngine(detector).predict(np.zeros((320, 320, 3), np.uint8))
    assert len(faces) == 0


def test_the_network_itself(fp32, crops):
    engine = uniface.runtime.InferenceEngine(fp32, threads=1)
    mean, scale = (np.array(fp32.metadata[k].split(), np.float32) for k in ("input.mean", "input.scale"))
    tensor = ((crops[:1] - mean) * scale).transpose(0, 3, 1, 2)
    (out,) = engine.run(tensor)
    assert cosines(out.reshape(1, -1), fp32.predict(crops[:1])).min() > 0.99999
    for bad in ((tensor[:, :2],), (), (tensor, tensor)):
        with pytest.raises(ValueError):
            engine.run(*bad)


def test_other_networks_run_too():
    model = uniface.import_model(network_path("minifasnet_v2_2.7"))
    assert type(model) is uniface.models.Model
    engine = uniface.runtime.InferenceEngine(model)
    (out,) = engine.predict(np.zeros((1, 3, 80, 80), np.float32))
    assert out.shape == (1, 3)
    assert len(engine.profile(runs=1)) > 5
