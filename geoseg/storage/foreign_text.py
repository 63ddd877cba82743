"""Safe reading of JSON from untrusted files, within limits of depth and size.

A small file can hold a number with millions of digits, or be nested deeper than parsers can follow. Only plain,
finite values of limited size are accepted; anything else is refused in one line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from typing import Any, Final

from geoseg.errors import plural
from geoseg.storage.printable import shown

DEEPEST: Final = 100
"""Deepest nesting of lists and objects. Real files have at most ten levels; parsers recurse once per level."""
LONGEST_NUMBER: Final = 64
"""Most characters of a number. A float64 has 25; the time to parse an integer grows with the square of its digits."""
_LARGEST_NUMBER: Final = 2**64


def read_json(text: str | bytes) -> Any:
    """Parse JSON from an untrusted source.

    Parameters
    ----------
    text : str or bytes
        JSON text; bytes are decoded as UTF-8.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Nested at most 100 deep, with finite numbers, integers below 2**64 and strings of valid Unicode.

    Raises
    ------
    ValueError
        If the text is not acceptable; the message is one line that says why.
    """
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    return checked(value)


TOO_DEEP: Final = f"is nested more than {DEEPEST} deep"


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"holds a number of {plural(len(text), 'digit')}, expected {LONGEST_NUMBER} at most")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is too large for a number, expected one that a float64 can hold")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def checked(value: Any) -> Any:
    """Return plain values unchanged; raise ValueError if they are too deep, too large or not valid Unicode."""
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
            raise ValueError(f"{shown(value)} contains a lone surrogate (half a character)") from None
