"""Class maps in strips of rows, as `geoseg.polygons.stream` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError, plural
from geoseg.polygons.runs import Bools, Ints

Shares = npt.NDArray[np.uint8]

_PIXELS = 2**22
"""Default number of pixels per strip; its runs and vertices take a few times as many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapRows:
    """A strip of rows of a class map.

    Parameters
    ----------
    codes : (row, col) of any integer dtype
        Class codes.
    valid : (row, col) bool
        False where there is no data.
    confidence : (row, col) uint8 or None
        Probability of the class in steps of 1/254, or 255 for none.
    probabilities : (class, row, col) uint8 or None
        Probability of every class, encoded likewise.
    origin : (row, col) uint32 or None
        Index of the scene that each pixel comes from.
    row : int
        Row of the raster at which the strip begins.
    halo : bool
        Whether the first row of `codes` and `valid`, which the other arrays lack, is the last row of the strip
        above.
    last : bool
        Whether the strip ends with the last row of the raster.
    """

    codes: Ints
    valid: Bools
    confidence: Shares | None = None
    probabilities: Shares | None = None
    origin: npt.NDArray[np.uint32] | None = None
    row: int = 0
    halo: bool = False
    last: bool = False


def rows_of_band(width: int) -> int:
    """Return the default number of rows of a strip."""
    return max(1, _PIXELS // width)


def cut(whole: MapRows, rows: int) -> Iterator[MapRows]:
    """Cut a whole map into strips of a number of rows, without copying."""
    height = len(whole.codes)
    for row in range(0, height, rows):
        stop, halo = min(row + rows, height), row > 0
        yield MapRows(
            codes=whole.codes[row - halo : stop],
            valid=whole.valid[row - halo : stop],
            confidence=None if whole.confidence is None else whole.confidence[row:stop],
            probabilities=None if whole.probabilities is None else whole.probabilities[:, row:stop],
            origin=None if whole.origin is None else whole.origin[row:stop],
            row=row - halo,
            halo=halo,
            last=stop == height,
        )


def even(strips: Iterable[MapRows], rows: int) -> Iterator[MapRows]:
    """Regroup strips without halos into strips of a number of rows; the last one may have fewer."""
    waiting: list[MapRows] = []
    count = 0
    for strip in strips:
        for part in _parts(strip, rows - count, rows):
            waiting.append(part)
            count += len(part.codes)
            if count == rows:
                yield joined(waiting)
                waiting, count = [], 0
    if waiting:
        yield joined(waiting)


def _parts(strip: MapRows, first: int, rows: int) -> Iterator[MapRows]:
    """Cut a strip after `first` rows and then after every `rows` rows."""
    begin, stop = 0, first
    while begin < len(strip.codes):
        yield MapRows(
            codes=strip.codes[begin:stop],
            valid=strip.valid[begin:stop],
            confidence=None if strip.confidence is None else strip.confidence[begin:stop],
            probabilities=None if strip.probabilities is None else strip.probabilities[:, begin:stop],
            origin=None if strip.origin is None else strip.origin[begin:stop],
        )
        begin, stop = stop, stop + rows


def joined(strips: list[MapRows]) -> MapRows:
    """Join strips of rows that follow each other, without halos, into one."""
    if len(strips) == 1:
        return strips[0]

    def rows_of(name: str, axis: int = 0) -> Any:
        parts = [getattr(strip, name) for strip in strips]
        return None if parts[0] is None else np.concatenate(parts, axis=axis)

    return MapRows(
        codes=rows_of("codes"),
        valid=rows_of("valid"),
        confidence=rows_of("confidence"),
        probabilities=rows_of("probabilities", axis=1),
        origin=rows_of("origin"),
    )


def connected(
    strips: Iterable[MapRows], shape: tuple[int, int], rows: int | None = None
) -> Iterator[MapRows]:
    """Add halos to consecutive strips of rows, from the first row of the raster on.

    Parameters
    ----------
    strips : iterable of Band
        Without rows, halos and ends.
    shape : tuple of int
        (row, col) of the raster.
    rows : int, optional
        Most rows per strip, to which longer ones are cut; `rows_of_band` by default.

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
        raise ClassMapError(f"the class map ends at row {row}, expected {plural(shape[0], 'row')}")


def _with_halos(
    strip: MapRows, row: int, above: tuple[Ints, Bools] | None, rows: tuple[int, int]
) -> Iterator[MapRows]:
    """Cut a strip that begins at a row below another one; `rows` are those of the raster and the most of a strip."""
    height, most = rows
    for part in cut(strip, most):
        stop = row + len(part.codes) - part.halo
        whole = replace(part, row=row - part.halo, last=stop == height)
        if row and not part.halo:
            assert above is not None
            codes, valid = (
                np.concatenate(pair) for pair in zip(above, (part.codes, part.valid), strict=True)
            )
            whole = replace(whole, codes=codes, valid=valid, row=row - 1, halo=True)
        yield whole
        row = stop
