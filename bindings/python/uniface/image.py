"""Pictures: decode, encode, convert."""
from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from . import _arrays, _checks, _native


class _Pixels:
    """Memory of a decoded picture, shown to NumPy without a copy."""

    def __init__(self, decoded: tuple) -> None:
        self._handle, address, width, height, stride = decoded
        self.__array_interface__ = {
            "version": 3, "typestr": "|u1", "data": (address, False),
            "shape": (height, width, 3), "strides": (stride, 3, 1),
        }


def _limits(min_side: int, max_pixels: int) -> Tuple[int, int]:
    return (_checks.whole(min_side, "min_side", 0, _arrays.MAX_SIDE),
            _checks.whole(max_pixels, "max_pixels", 1, 1 << 62))


class Image:
    """An upright RGB picture, (height, width, 3) of uint8.

    Decodes JPEG, PNG and WebP, told apart by content; the EXIF orientation is applied, gray, CMYK,
    16 bit and alpha (over black) are converted. Usable wherever an array of a picture is.
    """

    __slots__ = ("_pixels",)

    def __init__(self, pixels: Any) -> None:
        """pixels: (height, width), (height, width, 1 or 3 or 4), uint8 0..255 or float 0..1."""
        array = _arrays.picture_of(pixels, "pixels")
        if array.shape[2] != 3:
            rgb = np.empty(array.shape[:2] + (3,), np.uint8)
            _native.resize(_arrays.view_of(array), array.shape[1], array.shape[0], rgb.ctypes.data)
            array = rgb
        self._pixels = array

    @classmethod
    def from_path(cls, path: _arrays.PathLike, min_side: int = 0,
                  max_pixels: int = 100_000_000) -> "Image":
        """Reads a file. min_side > 0: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long
        as its shorter side keeps that many pixels. max_pixels: larger pictures are refused
        (LimitExceeded) before they cost memory. Raises InputOutputError, FormatError, NotSupported.
        """
        return cls._of(_native.picture_load(_arrays.path_bytes(path),
                                            *_limits(min_side, max_pixels)))

    @classmethod
    def from_bytes(cls, data: bytes, min_side: int = 0, max_pixels: int = 100_000_000) -> "Image":
        """The same from the bytes of a file."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise _arrays.refuse("data", data, "the bytes of a JPEG, PNG or WebP file")
        return cls._of(_native.picture_decode(bytes(data), *_limits(min_side, max_pixels)))

    @classmethod
    def from_array(cls, pixels: Any) -> "Image":
        """The same as Image(pixels)."""
        return cls(pixels)

    @classmethod
    def _of(cls, decoded: tuple) -> "Image":
        image = cls.__new__(cls)
        image._pixels = np.asarray(_Pixels(decoded))
        return image

    def to_numpy(self) -> np.ndarray:
        """(height, width, 3) of uint8, RGB; the picture's own memory, not a copy."""
        return self._pixels

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        array = self._pixels if dtype is None else self._pixels.astype(dtype)
        return array.copy() if copy and array is self._pixels else array

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self._pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self._pixels.shape[0])

    @property
    def size(self) -> Tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    def save(self, path: _arrays.PathLike) -> None:
        """Writes JPEG, PNG or WebP by the suffix, atomically."""
        _native.picture_save(_arrays.view_of(self._pixels), _arrays.path_bytes(path))

    def __reduce__(self) -> tuple:
        return Image, (self._pixels.copy(),)

    def __repr__(self) -> str:
        return f"<uniface.Image {self.width} x {self.height}>"
