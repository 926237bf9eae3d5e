"""Crops in which eyes, nose and mouth lie where a network expects them."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np

from . import _arrays, _checks, _native
from .detection import Face
from .exceptions import InvalidArgument


def template_of(model: Any) -> Optional[np.ndarray]:
    """(5, 2) fractions of the crop's side: where an embedder wants the points; None: ArcFace's."""
    text = model.metadata.get("align.template")
    return np.array(text.split(), np.float32).reshape(5, 2) if text else None


def align(image: Any, landmarks: Any, size: int = 112, template: Any = None) -> np.ndarray:
    """A crop (size, size, 3) of uint8, RGB: the picture turned, scaled and moved (a similarity by
    least squares) so that the five points lie on the template's; bilinear, black outside.

    landmarks: (5, 2) in pixels, or a Face that has them. size: 1..4096 pixels.
    template: (5, 2) fractions of the side; an embedder, for that embedder's; None: ArcFace's.
    """
    if isinstance(landmarks, Face):
        if landmarks.landmarks is None:
            raise InvalidArgument("landmarks: the face has none, its detector gives only boxes")
        landmarks = landmarks.landmarks
    points = _arrays.floats_of(landmarks, (5, 2), "landmarks")
    if template is not None and hasattr(template, "metadata"):
        template = template_of(template)
    wanted = None if template is None else _arrays.floats_of(template, (5, 2), "template")
    size = _checks.whole(size, "size", 1, 4096)
    pixels = _arrays.picture_of(image)
    out = np.empty((size, size, 3), np.uint8)
    _native.face_align(_arrays.view_of(pixels), points.ctypes.data,
                       0 if wanted is None else wanted.ctypes.data, size, out.ctypes.data)
    return out
