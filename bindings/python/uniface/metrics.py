"""How good a model is, measured on pairs of pictures."""
from __future__ import annotations

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import _arrays, _native
from .exceptions import InvalidArgument
from .image import Image
from .models import FaceEmbedder, Model
from .runtime import InferenceEngine
from .verification import template_of


class Rate(NamedTuple):
    """A measured rate with its 95 % interval."""

    value: float
    low: float
    high: float
    errors: int
    trials: int


class Accuracy(NamedTuple):
    """What evaluate_model_accuracy measured."""

    accuracy: float              # mean over the folds, 0..1
    standard_error: float        # of that mean
    eer: float                   # equal error rate, 0..1
    threshold: float             # similarity at which the equal error rate is
    tar_at_far: Dict[float, float]   # true accept rate at false accept rates that the pairs support
    genuine: np.ndarray          # similarities of pairs of one person
    impostor: np.ndarray         # and of two


def _scores(genuine: Any, impostor: Any) -> Tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name, value in (("genuine", genuine), ("impostor", impostor)):
        array = _arrays.array_of(value, name, "(N,) similarities")
        if array.ndim != 1 or array.dtype.kind not in "fiu":
            raise _arrays.refuse(name, array, "(N,) similarities")
        arrays.append(np.ascontiguousarray(array, dtype=np.float32))
    return arrays[0], arrays[1]


def _call(function: Any, genuine: Any, impostor: Any, number: float) -> Any:
    g, i = _scores(genuine, impostor)
    return function(g.ctypes.data, len(g), i.ctypes.data, len(i), number)


def far_frr(genuine: Any, impostor: Any, threshold: float) -> Tuple[Rate, Rate]:
    """False accept and false reject rate where similarities >= threshold are accepted.

    genuine, impostor: (N,) similarities; -inf stands for a comparison that could not be made."""
    far, frr = _call(_native.rates_at_threshold, genuine, impostor, float(threshold))
    return Rate(*far), Rate(*frr)


def threshold_at_far(genuine: Any, impostor: Any, far: float) -> Tuple[float, float]:
    """(threshold, true accept rate): the lowest threshold that accepts at most `far` of the
    impostors, which must be at least 1 / far."""
    threshold, _, _, tar = _call(_native.rates_at_far, genuine, impostor, float(far))
    return threshold, tar


def equal_error_rate(genuine: Any, impostor: Any) -> Tuple[float, float]:
    """(rate, threshold) where false accepts and false rejects are equally frequent."""
    return _call(_native.equal_error_rate, genuine, impostor, 0.0)


def error_curve(genuine: Any, impostor: Any, points: int = 1000) -> np.ndarray:
    """(points, 3): threshold, false accept rate, false reject rate; thresholds rising."""
    rows = _call(_native.error_curve, genuine, impostor, float(points))
    return np.frombuffer(rows, np.float64).reshape(-1, 3)


def calibrate(model: Model, genuine: Any, impostor: Any) -> int:
    """Measures the decision thresholds of a model from similarities and keeps them in it (save it
    afterwards); the number of false accept rates that the impostors supported. No other thread may
    use the model meanwhile."""
    g, i = _scores(genuine, impostor)
    return _native.model_calibrate(model._handle, g.ctypes.data, len(g), i.ctypes.data, len(i))


class _Templates:
    """Templates of pictures; a path is read once however many pairs it is in."""

    def __init__(self, model: Any, detector: Any) -> None:
        self.model, self.detector = model, detector
        self.known: Dict[str, np.ndarray] = {}

    def of(self, picture: Any) -> np.ndarray:
        is_path = isinstance(picture, str) or hasattr(picture, "__fspath__")
        if is_path and str(picture) in self.known:
            return self.known[str(picture)]
        if self.detector is not None:
            made = template_of(picture, self.detector, self.model)
        else:
            made = self.model.predict(Image.from_path(picture) if is_path else picture)[0]
        if is_path:
            self.known[str(picture)] = made
        return made


def _folds(count: int, folds: int) -> np.ndarray:
    """Fold of each pair: blocks in their order, as the lists of LFW are laid out."""
    return (np.arange(count) * folds // count).astype(np.int32)


def _rate_list(impostors: int) -> List[float]:
    return [far for far in (1e-1, 1e-2, 1e-3, 1e-4) if impostors * far >= 1]


def evaluate_model_accuracy(model: Any, pairs: Iterable[Sequence[Any]], *, detector: Any = None,
                            folds: int = 10) -> Accuracy:
    """Accuracy of an embedder on pairs, by the protocol of LFW: each fold is judged at the threshold
    that is best on the others.

    model: a FaceEmbedder, or an InferenceEngine of one. pairs: (a, b, same) with aligned crops as
    arrays, uniface.Image or paths, and same true for one person; with `detector` (a FaceDetector)
    whole photos, whose main face is found and aligned (NoFaceFound when there is none).
    folds: of the accuracy; fewer where there are fewer pairs of either kind. Both kinds of pairs
    should be mixed in their order.
    """
    if isinstance(model, InferenceEngine):
        model = model.model
    if not isinstance(model, FaceEmbedder):
        raise InvalidArgument(f"model: got {_arrays.described(model)}, wants a FaceEmbedder")
    templates = _Templates(model, detector)
    scores, same = [], []
    if not hasattr(pairs, "__iter__"):
        raise InvalidArgument(f"pairs: got {_arrays.described(pairs)}, wants (a, b, same) of each")
    for number, pair in enumerate(pairs):
        try:
            a, b, is_same = pair
        except (TypeError, ValueError):
            raise InvalidArgument(f"pairs: number {number} is no (a, b, same)") from None
        scores.append(float(templates.of(a) @ templates.of(b)))
        same.append(bool(is_same))
    return accuracy_of_scores(scores, same, folds)


def accuracy_of_scores(scores: Any, same: Any, folds: int = 10,
                       fold_of: Optional[Any] = None) -> Accuracy:
    """The same from similarities (N,) and truths (N,). fold_of: (N,) folds from 0; None: blocks."""
    values = _arrays.floats_of(np.asarray(scores), (None,), "scores")
    truth = np.ascontiguousarray(same, dtype=np.int32)
    if truth.shape != values.shape:
        raise _arrays.refuse("same", truth, f"({len(values)},) of bool")
    genuine, impostor = values[truth != 0], values[truth == 0]
    if not len(genuine) or not len(impostor):
        raise InvalidArgument(f"pairs: {len(genuine)} of one person and {len(impostor)} of two; "
                              "there must be some of both")
    folds = max(2, min(folds, len(genuine), len(impostor)))
    where = _folds(len(values), folds)
    if fold_of is not None:
        where = np.ascontiguousarray(fold_of, dtype=np.int32)
        folds = int(where.max()) + 1
    if where.shape != values.shape:
        raise _arrays.refuse("fold_of", where, f"({len(values)},) of int")
    mean, error = _native.accuracy_in_folds(values.ctypes.data, truth.ctypes.data,
                                            where.ctypes.data, len(values), folds)
    eer, threshold = equal_error_rate(genuine, impostor)
    rates = {far: threshold_at_far(genuine, impostor, far)[1] for far in _rate_list(len(impostor))}
    return Accuracy(mean, error, eer, threshold, rates, genuine, impostor)
