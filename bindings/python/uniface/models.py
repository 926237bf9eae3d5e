"""Models: embedders, detectors, and networks of any other kind."""
from __future__ import annotations

import os
import tempfile
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar

import numpy as np

from . import _arrays, _checks, _native, store
from ._arrays import PathLike
from ._worker import Worker
from .detection import Face, Faces
from .exceptions import InvalidArgument, Mismatch
from .image import Image

_empty, _FLOAT32 = np.empty, np.dtype(np.float32)
M = TypeVar("M", bound="Model")

# uf_dtype: what NumPy calls it; None where it has no such type.
DTYPES: Dict[int, Optional[type]] = {
    1: np.float32, 2: np.float16, 3: None, 4: np.float64, 5: np.int8, 6: np.uint8, 7: np.int16,
    8: np.uint16, 9: np.int32, 10: np.uint32, 11: np.int64, 12: np.uint64, 13: np.bool_,
}


class Tensor(NamedTuple):
    """An input or output of a network; -1 in the shape: any number."""

    name: str
    dtype: Optional[np.dtype]
    shape: Tuple[int, ...]


class Threshold(NamedTuple):
    """A decision threshold that was measured: similarity >= threshold is accepted."""

    far: float              # false accept rate asked for, 0..1
    threshold: float        # similarity, -1..1
    far_low: float          # 95 % interval of the false accept rate at this threshold
    far_high: float
    tar: float              # true accept rate measured there, 0..1
    impostor_trials: int
    genuine_trials: int


