"""From pictures to batches."""
from __future__ import annotations

import numbers
from typing import Any, Sequence, Tuple, Union

import numpy as np

from . import _arrays, _native
from .exceptions import InvalidArgument

TargetSize = Union[int, Sequence[int]]  # (width, height), or one number for both; pixels


def _sides(target_size: Any) -> Tuple[int, int]:
    is_side = isinstance(target_size, numbers.Integral)
    try:
        width, height = (target_size, target_size) if is_side else target_size
    except (TypeError, ValueError):
        width = height = None
    if any(isinstance(side, bool) or not isinstance(side, numbers.Integral)
           for side in (width, height)):
        raise InvalidArgument(f"target_size: got {target_size!r}, wants (width, height) in whole pixels")
    if not (0 < width <= _arrays.MAX_SIDE and 0 < height <= _arrays.MAX_SIDE):
        raise InvalidArgument(
            f"target_size: got {target_size!r}, wants two sides of 1..{_arrays.MAX_SIDE} pixels")
    return int(width), int(height)


def resize(img: Any, target_size: TargetSize = (160, 160)) -> np.ndarray:
    """A picture (height, width[, channels]) scaled to target_size = (width, height) without keeping
    its proportions: (target height, target width, 3) of uint8, RGB. Bilinear, averaged first where
    it shrinks by 2 or more, as the library does it everywhere."""
    pixels = _arrays.picture_of(img, "img")
    width, height = _sides(target_size)
    out = np.empty((height, width, 3), np.uint8)
    _native.resize(_arrays.view_of(pixels), width, height, out.ctypes.data)
    return out


def resize_and_normalize(img: Any, target_size: TargetSize = (160, 160)) -> np.ndarray:
    """A picture as the models' `predict` takes it: (target height, target width, 3) of float32 in
    0..1, RGB. What a network wants beyond that (its own mean, scale and order of channels) is part
    of the model and done by `predict`.

    img: (height, width, 3) RGB of uint8 0..255 or float 0..1, gray or RGBA, or a uniface.Image.
    target_size: (width, height) in pixels. Raises InvalidArgument (a ValueError).
    """
    return resize(img, target_size).astype(np.float32) * np.float32(1 / 255)
