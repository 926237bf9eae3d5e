"""Threads, asyncio, fork, spawn, exits in the middle of work, calls by chance, leaks."""
import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import uniface
from conftest import photo_paths, run_python

pytestmark = [pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
              pytest.mark.filterwarnings("ignore:no calibration pictures:UserWarning")]


def test_threads_share_a_model(fp32, detector, crops):
    want = fp32.predict(crops)
    photo = uniface.Image.from_path(photo_paths("lfw", 1)[0])
    box = detector.detect(photo)[0].box

    def work(number):
        for i in range(6):
            part = slice((number * 3 + i) % 20, (number * 3 + i) % 20 + 3)
            assert np.allclose(fp32.predict(crops[part]), want[part], atol=1e-5)
            assert np.allclose(detector.detect(photo)[0].box, box)
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_the_gil_is_released(fp32, crops):
    """Python goes on while the network runs."""
    batch = np.concatenate([crops] * 8)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (fp32.predict(batch), done.set()))
    thread.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    thread.join()
    assert turns > 20


def test_asyncio(fp32, crops):
    want = fp32.predict(crops)

    async def serve():
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(*(loop.run_in_executor(None, fp32.predict, crop) for crop in crops))
        return np.concatenate(answers)

    assert np.allclose(asyncio.run(serve()), want, atol=1e-5)


# ---- fork and spawn ----

def in_child(work):
    """Runs work() in a forked child; its text. A child that hangs is killed after a minute."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            text = str(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}: {text}"
    return text


def test_fork_makes_engines_anew(fp32, detector, crops):
    want = fp32.predict(crops)
    photo = uniface.Image.from_path(photo_paths("lfw", 1)[0])
    engine = uniface.runtime.InferenceEngine(fp32)
    detector.detect(photo)
    # That the child can end, collecting everything, is part of the test.
    assert in_child(lambda: (np.allclose(fp32.predict(crops), want, atol=1e-5), len(detector.detect(photo)),
                             len(engine.profile(runs=1)) > 5, gc.collect() >= 0)) == "(True, 1, True, True)"
    assert np.array_equal(fp32.predict(crops), want)


def test_fork_while_another_thread_waits(fp32, crops):
    """The lock of an embedder that another thread holds is no lock in the child."""
    batch = np.concatenate([crops] * 20)
    thread = threading.Thread(target=lambda: fp32.predict(batch))
    thread.start()
    time.sleep(0.05)
    text = in_child(lambda: fp32.predict(crops[:1]).shape)
    thread.join()
    assert text == "(1, 128)" or text.startswith("StateError: the model was opened before"), text


def test_galleries_and_pipelines_may_not_be_forked(fp32, crops, tmp_path):
    gallery = uniface.Gallery.open(tmp_path / "g.ufg", create=True, plain=True)
    gallery.enroll("a", fp32.predict(crops[:1]), fp32)
    run = uniface.Pipeline(embedder=fp32).run(photo_paths("lfw", 30))
    next(run)
    assert in_child(gallery.stats).startswith("StateError: the gallery was opened before this process was forked")
    assert in_child(lambda: next(run)).startswith("StateError: the pipeline was opened before")
    path = str(tmp_path / "g.ufg")
    assert in_child(lambda: uniface.Gallery.open(path).stats().people) == "1"
    assert gallery.stats().people == 1 and len(list(run)) == 29


def predict_in_child(arguments):
    model, crops = arguments
    return model.predict(crops)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_multiprocessing(fp32, crops, method):
    want = fp32.predict(crops[:4])
    with multiprocessing.get_context(method).Pool(2) as pool:
        made = pool.map(predict_in_child, [(fp32, crops[i:i + 2]) for i in (0, 2)])
    assert np.allclose(np.concatenate(made), want, atol=1e-5)


# ---- exits ----

EXITS = {
    "a daemon thread predicts": """
threading.Thread(target=lambda: [model.predict(batch) for _ in range(1000)], daemon=True).start()
time.sleep(0.1)
""",
    "many daemon threads": """
for _ in range(8):
    threading.Thread(target=lambda: [model.predict(batch) for _ in range(1000)], daemon=True).start()
time.sleep(0.2)
""",
    "a pipeline is left": """