class Model:
    """A network with all that must go with it: how pictures enter it, licence, thresholds.

    Shareable: any number of threads may use one. `predict` of one object runs one call at a time
    and uses all cores by itself; for independent calls make a second object with `clone()`, which
    shares the weights.
    """

    task: Optional[str] = None  # what load_... of this class accepts

    def __init__(self, handle: Any, path: Optional[str] = None, device: str = "CPU",
                 threads: int = 0, **options: Any) -> None:
        if not isinstance(device, str):
            raise InvalidArgument(f"device: got {device!r}, wants \"CPU\", \"GPU:0\" or \"auto\"")
        self._handle = handle
        self._path = path
        self._device = device
        self._threads = threads
        self._options = options
        self._size_bytes: Optional[int] = None
        if self.task is not None and self.metadata.get("task") != self.task:
            raise Mismatch(f"{path or 'the model'} is no {self.task}; its task is "
                           f"{self.metadata.get('task')!r}: use uniface.load_model")

    # ---- opening and saving ----

    @classmethod
    def load_pretrained(cls: Type[M], name: PathLike, **options: Any) -> M:
        """A model of the store by its name, or a file. Options as for load_optimized. Raises
        ModelNotFound, which says how to put a model into the store."""
        return cls.load_optimized(name, **options)

    @classmethod
    def load_optimized(cls: Type[M], path_or_name: PathLike, device: str = "CPU", threads: int = 0,
                       **options: Any) -> M:
        """A model from a file (.ufm, or .onnx, which is imported) or by its name in the store.

        device: "CPU", "GPU:0" or "auto". threads: 0: one for each core.
        Raises ModelNotFound, FormatError, DeviceNotFound (with the devices that exist), Mismatch
        (the file holds another kind of model), and where $UNIFACE_TRUSTED_KEYS is set NotTrusted
        (the model is not signed by one of these keys, or is an older release than one before).
        """
        path = store.resolve(path_or_name)
        model = cls(_opened(path), path, device, threads, **options)
        model._prepare()
        return model

    def save(self, path: PathLike) -> None:
        """Writes a .ufm file, atomically."""
        _native.model_save(self._handle, _arrays.path_bytes(path))

    def clone(self: M, device: Optional[str] = None, threads: Optional[int] = None,
              **options: Any) -> M:
        """Another object of the same network, which shares its weights; for another thread, or with
        other options."""
        device = device or self._device
        handle = self._handle
        exists = any(name == device for name, _, _ in _native.devices())
        if exists and device != self._device:
            handle = _native.model_from_bytes(self._as_bytes())  # weights are packed for one device
        made = type(self)(handle, self._path, device,
                          self._threads if threads is None else threads,
                          **{**self._options, **options})
        made._prepare()
        return made

    def _prepare(self) -> None:
        """Makes what runs the network, where the class has such a thing."""
        if type(self) is Model:
            _native.engine_new(self._handle, self._device, 1)

    def _checked_threads(self) -> int:
        if not (isinstance(self._threads, int) and 0 <= self._threads <= 1024):
            raise InvalidArgument(f"threads: got {self._threads!r}, wants 0..1024")
        return self._threads

    def _as_bytes(self) -> bytes:
        with tempfile.TemporaryDirectory() as made:
            path = os.path.join(made, "model.ufm")
            self.save(path)
            with open(path, "rb") as file:
                return file.read()

    def __reduce__(self) -> tuple:
        return _from_bytes, (type(self), self._as_bytes(), self._path, self._device, self._threads,
                             self._options)

    # ---- what it is ----

    @property
    def path(self) -> Optional[str]:
        """The file it came from; None when it was made here."""
        return self._path

    @property
    def id(self) -> str:
        """64 hexadecimal digits that name weights, graph and preprocessing; templates bear it."""
        return _native.model_facts(self._handle)[0]

    @property
    def metadata(self) -> Dict[str, str]:
        """All that the model carries: task, family, precision, licence, preprocessing."""
        return _native.model_meta(self._handle)

    @property
    def precision(self) -> str:
        """"fp32", "fp16", "bf16", "int8" or "int16": how the weights are kept."""
        return self.metadata.get("precision", "fp32")

    @property
    def device(self) -> str:
        """The device it was loaded for."""
        return self._device

    @property
    def parameter_count(self) -> int:
        """Numbers in the weights."""
        return _native.model_facts(self._handle)[2]

    @property
    def size_bytes(self) -> int:
        """Size of the model as a .ufm file."""
        if self._size_bytes is None:
            self._size_bytes = len(self._as_bytes())
        return self._size_bytes

    @property
    def inputs(self) -> List[Tensor]:
        """The network's inputs, as the network has them."""
        return _tensors(self._handle, False)

    @property
    def outputs(self) -> List[Tensor]:
        """The network's outputs, as the network has them."""
        return _tensors(self._handle, True)

    def threshold(self, far: float = 1e-3) -> Threshold:
        """The similarity above which two faces are one person at this false accept rate (0.1, 0.01,
        0.001 or 0.0001). Raises NotCalibrated when it was not measured: see
        uniface.metrics.calibrate and `uniface calibrate`."""
        far = _checks.number(far, "far", 0, 1)
        return Threshold(*_native.model_threshold(self._handle, far))

    def __repr__(self) -> str:
        name = os.path.basename(self._path) if self._path else "not saved"
        return f"<uniface.{type(self).__name__} {name} {self.precision}>"


