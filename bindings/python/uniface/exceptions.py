"""What can go wrong. All are UniFaceError; most are also the built-in exception that fits.

Messages say what was wrong, with which input, and what to do.
"""


class UniFaceError(Exception):
    """Anything that UniFace refuses or cannot do."""


class InvalidArgument(UniFaceError, ValueError):
    """An argument has a value, shape or type that is not possible."""


class InputOutputError(UniFaceError, OSError):
    """A file or a database cannot be read or written."""


class FormatError(UniFaceError, ValueError):
    """A picture, model or gallery is damaged or of another format."""


class NotSupported(UniFaceError, NotImplementedError):
    """The input is valid, and this version cannot do it."""


class LimitExceeded(UniFaceError, ValueError):
    """The input is larger than what is accepted."""


class DeviceNotFound(UniFaceError, RuntimeError):
    """The device that was asked for does not exist here; the message lists those that do."""


class StateError(UniFaceError, RuntimeError):
    """The object cannot do this now: it is closed, quantised already, or of a forked process."""


class Mismatch(UniFaceError, ValueError):
    """Values do not belong together, such as templates of two models."""


class NotFound(UniFaceError, LookupError):
    """There is no such person, collection or file."""


class ModelNotFound(NotFound, FileNotFoundError):
    """No file and no model of the model store has this name."""


class NoFaceFound(UniFaceError, ValueError):
    """A picture that should show a face shows none."""


class QualityTooLow(UniFaceError, ValueError):
    """The face is too poor for what was asked."""


class NotCalibrated(UniFaceError, RuntimeError):
    """Something must be measured first: a threshold, or the ranges for INT8."""


class Cancelled(UniFaceError):
    """The progress function stopped the work."""


class NotTrusted(UniFaceError, PermissionError):
    """A model that must be signed is not, or by nobody who is trusted, or is older than one before."""


class OutOfMemory(UniFaceError, MemoryError):
    """The system has no memory left."""


_BY_STATUS = {
    1: InvalidArgument, 2: OutOfMemory, 3: InputOutputError, 4: FormatError, 5: NotSupported,
    6: LimitExceeded, 7: DeviceNotFound, 8: StateError, 9: Mismatch, 10: NotFound, 11: NoFaceFound,
    12: QualityTooLow, 13: NotCalibrated, 14: Cancelled, 15: NotTrusted,
}


def of_status(status: int, message: str) -> UniFaceError:
    """The exception for a uf_status of the C library."""
    return _BY_STATUS.get(status, UniFaceError)(message)
