"""Arrays as the C library takes them, and errors that say what was given and what is wanted."""
from __future__ import annotations

import os
from typing import Any, NamedTuple, Union

import numpy as np

from .exceptions import InvalidArgument

MAX_SIDE = 32768
RGB8, RGBA8, GRAY8 = 1, 3, 5  # uf_pixel_format
_FORMAT_OF = {1: GRAY8, 3: RGB8, 4: RGBA8}
BATCH_WANTED = "(N, height, width, 3) of uint8 0..255 or float 0..1"
PICTURE_WANTED = "(height, width, 3) of uint8 0..255 or float 0..1"

PathLike = Union[str, "os.PathLike[str]"]


def described(value: Any) -> str:
    """Shape and type of an argument, for a message."""
    if isinstance(value, np.ndarray):
        return f"shape {value.shape} of {value.dtype}"
    return f"a {type(value).__name__}"


def refuse(argument: str, value: Any, wanted: str, why: str = "") -> InvalidArgument:
    reason = f": {why}" if why else ""
    return InvalidArgument(f"{argument}: got {described(value)}, wants {wanted}{reason}")


def path_bytes(path: PathLike, argument: str = "path") -> bytes:
    try:
        name = os.fsencode(path)
    except TypeError:
        raise InvalidArgument(f"{argument}: got {described(path)}, wants a path") from None
    if b"\0" in name:
        raise InvalidArgument(f"{argument}: {name!r} has a zero byte")
    return name


def array_of(value: Any, argument: str, wanted: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (str, bytes, os.PathLike)) or value is None:
        raise refuse(argument, value, wanted)
    try:
        return np.asarray(value)
    except Exception as error:
        raise refuse(argument, value, wanted, str(error)) from None


def _numbers_of(array: np.ndarray, argument: str, wanted: str) -> np.ndarray:
    """uint8 or float32, contiguous; other types are brought to these where their values allow it."""
    kind = array.dtype.kind
    if array.dtype == np.uint8 or array.dtype == np.float32:
        pass
    elif kind == "f":
        array = array.astype(np.float32)
    elif kind in "iu":
        if array.size and (array.min() < 0 or array.max() > 255):
            raise refuse(argument, array, wanted,
                         f"integers must be 0..255, these are {array.min()}..{array.max()}")
        array = array.astype(np.uint8)
    else:
        raise refuse(argument, array, wanted)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array)


def _four_dimensions(array: np.ndarray) -> Union[np.ndarray, None]:
    """(N, height, width, channels) of what may be one picture, or gray without a last dimension."""
    if array.ndim == 4:
        return array
    if array.ndim == 2:
        return array[None, :, :, None]
    if array.ndim == 3:
        return array[None] if array.shape[2] in _FORMAT_OF else array[..., None]
    return None


class Batch(NamedTuple):
    pixels: np.ndarray  # (N, height, width, channels), contiguous, uint8 or float32
    is_float: bool


def batch_of(value: Any, argument: str = "batch") -> Batch:
    """A batch of pictures of one size: (N, height, width, 3 or 4 or 1), (N, height, width), or one
    picture without the first dimension."""
    array = array_of(value, argument, BATCH_WANTED)
    pixels = _four_dimensions(array)
    if pixels is None:
        raise refuse(argument, array, BATCH_WANTED)
    if pixels.shape[3] not in _FORMAT_OF:
        why = ("channels come last: use batch.transpose(0, 2, 3, 1)"
               if pixels.shape[1] in _FORMAT_OF else f"{pixels.shape[3]} channels")
        raise refuse(argument, array, BATCH_WANTED, why)
    if not (0 < pixels.shape[1] <= MAX_SIDE and 0 < pixels.shape[2] <= MAX_SIDE):
        raise refuse(argument, array, BATCH_WANTED, f"sides must be 1..{MAX_SIDE}")
    pixels = _numbers_of(pixels, argument, BATCH_WANTED)
    return Batch(pixels, pixels.dtype == np.float32)


def to_bytes(pixels: np.ndarray, argument: str, wanted: str) -> np.ndarray:
    """Floats of 0..1 as bytes."""
    if pixels.dtype == np.uint8:
        return pixels
    if not np.all((pixels >= -1e-3) & (pixels <= 1 + 1e-3)):
        raise refuse(argument, pixels, wanted, "floats must be 0..1 and no NaN")
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def picture_of(value: Any, argument: str = "image") -> np.ndarray:
    """One picture, uint8, (height, width, 1 or 3 or 4), contiguous."""
    pixels = getattr(value, "_pixels", None)
    if pixels is not None:
        return pixels
    array = array_of(value, argument, PICTURE_WANTED)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in _FORMAT_OF:
        raise refuse(argument, array, PICTURE_WANTED)
    if not (0 < array.shape[0] <= MAX_SIDE and 0 < array.shape[1] <= MAX_SIDE):
        raise refuse(argument, array, PICTURE_WANTED, f"sides must be 1..{MAX_SIDE}")
    return to_bytes(_numbers_of(array, argument, PICTURE_WANTED), argument, PICTURE_WANTED)


def view_of(pixels: np.ndarray) -> tuple:
    """The tuple that the extension takes as an image; `pixels` must outlive the call."""
    height, width, channels = pixels.shape
    return (pixels.ctypes.data, width, height, _FORMAT_OF[channels], width * channels)


def floats_of(value: Any, shape: tuple, argument: str) -> np.ndarray:
    """float32 of a shape (None: any number), contiguous and finite."""
    wanted = f"{str(shape).replace('None', 'N')} of finite float32"
    array = array_of(value, argument, wanted)
    if array.dtype.kind not in "fiu" or array.ndim != len(shape) or any(
            want is not None and want != got for want, got in zip(shape, array.shape)):
        raise refuse(argument, array, wanted)
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise refuse(argument, array, wanted, "some are not finite")
    return array