class FaceEmbedder(Model):
    """Turns aligned faces into templates: vectors of unit length, whose inner product is their
    similarity.

    Options of loading: batch (1..1024 faces a run, 16), flip (add the template of the mirrored
    face: better, twice the time).
    """

    task = "embedder"

    def __init__(self, handle: Any, path: Optional[str] = None, device: str = "CPU",
                 threads: int = 0, batch: int = 16, flip: bool = False) -> None:
        super().__init__(handle, path, device, threads,
                         batch=_checks.whole(batch, "batch", 1, 1024),
                         flip=_checks.yes_or_no(flip, "flip"))
        self._worker: Optional[Worker] = None
        self._dimension = self._crop_size = 0

    def _prepare(self) -> None:
        # Not a function of self: that would be a cycle, which lives until it is collected.
        self._worker = Worker(_native.embedder_new, self._handle, self._device,
                              self._checked_threads(), self._options["batch"],
                              self._options["flip"])
        self._dimension, self._crop_size = _native.embedder_facts(self._worker.handle)

    def _turn(self) -> Worker:
        if self._worker is None:
            self._prepare()
        assert self._worker is not None
        return self._worker

    @property
    def dimension(self) -> int:
        """Length of a template."""
        self._turn()
        return self._dimension

    @property
    def input_size(self) -> int:
        """Side in pixels of the crop that the network itself takes; others are scaled to it."""
        self._turn()
        return self._crop_size

    def predict(self, batch: Any) -> np.ndarray:
        """Templates of aligned face crops: (N, dimension) of float32, rows of unit length.

        batch: (N, height, width, 3) RGB, channels last; uint8 holds raw 0..255, float holds 0..1 as
        uniface.preprocess.resize_and_normalize makes it (the model's own normalisation comes on
        top, from its metadata). Any height and width: crops are scaled to the network's input. Also
        gray (1 channel or none), RGBA (alpha over black), one picture without the first dimension,
        a uniface.Image, or a list of pictures, whose sizes may differ. An empty batch gives
        (0, dimension).

        Raises InvalidArgument (a ValueError) with the shape it got and the shape it wants, also for
        NaN and floats outside 0..1; QualityTooLow when the network's answer has no direction.
        """
        worker = self._worker or self._turn()
        if type(batch) is np.ndarray and batch.ndim == 4:
            # The short way, for what needs no conversion.
            out = _empty((len(batch), self._dimension), _FLOAT32)
            try:
                if _native.embed_ready(worker.handle, batch, out):
                    return out
            except InvalidArgument as error:
                raise _arrays.refuse("batch", batch, _arrays.BATCH_WANTED, str(error)) from None
        if isinstance(batch, (list, tuple)):
            batch = _stacked(batch)
            if isinstance(batch, list):
                return np.concatenate([self.predict(one) for one in batch])
        elif isinstance(batch, Image):
            batch = batch.to_numpy()
        pixels, is_float = _arrays.batch_of(batch)
        count, height, width, channels = pixels.shape
        out = np.empty((count, self._dimension), np.float32)
        if count == 0:
            return out
        try:
            with worker as handle:
                _native.embed_pixels(handle, pixels.ctypes.data, count, height, width, channels,
                                     is_float, out.ctypes.data)
        except InvalidArgument as error:
            raise _arrays.refuse("batch", batch, _arrays.BATCH_WANTED, str(error)) from None
        return out

    def embed_faces(self, image: Any, faces: Sequence[Face]) -> np.ndarray:
        """Templates of faces in a picture, aligned by their landmarks (by their boxes where a
        detector gives none): (len(faces), dimension) of float32."""
        pixels = _arrays.picture_of(image)
        rows = Faces.of(faces).rows
        worker = self._turn()
        out = np.empty((len(rows), self._dimension), np.float32)
        if len(rows):
            with worker as handle:
                _native.embed_faces(handle, _arrays.view_of(pixels), rows.ctypes.data, len(rows),
                                    out.ctypes.data)
        return out


class FaceDetector(Model):
    """Finds faces in pictures.

    Options of loading: size (longest side in pixels at which the network looks; 0: the model's own;
    -1: several, so that small and large faces are found), score_threshold and nms_threshold
    (0..1; None: the model's own).
    """

    task = "detector"

    def __init__(self, handle: Any, path: Optional[str] = None, device: str = "CPU",
                 threads: int = 0, size: int = 0, score_threshold: Optional[float] = None,
                 nms_threshold: Optional[float] = None) -> None:
        for name, value in (("score_threshold", score_threshold), ("nms_threshold", nms_threshold)):
            if value is not None:
                _checks.number(value, name, 0, 1)
        super().__init__(handle, path, device, threads, size=_checks.whole(size, "size", -1, 8192),
                         score_threshold=score_threshold, nms_threshold=nms_threshold)
        self._worker: Optional[Worker] = None

    @classmethod
    def load_pretrained(cls, name: PathLike = "detector", **options: Any) -> "FaceDetector":
        """A detector of the store; without a name the default of `uniface import --default`."""
        return cls.load_optimized(name, **options)

    def _prepare(self) -> None:
        score, nms = (-1.0 if self._options[name] is None else float(self._options[name])
                      for name in ("score_threshold", "nms_threshold"))
        self._worker = Worker(_native.detector_new, self._handle, self._device,
                              self._checked_threads(), self._options["size"], score, nms)

    def predict(self, images: Any) -> Any:
        """Faces of one picture (a Faces), or of each picture of a list or batch (a list of Faces).

        images: (height, width, 3) RGB of uint8 0..255 or float 0..1, gray, RGBA, a uniface.Image;
        (N, height, width, 3) or a list of pictures. No face is no error: the Faces is empty.
        """
        if isinstance(images, (list, tuple)):
            if not (images and isinstance(images[0], (list, tuple))):
                return [self.detect(image) for image in images]
            images = _arrays.array_of(images, "images", _arrays.PICTURE_WANTED)  # lists of numbers
        if isinstance(images, np.ndarray) and images.ndim == 4:
            return [self.detect(image) for image in images]
        return self.detect(images)

    def detect(self, image: Any) -> Faces:
        """Faces of one picture, best score first."""
        pixels = _arrays.picture_of(image)
        if self._worker is None:
            self._prepare()
        assert self._worker is not None
        with self._worker as handle:
            return Faces(np.frombuffer(_native.detect(handle, _arrays.view_of(pixels)), np.float32))


