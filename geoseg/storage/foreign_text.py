"""Text that strangers wrote, read within bounds.

A few hundred bytes can stand for a number of millions of digits, or be nested deeper than readers go. What is read
here is small, plain and finite, or is refused in one line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from typing import Any, Final

from geoseg.storage.printable import shown

DEEPEST: Final = 100
"""Lists in lists; what people write is ten deep at most, and readers that follow call themselves at each depth."""
LONGEST_NUMBER: Final = 64
"""Characters; a float64 has 25, and the time to read a whole number grows with the square of its digits."""
_LARGEST_NUMBER: Final = 2**64


def read_json(text: str | bytes) -> Any:
    """Read JSON that a stranger may have written.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Nested 100 deep at most, numbers finite and whole ones below 2**64, texts whole.

    Raises
    ------
    ValueError
        One line: what is wrong with it.
    """
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    return checked(value)


TOO_DEEP: Final = f"is nested more than {DEEPEST} deep"


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"holds a number of {len(text)} digits, expected {LONGEST_NUMBER} at most")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is larger than any number that a computer knows")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def checked(value: Any) -> Any:
    """Return plain values as they are, unless they are too deep, too large or no text."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        if isinstance(each, dict):
            waiting += [(part, depth + 1) for pair in each.items() for part in pair]
        elif isinstance(each, list | tuple | set):
            waiting += [(part, depth + 1) for part in each]
        else:
            _check_one(each)
    return value


def _check_one(value: Hashable) -> None:
    if isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
        raise ValueError(f"holds the number {str(value)[:20]}..., expected one below 2**64")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{shown(value)} holds half a character (a lone surrogate)") from None
