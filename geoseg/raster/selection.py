"""Bands by number or name."""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.errors import OptionError
from geoseg.raster.band_names import find_bands


def band_numbers(
    bands: Sequence[int | str], descriptions: Sequence[str | None], path: str
) -> tuple[int, ...]:
    """Numbers from 1 of bands that are wanted by number or by name.

    A name is compared as it stands, then without regard to case; digits that are no name are a number, and what is
    left is found by what it means (`band_names.find_bands`).

    Raises
    ------
    OptionError
        If none is wanted, or one is not there or not unique.
    """
    if not bands:
        raise OptionError(f"{path}: no band was asked for, expected at least one")
    found = [_number(band, descriptions, path) for band in bands]
    left = [str(band) for band, number in zip(bands, found, strict=True) if number is None]
    if left:
        others = iter(_by_meaning(left, descriptions, path))
        return tuple(next(others) if number is None else number for number in found)
    return tuple(number for number in found if number is not None)


def _by_meaning(names: Sequence[str], descriptions: Sequence[str | None], path: str) -> tuple[int, ...]:
    """Find bands that are not called so."""
    found = find_bands(names, descriptions, path)
    if found.numbers is not None:
        return found.numbers
    known = ", ".join(name for name in descriptions if name) or "none"
    if found.doubt:
        raise OptionError(f"{path}: {found.doubt}; use the names it has ({known}) or numbers")
    word, listed = ("band", repr(names[0])) if len(names) == 1 else ("bands", ", ".join(map(repr, names)))
    raise OptionError(f"{path}: has no {word} named {listed} (named bands: {known}); use a name or a number")


def _number(band: int | str, descriptions: Sequence[str | None], path: str) -> int | None:
    """Return the number of a band, None of a name that no band has."""
    if isinstance(band, str):
        same = [i for i, name in enumerate(descriptions, start=1) if name == band]
        if not same:
            same = [
                i for i, name in enumerate(descriptions, start=1) if name and name.lower() == band.lower()
            ]
        if len(same) > 1:
            raise OptionError(
                f"{path}: bands {', '.join(map(str, same))} are all named {band!r}; use numbers"
            )
        if same:
            return same[0]
        if not band.isdecimal():
            return None
    number = int(band)
    if not 1 <= number <= len(descriptions):
        raise OptionError(f"{path}: has no band {number}, expected 1 to {len(descriptions)}")
    return number
