"""What Python adds to a call: with a network that costs nothing, the whole of `predict` is its price."""
import sys
import time

import numpy as np
import pytest

import uniface
from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import tiny_embedder  # noqa: E402


def nanoseconds(call, count):
    took = []
    for _ in range(count):
        start = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - start)
    return took


@pytest.mark.parametrize("count", [1, 16])
def test_a_ready_batch_costs_some_microseconds(tmp_path, count):
    """About 1.5 us of one picture; the bar is 20. The least of many is what other work does not touch. With caches
    that hold other things it depends on the machine's memory: bench/python_calls.py tells."""
    tiny_embedder.write(tmp_path / "tiny.onnx")
    embedder = uniface.import_model(tmp_path / "tiny.onnx", "arcface").clone(threads=1)
    batch = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    assert embedder.predict(batch).shape == (count, 12)
    took = nanoseconds(lambda: embedder.predict(batch), 3000)
    assert min(took) < 20_000, f"{min(took)} ns"
