"""One to one: are these the same person?"""
from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np

from . import _arrays, _checks
from .exceptions import InvalidArgument, NoFaceFound
from .image import Image
from .models import FaceDetector, FaceEmbedder


class Verification(NamedTuple):
    """Whether two faces are one person, and by which numbers."""

    score: float            # similarity, -1..1
    threshold: float        # score >= threshold: same
    same: bool
    far: Optional[float]    # false accept rate the threshold stands for; None: it was given


def similarity(a: Any, b: Any) -> float:
    """Cosine of two templates (dimension,): -1..1."""
    a, b = (_arrays.floats_of(np.ravel(v), (None,), name) for v, name in ((a, "a"), (b, "b")))
    if a.shape != b.shape:
        raise InvalidArgument(f"templates of {a.size} and {b.size} numbers cannot be compared")
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if length == 0:
        raise InvalidArgument("a template of zeros has no direction")
    return float(a @ b) / length


def template_of(image: Any, detector: FaceDetector, embedder: FaceEmbedder) -> np.ndarray:
    """The template (dimension,) of the face that a picture is about. image: an array, a
    uniface.Image or a path. Raises NoFaceFound."""
    name = ""
    if isinstance(image, (str, bytes)) or hasattr(image, "__fspath__"):
        name = f"{image}: "
        image = Image.from_path(image)
    face = detector.detect(image).main(image)
    if face is None:
        raise NoFaceFound(f"{name}no face found")
    return embedder.embed_faces(image, [face])[0]


def verify(image_a: Any, image_b: Any, detector: FaceDetector, embedder: FaceEmbedder,
           far: float = 1e-3, threshold: Optional[float] = None) -> Verification:
    """Compares the main faces of two pictures (arrays, uniface.Image or paths).

    threshold: least similarity of one person; None: the one that was measured for this embedder at
    the false accept rate `far`. Raises NoFaceFound, and NotCalibrated when there is none: a
    threshold that nobody measured is a guess.
    """
    measured = None
    if threshold is None:
        measured = embedder.threshold(far)
        threshold = measured.threshold
    threshold = _checks.number(threshold, "threshold", -1, 1)
    score = similarity(template_of(image_a, detector, embedder),
                       template_of(image_b, detector, embedder))
    return Verification(score, threshold, score >= threshold,
                        measured.far if measured else None)