run = uniface.Pipeline(embedder=model).run(itertools.repeat(photo))
next(run)
""",
    "a daemon thread runs a pipeline": """
threading.Thread(target=lambda: list(uniface.Pipeline(embedder=model).run(itertools.repeat(photo))),
                 daemon=True).start()
time.sleep(0.2)
""",
    "a gallery is left open": """
gallery = uniface.Gallery.open(sys.argv[2] + '/left.ufg', create=True, plain=True)
gallery.enroll('a', model.predict(batch[:1]), model)
threading.Thread(target=lambda: [gallery.identify(model.predict(batch[0])[0], model, threshold=0.5)
                                 for _ in range(10000)], daemon=True).start()
time.sleep(0.1)
""",
    "a quantisation runs": """
threading.Thread(target=lambda: uniface.optimization.quantize_model(model, calibration_dataset=batch,
                 progress=print), daemon=True).start()
time.sleep(0.3)
""",
    "sys.exit in a cycle": """
class Knot: pass
knot = Knot(); knot.self = knot; knot.model = model; knot.engine = uniface.runtime.InferenceEngine(model)
sys.exit(0)
""",
}


@pytest.mark.parametrize("name", EXITS)
def test_exit_with_work_in_flight(store, tmp_path, name):
    program = ("import itertools, sys, threading, time\nimport numpy as np, uniface\n"
               "model = uniface.load_model(sys.argv[1])\nphoto = sys.argv[3]\n"
               "batch = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), np.uint8)\n" + EXITS[name])
    (tmp_path / "program.py").write_text(program)
    for _ in range(2):
        status, text = run_python(tmp_path / "program.py", store / "large_accuracy_model.ufm", tmp_path,
                                  photo_paths("lfw", 1)[0], timeout=120)
        assert status == 0 and "Fatal" not in text and "Traceback" not in text, (status, text)


def test_control_c_stops_a_quantisation(store, tmp_path):
    program = ("import sys, os, signal, threading, numpy as np, uniface\n"
               "signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start jobs that ignore it\n"
               "model = uniface.load_model(sys.argv[1])\n"
               "batch = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), np.uint8)\n"
               "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
               "try:\n    uniface.optimization.quantize_model(model, calibration_dataset=batch)\n"
               "except KeyboardInterrupt:\n    print('stopped')\n")
    (tmp_path / "program.py").write_text(program)
    status, text = run_python(tmp_path / "program.py", store / "large_accuracy_model.ufm")
    assert status == 0 and "stopped" in text, text


# ---- calls by chance ----

def some_value(random, depth=0):
    """Anything that a caller might pass by mistake."""
    shape = tuple(int(n) for n in random.integers(0, 9, random.integers(0, 6)))
    if random.random() < 0.5:
        shape = shape[:3] + (3,)
    kind = random.integers(0, 12)
    if kind < 6:
        dtype = random.choice(["u1", "f4", "f8", "f2", "i4", "i8", "?", "c8", ">f4", "u2", "S3", "O"])
        try:
            array = (random.normal(0.5, 0.6, shape) * random.choice([1, 1, 255])).astype(dtype)
        except (TypeError, ValueError):
            return np.zeros(shape, np.uint8)
        if array.ndim > 1 and random.random() < 0.3:
            array = array[::-1] if random.random() < 0.5 else array.T
        if array.dtype.kind == "f" and random.random() < 0.2 and array.size:
            array.flat[0] = random.choice([np.nan, np.inf, -np.inf])
        return array
    simple = [None, "", "a\0b", b"\xff\xd8", -1, 0, 1 << 40, 2.5, float("nan"), True, ..., {}, object(), "x" * 5000]
    if kind < 10 or depth > 1:
        return simple[random.integers(0, len(simple))]
    return [some_value(random, depth + 1) for _ in range(random.integers(0, 4))]


ALLOWED = (uniface.exceptions.UniFaceError, ValueError, TypeError, OverflowError, OSError, AttributeError)


def test_calls_by_chance(fp32, wide, detector, crops, tmp_path):
    """No call crashes or hangs, whatever it is given; what is refused is refused as it should be."""
    seed = int(os.environ.get("UNIFACE_FUZZ_SEED", "1"))
    random = np.random.default_rng(seed)
    photo = np.ascontiguousarray(crops[0])
    gallery = uniface.Gallery.open(tmp_path / "g.ufg", create=True, plain=True)
    engine = uniface.runtime.InferenceEngine(fp32, threads=1)
    value = lambda: some_value(random)  # noqa: E731
    calls = [
        lambda: fp32.predict(value()), lambda: wide.predict(value()), lambda: detector.predict(value()),
        lambda: fp32.embed_faces(photo, value()), lambda: fp32.embed_faces(value(), []),
        lambda: fp32.embed_faces(photo, uniface.Face.from_box(*random.normal(0, 1e3, 4))),
        lambda: fp32.embed_faces(photo, uniface.Face.from_box(1, 1, 9, 9, 1, random.normal(0, 1e4, (5, 2)))),
        lambda: uniface.Face.from_box(value(), 1, 2, 3), lambda: uniface.Image(value()),
        lambda: uniface.Image.from_bytes(value()), lambda: uniface.Image.from_path(value()),
        lambda: uniface.preprocess.resize_and_normalize(value(), target_size=value()),
        lambda: uniface.preprocess.resize(photo, value()), lambda: uniface.alignment.align(value(), value()),
        lambda: uniface.alignment.align(photo, random.normal(0, 1e5, (5, 2)), 5, value()),
        lambda: uniface.detection.quality(photo, uniface.Face.from_box(*random.normal(0, 1e4, 4))),
        lambda: uniface.verification.similarity(value(), value()), lambda: uniface.load_model(value()),
        lambda: uniface.runtime.InferenceEngine(fp32, device=value()), lambda: engine.run(value()),
        lambda: engine.profile(value(), runs=1), lambda: engine.predict(value()), lambda: fp32.threshold(value()),
        lambda: uniface.optimization.quantize_model(fp32, calibration_dataset=value()),
        lambda: uniface.optimization.prune(fp32, sparsity=value()), lambda: uniface.save_model(value(), tmp_path),
        lambda: gallery.enroll(value(), value(), fp32), lambda: gallery.enroll("a", value(), fp32, metadata=value()),
        lambda: gallery.identify(value(), fp32, top_k=value(), threshold=value()),
        lambda: gallery.verify(value(), value(), fp32), lambda: gallery.delete(value()),
        lambda: gallery.people(value(), value()), lambda: uniface.Gallery.open(value()),
        lambda: uniface.Pipeline(detector, fp32, batch=value(), ring=value()),
        lambda: list(uniface.Pipeline(detector).run(value())), lambda: uniface.datasets.load_calibration_data(value()),
        lambda: uniface.metrics.accuracy_of_scores(value(), value()),
        lambda: uniface.metrics.far_frr(value(), value(), value()),
        lambda: uniface.metrics.error_curve(value(), value(), 100),
        lambda: uniface.metrics.evaluate_model_accuracy(fp32, value()),
    ]
    ended = {"right": 0, "refused": 0}
    count = int(os.environ.get("UNIFACE_FUZZ_CALLS", "3000"))
    for _ in range(count):
        call = calls[random.integers(0, len(calls))]
        try:
            call()
            ended["right"] += 1
        except ALLOWED:
            ended["refused"] += 1
    assert ended["refused"] > count / 4 and ended["right"] > count / 40, ended
    assert fp32.predict(crops[:1]).shape == (1, 128) and gallery.stats().people >= 0


def test_handles_of_the_extension_are_checked(fp32):
    from uniface import _native
    with pytest.raises((TypeError, ValueError)):
        _native.detect(fp32._handle, (0, 1, 1, 1, 3))
    with pytest.raises((TypeError, ValueError)):
        _native.embedder_facts("x")
    with pytest.raises((TypeError, ValueError)):
        _native.close(5)


def test_nothing_is_leaked(fp32, detector, crops):
    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    photo = uniface.Image.from_path(photo_paths("lfw", 1)[0])
    bad = np.full((1, 5, 5, 3), np.nan)

    def work(times):
        for _ in range(times):
            fp32.predict(crops[:1])
            detector.detect(photo)
            uniface.Image(photo.to_numpy()).size
            fp32.clone(threads=1)
            with pytest.raises(ValueError):
                fp32.predict(bad)

    work(50)
    before = resident()
    count = sys.getrefcount(None)
    work(200)
    assert resident() - before < 4_000_000 and sys.getrefcount(None) - count < 200
