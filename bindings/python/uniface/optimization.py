"""Smaller and faster models."""
from __future__ import annotations

import enum
import os
from typing import Any, Callable, Iterable, Optional

import numpy as np

from . import _arrays, _checks, _native, _training
from .datasets import CalibrationData, Sample, load_calibration_data
from .detection import Faces
from .exceptions import InvalidArgument, NotSupported
from .image import Image
from .models import M, Model, wrap

Progress = Optional[Callable[[int, int], Any]]
RANGES = ("auto", "mse", "minmax", "percentile", "entropy")


class Precision(enum.Enum):
    """How weights (and, for INT8, activations) are kept."""

    FP32 = 0
    FP16 = 1  # weights in half the space, sums as exact as in FP32
    BF16 = 2  # the same with 8 bits of mantissa
    INT8 = 3  # weights and activations in bytes


def _checked(model: Any) -> Model:
    if not isinstance(model, Model):
        raise InvalidArgument(f"model: got {_arrays.described(model)}, wants a uniface model")
    return model


def _samples(dataset: Any) -> Iterable[Sample]:
    """What may be given as calibration: CalibrationData, a folder, a batch, or pictures."""
    if isinstance(dataset, CalibrationData):
        return dataset
    if isinstance(dataset, (str, os.PathLike)):
        return load_calibration_data(dataset)
    if isinstance(dataset, np.ndarray):
        pixels = _arrays.batch_of(dataset, "calibration_dataset").pixels
        return [Sample(picture, None) for picture in pixels]
    try:
        return [s if isinstance(s, Sample) else Sample(s, None) for s in dataset]
    except TypeError:
        raise _arrays.refuse("calibration_dataset", dataset,
                             "a folder, CalibrationData, or pictures") from None


def _calibration(model: Model, dataset: Any) -> Any:
    handle, _, _ = _native.calibration_new(model._handle, model.device, model._checked_threads())
    for image, face in _samples(dataset):
        if isinstance(image, (str, bytes, os.PathLike)):
            image = Image.from_path(os.fsdecode(image))
        pixels = _arrays.picture_of(image, "calibration_dataset")
        rows = Faces.of(face).rows if face is not None else None
        _native.calibration_add(handle, _arrays.view_of(pixels),
                                0 if rows is None else rows.ctypes.data)
    return handle


def _made_like(handle: Any, model: Model) -> Any:
    return wrap(handle, None, model.device, model._threads, **model._options)


def quantize_model(model: M, precision: Precision = Precision.INT8,
                   calibration_dataset: Any = None, *, range_method: str = "auto",
                   min_agreement: Optional[float] = None, progress: Progress = None) -> M:
    """A new model of another precision; `model` stays as it is.

    precision: FP16 and BF16 need nothing else. INT8 measures the ranges of activations on
    `calibration_dataset`: what uniface.datasets.load_calibration_data gives, a folder, a batch
    (N, height, width, 3), or an iterable of pictures or their paths; at least 8, better some hundreds.
    range_method: "auto", "mse", "minmax", "percentile" or "entropy".
    min_agreement: mean cosine with `model` on the calibration pictures (of a detector mean overlap
    of faces, landmarks count too) below which layers stay in FP32; a detector gets 16 bits before
    that. None: 0.998 (detector 0.995), which leaves faces that the calibration has not seen above
    0.99; < 0: all are in INT8.
    progress(done, total) is called now and then; an exception it raises stops the work.

    Raises NotCalibrated without enough pictures, StateError when `model` is quantised already.
    """
    if not isinstance(precision, Precision):
        raise InvalidArgument(f"precision: got {precision!r}, wants a uniface.Precision")
    if range_method not in RANGES:
        raise InvalidArgument(f"range_method: got {range_method!r}, wants one of {RANGES}")
    model = _checked(model)
    if precision is Precision.FP32:
        if model.precision != "fp32":
            raise NotSupported(f"the model is {model.precision}: what was rounded away does not "
                               "come back; load the FP32 model it was made from")
        return model.clone()
    calibration = (_calibration(model, calibration_dataset)
                   if precision is Precision.INT8 and calibration_dataset is not None else None)
    if min_agreement is None:
        min_agreement = 0.998 if model.metadata.get("task") == "embedder" else 0.0
    min_agreement = _checks.number(min_agreement, "min_agreement", -1, 1)
    handle = _native.quantize(model._handle, calibration, precision.value,
                              RANGES.index(range_method), min_agreement, progress)
    return _made_like(handle, model)


def prune(model: M, calibration_dataset: Any = None, *, keep: float = 0.75,
          sparsity: float = 0.0, min_agreement: float = 0.0, progress: Progress = None) -> M:
    """A new FP32 model with fewer channels.

    keep: share (0..1] of the multiplications that stays. min_agreement > 0: takes out as many as
    this agreement with `model` allows, and `keep` is not read. sparsity > 0: no channel goes, but
    this share of each layer's weights becomes 0, which needs no pictures and makes nothing faster.
    calibration_dataset: as for quantize_model. Raises NotCalibrated without enough pictures.
    """
    model = _checked(model)
    keep, sparsity, min_agreement = (
        _checks.number(value, name, 0, 1) for name, value in
        (("keep", keep), ("sparsity", sparsity), ("min_agreement", min_agreement)))
    calibration = (_calibration(model, calibration_dataset)
                   if calibration_dataset is not None else None)
    handle = _native.prune(model._handle, calibration, keep, sparsity, min_agreement, progress)
    return _made_like(handle, model)


def distill(teacher: Any, student: str, pictures: Any, *, detector: Any = None,
            progress: Progress = None, **options: Any) -> Any:
    """A new small model that was trained to answer as `teacher` does.

    teacher: a model, or several of them (embedders; or one detector of the family yunet).
    student: what learns: a described network such as "mobilefacenet-0.5x", or the path of a text.
    pictures: a folder, a tar archive or a list of pictures, or several of these (docs/training.md).
    detector: aligns pictures that come without landmarks; without one they are taken as crops.
    options: any option of `uniface distill` by its name: epochs, batch, threads, precision="bf16",
    rate, augment, blend, relational, seed, checkpoint="FILE", report="FOLDER", ...
    progress(done, total) is told of steps now and then; an exception it raises stops the work.

    The work is done by the program uniface-train, which is built where oneDNN is installed: found
    by $UNIFACE_TRAIN or in $PATH. Raises NotSupported without it.
    """
    return _training.distill(teacher, student, pictures, detector, progress, options)
