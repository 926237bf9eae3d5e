"""Devices, and engines that run any model on one."""
from __future__ import annotations

from typing import Any, List, NamedTuple, Sequence

import numpy as np

from . import _arrays, _native
from ._worker import Worker
from .exceptions import InvalidArgument
from .models import DTYPES, FaceDetector, FaceEmbedder, Model, load_model


class Device(str):
    """A device's name ("CPU", "GPU:0"), with what is known of it."""

    description: str  # processor and instruction sets in use
    cores: int


class Step(NamedTuple):
    """One step of a network's plan."""

    op: str
    name: str
    kernel: str      # what ran it
    macs: int        # multiply-adds
    time_us: float   # microseconds, median over the runs


def list_available_devices() -> List[Device]:
    """The devices that networks can run on; "auto" takes the first."""
    devices = []
    for name, description, cores in _native.devices():
        device = Device(name)
        device.description, device.cores = description, cores
        devices.append(device)
    return devices


class InferenceEngine:
    """Runs a model on a device.

    model: a FaceEmbedder, FaceDetector or Model, or what uniface.load_model takes.
    device: "CPU", "GPU:0", ..., or "auto". threads: 0: one for each core.
    Raises DeviceNotFound when the device is not there; nothing falls back silently.
    """

    def __init__(self, model: Any, device: str = "CPU", threads: int = 0) -> None:
        if not isinstance(model, Model):
            model = load_model(model, device, threads)
        if not isinstance(device, str):
            raise InvalidArgument(f"device: got {device!r}, wants \"CPU\", \"GPU:0\" or \"auto\"")
        self.model: Model = model.clone(device=device, threads=threads)
        self._worker = Worker(_native.engine_new, self.model._handle, device,
                              self.model._checked_threads())

    def __reduce__(self) -> tuple:
        return InferenceEngine, (self.model, self.model.device, self.model._threads)

    @property
    def device(self) -> str:
        """Where it runs; what "auto" chose."""
        return _native.engine_facts(self._worker.handle)[0]

    def predict(self, inputs: Any) -> Any:
        """What the model's predict gives: (N, dimension) templates of an embedder, Faces of a
        detector. For other models the list of outputs of `run`."""
        if isinstance(self.model, (FaceEmbedder, FaceDetector)):
            return self.model.predict(inputs)
        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        return self.run(*tensors)

    def run(self, *tensors: Any) -> List[np.ndarray]:
        """The network itself: tensors in, tensors out, in the shapes of model.inputs and
        model.outputs, nothing normalised or resized."""
        with self._worker as handle:
            return self._run(handle, self._inputs(tensors))

    def _inputs(self, tensors: Sequence[Any]) -> List[np.ndarray]:
        wanted = self.model.inputs
        if len(tensors) != len(wanted):
            raise InvalidArgument(f"inputs: got {len(tensors)} arrays, the network has "
                                  f"{len(wanted)}: {[tuple(t.shape) for t in wanted]}")
        arrays = []
        for value, want in zip(tensors, wanted):
            array = _arrays.array_of(value, f"input {want.name!r}", f"{want.dtype}")
            if array.dtype.kind not in "fiub":
                raise _arrays.refuse(f"input {want.name!r}", array, f"an array of {want.dtype}")
            array = np.ascontiguousarray(array, dtype=want.dtype)
            if array.ndim != len(want.shape) or any(
                    w not in (-1, got) for w, got in zip(want.shape, array.shape)):
                raise _arrays.refuse(f"input {want.name!r}", array,
                                     f"{tuple(want.shape)} of {want.dtype} (-1: any number)")
            arrays.append(array)
        return arrays

    @staticmethod
    def _run(handle: Any, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        outputs = _native.engine_run(handle, tuple((a.ctypes.data, a.nbytes, a.shape)
                                                   for a in arrays))
        return [np.frombuffer(data, DTYPES[dtype] or np.uint16).reshape(shape)
                for dtype, shape, data in outputs]

    def profile(self, inputs: Any = None, runs: int = 10) -> List[Step]:
        """Steps of the network with the time of each: medians of `runs` runs after one that warms
        up. inputs: tensors as `run` takes them; None: zeros, a batch of one and 320 pixels where
        the network leaves a size open."""
        if not isinstance(runs, int) or not 1 <= runs <= 100000:
            raise InvalidArgument(f"runs: got {runs!r}, wants 1..100000")
        if inputs is None:
            inputs = [np.zeros([d if d > 0 else (1 if i == 0 else 320)
                                for i, d in enumerate(t.shape)], t.dtype)
                      for t in self.model.inputs]
        arrays = self._inputs(inputs if isinstance(inputs, (list, tuple)) else [inputs])
        with self._worker as handle:
            self._run(handle, arrays)
            _native.engine_profile(handle, True)
            times = []
            for _ in range(runs):
                self._run(handle, arrays)
                times.append([step[4] for step in _native.engine_profile(handle, True)])
            steps = _native.engine_profile(handle, False)
        medians = np.median(np.array(times), axis=0)
        return [Step._make((*step[:4], float(time))) for step, time in zip(steps, medians)]

    def __repr__(self) -> str:
        return f"<uniface.InferenceEngine {self.model!r} on {self.device}>"