def _opened(path: str) -> Any:
    """The handle of a model file. As for the commands, $UNIFACE_TRUSTED_KEYS names whose signatures
    count, and $UNIFACE_RELEASES the file that remembers the highest release of each model."""
    keys = os.environ.get("UNIFACE_TRUSTED_KEYS")
    if not keys:
        return _native.model_open(_arrays.path_bytes(path), b"", b"")
    releases = os.environ.get("UNIFACE_RELEASES") or (
        os.path.join(keys, "releases") if os.path.isdir(keys) else keys + ".releases")
    return _native.model_open(_arrays.path_bytes(path), os.fsencode(keys), os.fsencode(releases))


def _from_bytes(cls: Type[M], data: bytes, path: Optional[str], device: str, threads: int,
                options: Dict[str, Any]) -> M:
    return cls(_native.model_from_bytes(data), path, device, threads, **options)


def _tensors(handle: Any, outputs: bool) -> List[Tensor]:
    def dtype_of(code: int) -> Optional[np.dtype]:
        kind = DTYPES.get(code)
        return np.dtype(kind) if kind is not None else None

    return [Tensor(name, dtype_of(code), shape)
            for name, code, shape in _native.model_tensors(handle, outputs)]


def _stacked(pictures: Sequence[Any]) -> Any:
    """A list of pictures as one array, or as a list of arrays when their shapes differ."""
    arrays = [p.to_numpy() if isinstance(p, Image) else p for p in pictures]
    if not arrays:
        return np.empty((0, 1, 1, 3), np.uint8)
    if not all(isinstance(a, np.ndarray) for a in arrays):
        if any(isinstance(a, np.ndarray) for a in arrays):
            return arrays
        return _arrays.array_of(arrays, "batch", _arrays.BATCH_WANTED)
    same = all(a.shape == arrays[0].shape and a.dtype == arrays[0].dtype for a in arrays)
    return np.stack(arrays) if same else arrays


_CLASSES: Dict[Optional[str], Callable[..., Model]] = {
    "embedder": FaceEmbedder, "detector": FaceDetector,
}


def wrap(handle: Any, path: Optional[str] = None, device: str = "CPU", threads: int = 0,
         **options: Any) -> Model:
    """A handle of the extension as the class that fits its task."""
    task = _native.model_meta(handle).get("task")
    model = _CLASSES.get(task, Model)(handle, path, device, threads, **options)
    model._prepare()
    return model


def load_model(path_or_name: PathLike, device: str = "CPU", threads: int = 0,
               **options: Any) -> Model:
    """A FaceEmbedder, FaceDetector or plain Model, by what the file (.ufm, .onnx) or the model of
    the store is. Raises as Model.load_optimized."""
    path = store.resolve(path_or_name)
    return wrap(_opened(path), path, device, threads, **options)


def import_model(path: PathLike, preset: Optional[str] = None,
                 licence: Optional[str] = None) -> Model:
    """Imports an ONNX or OpenVINO network. preset: how pictures enter it ("arcface", "yunet", ...:
    `uniface import --help` lists them); None: recognised. licence: of the weights, free text."""
    handle = _native.model_import(_arrays.path_bytes(path), preset, licence or "not stated")
    return wrap(handle)


def save_model(model: Model, path: PathLike) -> None:
    """Writes a model as a .ufm file, atomically."""
    if not isinstance(model, Model):
        raise InvalidArgument(f"model: got {_arrays.described(model)}, wants a uniface model")
    model.save(path)
