"""The user's statements about which pixels are valid."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from geoseg.errors import OptionError

Values = tuple[float, ...]
"""No-data values of one band; empty if it has none."""

Nodata: TypeAlias = float | str | Sequence[float | str | Sequence[float] | None]
"""No data as a person says it: see `nodata_of`."""

NodataRule = Literal["all", "any"]
"""Whether a pixel is no data if all bands have their no-data value, or if any has."""

RULES: Final[tuple[NodataRule, NodataRule]] = ("all", "any")

_EXPECTED = "expected a number, none, or one for each band: 0 or -9999,0,0 (0/255: both values of a band)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Statements of the user about validity, which replace those of the file.

    Parameters
    ----------
    nodata : tuple of tuple of float, optional
        No-data values: one entry for all bands or one for each band of the scene, in the scene's order.
    rule : str, optional
        ``all`` or ``any``; by default ``all`` if all bands have the same values, else ``any``.
    alpha : int or str, optional
        Number from 1 of the band whose pixels above 0 are valid, or ``none``.
    """

    nodata: tuple[Values, ...] | None = None
    rule: NodataRule | None = None
    alpha: int | Literal["none"] | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown rule and an impossible band."""
        if self.rule not in (None, *RULES):
            raise OptionError(f"nodata_rule is {self.rule!r}, expected all or any")
        if self.alpha not in (None, "none") and not (type(self.alpha) is int and self.alpha >= 1):
            raise OptionError(f"alpha is {self.alpha!r}, expected the number of a band from 1, or none")


UNSAID: Final = Declared()
"""No statements: what the file says applies."""


def nodata_of(given: object) -> tuple[Values, ...] | None:
    """Parse no-data values as users write them.

    Parameters
    ----------
    given : None, number, str or sequence
        ``-9999``; ``"none"``; ``"0,0,none"`` or a sequence with one entry per band. An entry that is a sequence, or
        ``"0/255"``, has several values of one band. None if nothing is stated.

    Returns
    -------
    tuple of tuple of float, or None
        Values per band, without NaN and infinity, which are never valid anyway.

    Raises
    ------
    OptionError
        If the text or value cannot be interpreted.
    """
    if given is None:
        return None
    given = given.tolist() if hasattr(given, "tolist") else given  # numpy's numbers and arrays
    if isinstance(given, str):
        given = given.split(",")
    entries = list(given) if isinstance(given, list | tuple) else [given]
    if not entries:
        raise OptionError(f"nodata is empty, {_EXPECTED}")
    return tuple(_values(entry) for entry in entries)


def _values(entry: object) -> Values:
    parts: Sequence[object]
    if isinstance(entry, str):
        parts = () if entry.strip().lower() == "none" else entry.split("/")
    elif entry is None:
        parts = ()
    else:
        parts = list(entry) if isinstance(entry, list | tuple) else [entry]
    try:
        if any(isinstance(part, bool) for part in parts):
            raise TypeError
        numbers = [float(part) for part in parts]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"nodata is {entry!r}, {_EXPECTED}") from None
    return tuple(dict.fromkeys(number for number in numbers if math.isfinite(number)))


_ALPHA_NAMES: Final = re.compile(
    r"a|alpha( (band|channel))?|((data|dataset|valid|validity) )?mask|valid|validity|opacity|transparency"
)


def may_be_alpha(name: str | None, number: int) -> bool:
    """Tell whether a band tagged alpha may be one: writers tag the fourth band of any image so.

    Parameters
    ----------
    name : str or None
        Description of the band. One that only counts ("Band 4") says nothing.
    number : int
        Number of the band, from 1.
    """
    words = " ".join(re.split(r"[\s_.-]+", (name or "").strip().lower()))
    counted = re.fullmatch(rf"(band|layer)? ?0*{number}", words)
    return not words or counted is not None or _ALPHA_NAMES.fullmatch(words) is not None
