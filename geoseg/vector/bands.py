"""A class map in bands of rows, as `geoseg.vector.stream` takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.vector.runs import Bools, Ints

Shares = npt.NDArray[np.uint8]

_PIXELS = 2**22
"""Pixels of a band, where nobody says otherwise: its runs and vertices take a few times as many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """Rows of a class map.

    Parameters
    ----------
    codes : (row, col) of any integer dtype
    valid : (row, col) bool
    confidence : (row, col) uint8 or None
        Probability of the class in steps of 1/254, 255 where there is none.
    probabilities : (class, row, col) uint8 or None
        Of every class, likewise.
    row : int
        Row of the raster that the first row is.
    halo : bool
        Whether the first row of `codes` and `valid`, which confidence and probabilities lack, is the last one
        of the band above.
    last : bool
        Whether the last row is the raster's.
    """

    codes: Ints
    valid: Bools
    confidence: Shares | None = None
    probabilities: Shares | None = None
    row: int = 0
    halo: bool = False
    last: bool = False


def rows_of_band(width: int) -> int:
    """Rows of a band of a map, where nobody says otherwise."""
    return max(1, _PIXELS // width)


def cut(whole: Band, rows: int) -> Iterator[Band]:
    """Cut a whole map into bands of so many rows; nothing is copied."""
    height = len(whole.codes)
    for row in range(0, height, rows):
        stop, halo = min(row + rows, height), row > 0
        yield Band(
            codes=whole.codes[row - halo : stop],
            valid=whole.valid[row - halo : stop],
            confidence=None if whole.confidence is None else whole.confidence[row:stop],
            probabilities=None if whole.probabilities is None else whole.probabilities[:, row:stop],
            row=row - halo,
            halo=halo,
            last=stop == height,
        )


def even(strips: Iterable[Band], rows: int) -> Iterator[Band]:
    """Cut and join strips of rows, without halos, into strips of so many rows; the last one may have fewer."""
    waiting: list[Band] = []
    count = 0
    for strip in strips:
        for part in _parts(strip, rows - count, rows):
            waiting.append(part)
            count += len(part.codes)
            if count == rows:
                yield _joined(waiting)
                waiting, count = [], 0
    if waiting:
        yield _joined(waiting)


def _parts(strip: Band, first: int, rows: int) -> Iterator[Band]:
    """Cut a strip after so many rows, and the rest after so many each."""
    begin, stop = 0, first
    while begin < len(strip.codes):
        yield Band(
            codes=strip.codes[begin:stop],
            valid=strip.valid[begin:stop],
            confidence=None if strip.confidence is None else strip.confidence[begin:stop],
            probabilities=None if strip.probabilities is None else strip.probabilities[:, begin:stop],
        )
        begin, stop = stop, stop + rows


def _joined(strips: list[Band]) -> Band:
    if len(strips) == 1:
        return strips[0]

    def rows_of(name: str, axis: int = 0) -> Any:
        parts = [getattr(strip, name) for strip in strips]
        return None if parts[0] is None else np.concatenate(parts, axis=axis)

    return Band(
        codes=rows_of("codes"),
        valid=rows_of("valid"),
        confidence=rows_of("confidence"),
        probabilities=rows_of("probabilities", axis=1),
    )


def connected(strips: Iterable[Band], shape: tuple[int, int], rows: int | None = None) -> Iterator[Band]:
    """Give strips of rows, which follow each other from the first row of the raster on, their halos.

    Parameters
    ----------
    strips : iterable of Band
        Without rows, halos and ends.
    shape : tuple of int
        (row, col) of the raster.
    rows : int, optional
        Strips are cut into bands of so many rows at most, `rows_of_band` by default.

    Raises
    ------
    ClassMapError
        If they are not the rows of such a raster.
    """
    row = 0
    above: tuple[Ints, Bools] | None = None
    for strip in strips:
        if strip.codes.shape[1:] != shape[1:] or row + len(strip.codes) > shape[0]:
            raise ClassMapError(
                f"a strip of the class map has shape {strip.codes.shape} at row {row} of {shape}"
            )
        yield from _with_halos(strip, row, above, (shape[0], rows or rows_of_band(shape[1])))
        if len(strip.codes):
            above = strip.codes[-1:].copy(), strip.valid[-1:].copy()
        row += len(strip.codes)
        del strip  # before the next one is read
    if row != shape[0]:
        raise ClassMapError(f"the class map ends at row {row}, expected {shape[0]} rows")


def _with_halos(
    strip: Band, row: int, above: tuple[Ints, Bools] | None, rows: tuple[int, int]
) -> Iterator[Band]:
    """Cut a strip that begins at a row below another one; `rows` are those of the raster, and of a band at most."""
    height, most = rows
    for part in cut(strip, most):
        stop = row + len(part.codes) - part.halo
        band = replace(part, row=row - part.halo, last=stop == height)
        if row and not part.halo:
            assert above is not None
            codes, valid = (
                np.concatenate(pair) for pair in zip(above, (part.codes, part.valid), strict=True)
            )
            band = replace(band, codes=codes, valid=valid, row=row - 1, halo=True)
        yield band
        row = stop
