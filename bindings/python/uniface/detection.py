"""Faces that a detector found."""
from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Optional, Sequence, Union, overload

import numpy as np

from . import _arrays, _native
from .exceptions import InvalidArgument

# A row: x, y, width, height, score, has_landmarks, 5 points.
_ROW = 16


class Quality(NamedTuple):
    """How fit a face is for enrolment; components 0 (useless) to 1 (perfect)."""

    size: float
    sharpness: float
    exposure: float
    pose: float
    border: float
    score: float
    total: float   # the smallest component
    yaw: float     # degrees, > 0: turned to the viewer's right
    pitch: float   # degrees, > 0: up
    roll: float    # degrees, > 0: clockwise
    reason: str    # why it is too poor to enrol; "" when it is not


class Face:
    """A face: a box in pixels of the picture, a score, and five points where the detector gives
    them."""

    __slots__ = ("row",)

    def __init__(self, row: np.ndarray) -> None:
        self.row = row

    @classmethod
    def from_box(cls, x: float, y: float, width: float, height: float, score: float = 1.0,
                 landmarks: Any = None) -> "Face":
        """A face found by something else. landmarks: (5, 2): left eye, right eye, nose, left and
        right corner of the mouth, as the viewer sees them."""
        row = np.full(_ROW, np.nan, np.float32)
        row[:6] = (x, y, width, height, score, landmarks is not None)
        if landmarks is not None:
            row[6:] = _arrays.floats_of(landmarks, (5, 2), "landmarks").ravel()
        if not np.isfinite(row[:5]).all():
            raise InvalidArgument("the box of a face must be finite numbers")
        return cls(row)

    @property
    def box(self) -> np.ndarray:
        """(x, y, width, height) in pixels; the first pixel covers 0..1."""
        return self.row[:4]

    @property
    def score(self) -> float:
        """0..1"""
        return float(self.row[4])

    @property
    def landmarks(self) -> Optional[np.ndarray]:
        """(5, 2): left eye, right eye, nose, left and right corner of the mouth, as the viewer sees
        them; None when the detector gives only boxes."""
        return self.row[6:].reshape(5, 2) if self.row[5] else None

    def __repr__(self) -> str:
        x, y, width, height = self.box
        return f"<uniface.Face at {x:.0f},{y:.0f} {width:.0f} x {height:.0f} score {self.score:.2f}>"


class Faces(Sequence[Face]):
    """Faces of one picture, best score first."""

    __slots__ = ("rows",)

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows.reshape(-1, _ROW)

    @classmethod
    def of(cls, faces: Any) -> "Faces":
        """A Face, or a sequence of them, as Faces."""
        if isinstance(faces, Faces):
            return cls(np.ascontiguousarray(faces.rows))
        if isinstance(faces, Face):
            faces = [faces]
        try:
            faces = list(faces)
        except TypeError:
            raise InvalidArgument(f"faces: got {_arrays.described(faces)}, wants uniface.Faces or a "
                                  "list of uniface.Face") from None
        for face in faces:
            if not isinstance(face, Face):
                raise InvalidArgument(
                    f"faces: got {_arrays.described(face)}, wants uniface.Face: see Face.from_box")
        return cls(np.array([f.row for f in faces], np.float32))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Face: ...

    @overload
    def __getitem__(self, index: slice) -> "Faces": ...

    def __getitem__(self, index: Union[int, slice]) -> Union[Face, "Faces"]:
        return Faces(self.rows[index]) if isinstance(index, slice) else Face(self.rows[index])

    def __iter__(self) -> Iterator[Face]:
        return (Face(row) for row in self.rows)

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4): x, y, width, height in pixels."""
        return self.rows[:, :4]

    @property
    def scores(self) -> np.ndarray:
        """(N,), 0..1."""
        return self.rows[:, 4]

    @property
    def landmarks(self) -> np.ndarray:
        """(N, 5, 2) in pixels; NaN where a detector gives only boxes."""
        return self.rows[:, 6:].reshape(-1, 5, 2)

    def main(self, image: Any) -> Optional[Face]:
        """The face that the picture is about: large and near the middle; None when there is none."""
        if not len(self):
            return None
        height, width = _arrays.picture_of(image).shape[:2]
        x, y, w, h = self.boxes.T
        away = (x + w / 2 - width / 2) ** 2 + (y + h / 2 - height / 2) ** 2
        return self[int(np.argmax(w * h - 2 * away))]

    def __repr__(self) -> str:
        return f"<uniface.Faces {list(self)!r}>"


def detect(image: Any, detector: Any) -> Faces:
    """Faces in a picture, best score first. detector: a uniface.models.FaceDetector."""
    return detector.detect(image)


def quality(image: Any, face: Face) -> Quality:
    """Judges a face for enrolment. Needs no model."""
    pixels = _arrays.picture_of(image)
    rows = Faces.of(face).rows
    return Quality(*_native.face_quality(_arrays.view_of(pixels), rows.ctypes.data))
