"""What a person says about which pixels are valid, as plain values that options hold."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from geoseg.errors import OptionError

Values = tuple[float, ...]
"""No-data values of one band; none of them, where it has none."""

NodataRule = Literal["all", "any"]
"""Whether a pixel is no data where all bands have their no-data value, or where any has."""

RULES: Final[tuple[NodataRule, NodataRule]] = ("all", "any")

_EXPECTED = "expected a number, none, or one for each band: 0 or -9999,0,0 (0/255: both values of a band)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a person says about validity, in place of what the file says.

    Parameters
    ----------
    nodata : tuple of tuple of float, optional
        No-data values: one entry for all bands or one for each band of the scene, in the scene's order.
    rule : str, optional
        ``all`` or ``any``; by default ``all`` where all bands have the same values, else ``any``.
    alpha : int or str, optional
        Number from 1 of the band whose pixels above 0 are valid, or ``none``.
    """

    nodata: tuple[Values, ...] | None = None
    rule: NodataRule | None = None
    alpha: int | Literal["none"] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.rule not in (None, *RULES):
            raise OptionError(f"nodata_rule is {self.rule!r}, expected all or any")
        if self.alpha not in (None, "none") and not (type(self.alpha) is int and self.alpha >= 1):
            raise OptionError(f"alpha is {self.alpha!r}, expected the number of a band from 1, or none")


UNSAID: Final = Declared()
"""Nothing said: the file counts."""


def nodata_of(given: object) -> tuple[Values, ...] | None:
    """Read what a person writes for no data.

    Parameters
    ----------
    given : None, number, str or sequence
        ``-9999``; ``"none"``; ``"0,0,none"`` or a sequence: one entry for each band; an entry that is a
        sequence, or ``"0/255"``, holds several values of one band. None: not said.

    Returns
    -------
    tuple of tuple of float, or None
        NaN and infinity are left out: they are never valid.

    Raises
    ------
    OptionError
        If it cannot be read.
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
    """Whether a band tagged alpha can be meant: writers tag the fourth band of any picture so.

    Parameters
    ----------
    name : str or None
        Its description. One that only counts the bands ("Band 4") says nothing.
    number : int
        Of the band, from 1.
    """
    words = " ".join(re.split(r"[\s_.-]+", (name or "").strip().lower()))
    counted = re.fullmatch(rf"(band|layer)? ?0*{number}", words)
    return not words or counted is not None or _ALPHA_NAMES.fullmatch(words) is not None
