"""Arguments that are plain values: what is wrong is said with the argument's name."""
from __future__ import annotations

import numbers
from typing import Any, Optional

from .exceptions import InvalidArgument


def whole(value: Any, argument: str, low: int, high: int) -> int:
    """A whole number of low..high; NumPy's are ones too."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not low <= int(value) <= high:
        raise InvalidArgument(f"{argument}: got {value!r}, wants {low}..{high}")
    return int(value)


def number(value: Any, argument: str, low: float, high: float) -> float:
    """A number of low..high, which NaN is not."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= float(value) <= high:
        raise InvalidArgument(f"{argument}: got {value!r}, wants a number of {low:g}..{high:g}")
    return float(value)


def text(value: Any, argument: str) -> str:
    """A str that C can take."""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidArgument(f"{argument}: got {value!r}, wants a str without zero bytes")
    return value


def text_or_none(value: Any, argument: str) -> Optional[str]:
    """The same, or None."""
    return None if value is None else text(value, argument)


def yes_or_no(value: Any, argument: str) -> bool:
    """True or False, or a number that equals one of them."""
    if not isinstance(value, numbers.Real) and type(value).__name__ not in ("bool_", "bool"):
        raise InvalidArgument(f"{argument}: got {value!r}, wants True or False")
    return bool(value)
