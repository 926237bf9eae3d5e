"""Pictures to measure on."""
from __future__ import annotations

import os
import warnings
from typing import Any, Iterator, List, NamedTuple, Optional

import numpy as np

from . import store
from ._arrays import PathLike, described, path_bytes
from .detection import Face
from .exceptions import InvalidArgument, NotFound, UniFaceError
from .image import Image

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Sample(NamedTuple):
    """A picture for calibration, (height, width, 3), RGB."""

    image: Any             # a uniface.Image or an array
    face: Optional[Face]   # the face to align; None: the picture is a crop


class CalibrationData:
    """Pictures for calibration; iterating gives Samples."""

    def __init__(self, samples: List[Sample], source: str) -> None:
        self.samples = samples
        self.source = source

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __repr__(self) -> str:
        return f"<uniface.CalibrationData {len(self)} pictures, {self.source}>"


def list_pictures(folder: PathLike) -> List[str]:
    """Paths of the pictures (.jpg, .jpeg, .png, .webp) in a folder and below it, sorted."""
    found = []
    for base, _, files in os.walk(folder):
        found += [os.path.join(base, f) for f in files if f.lower().endswith(PICTURE_SUFFIXES)]
    return sorted(found)


def load_calibration_data(folder: Optional[PathLike] = None, detector: Any = None,
                          limit: int = 256) -> CalibrationData:
    """Pictures for uniface.optimization.quantize_model.

    folder: pictures of faces like those the model will see, some hundreds; with `detector` (a
    FaceDetector) the main face of each is found and aligned as the model wants it, without one each
    picture is taken as an aligned crop. limit: pictures taken, evenly from the sorted names.

    Without a folder: the folder $UNIFACE_CALIBRATION, or `calibration` in the model store. Where
    neither exists, 96 drawn faces, with a warning: they let a program run anywhere, but ranges that
    were measured on real faces are better.
    """
    if not isinstance(limit, int) or limit < 1:
        raise InvalidArgument(f"limit: got {limit!r}, wants a number of pictures >= 1")
    if folder is None:
        folder = os.environ.get("UNIFACE_CALIBRATION") or os.path.join(store.folder(), "calibration")
        if not os.path.isdir(folder):
            warnings.warn(
                f"no calibration pictures in {folder}: drawn faces are used; give "
                "load_calibration_data() a folder of real ones for the best accuracy", stacklevel=2)
            from ._drawn_faces import draw_faces
            return CalibrationData([Sample(face, None) for face in draw_faces(96)], "drawn faces")
    return _from_folder(folder, detector, limit)


def _from_folder(folder: PathLike, detector: Any, limit: int) -> CalibrationData:
    if detector is not None and not hasattr(detector, "detect"):
        raise InvalidArgument(f"detector: got {described(detector)}, wants a FaceDetector")
    if not os.path.isdir(path_bytes(folder, "folder")):
        raise NotFound(f"folder: {os.fsdecode(folder)} is no folder")
    paths = list_pictures(folder)
    if not paths:
        raise NotFound(f"{os.fspath(folder)}: no pictures (.jpg, .jpeg, .png, .webp) in it")
    step = max(1, len(paths) // limit)
    samples, left_out = [], []
    for path in paths[::step][:limit]:
        try:
            image = Image.from_path(path)
        except UniFaceError as error:
            left_out.append(str(error))
            continue
        face = detector.detect(image).main(image) if detector is not None else None
        if detector is not None and face is None:
            left_out.append(f"{path}: no face found")
        else:
            samples.append(Sample(image, face))
    if left_out:
        warnings.warn(f"{len(left_out)} calibration pictures left out, the first: {left_out[0]}",
                      stacklevel=3)
    return CalibrationData(samples, os.fspath(folder))
