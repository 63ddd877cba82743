"""Bands by number or name."""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.errors import OptionError


def band_numbers(
    bands: Sequence[int | str], descriptions: Sequence[str | None], path: str
) -> tuple[int, ...]:
    """Numbers from 1 of bands that are wanted by number or by name.

    A name is compared as it stands, then without regard to case; digits that are no name are a number.

    Raises
    ------
    OptionError
        If none is wanted, or one is not there or not unique.
    """
    if not bands:
        raise OptionError(f"{path}: no band was asked for, expected at least one")
    return tuple(_number(band, descriptions, path) for band in bands)


def _number(band: int | str, descriptions: Sequence[str | None], path: str) -> int:
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
            known = ", ".join(name for name in descriptions if name) or "none"
            raise OptionError(
                f"{path}: has no band named {band!r} (named bands: {known}); use a name or a number"
            )
    number = int(band)
    if not 1 <= number <= len(descriptions):
        raise OptionError(f"{path}: has no band {number}, expected 1 to {len(descriptions)}")
    return number
