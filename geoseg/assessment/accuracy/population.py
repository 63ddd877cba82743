"""The pixels that a sample stands for, counted by stratum and class.

A map is read a few rows at a time, so memory does not grow with its height.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.ground_cells import PixelAreas
from geoseg.polygons.strips import even, rows_of_band
from geoseg.progress import OnProgress
from geoseg.vector.sources import ReadMap

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.bool_]]
"""Codes and validity of consecutive rows, both (row, col)."""
ReadRows = Callable[[int], Iterator[Rows]]
"""Reads a map from top to bottom, so many rows at a time."""

OUTSIDE: Final = -(2**31)
"""Code of the stratum of valid pixels that lie in none of the strata of another layer; also of invalid pixels in the
digest of a map."""


def rows_of_map(found: ReadMap) -> ReadRows:
    """Return the function that reads the rows of a class map."""

    def read(rows: int) -> Iterator[Rows]:
        for part in even(found.rows(), rows):
            yield part.codes, part.valid

    return read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """The valid pixels of a map, counted by stratum and class.

    Parameters
    ----------
    grid : Grid
        Grid of the map.
    strata, classes : (cell,) int64
        Codes of stratum and class of each combination that occurs, in ascending order.
    pixels : (cell,) int64
        Its pixels.
    area_m2 : (cell,) float64
        Its ground area, m², the sum of the areas of its pixels; NaN if the ground areas are unknown.
    digest : str
        SHA-256 of the map's grid and pixels, whatever file they are in.
    """

    grid: Grid
    strata: Ints
    classes: Ints
    pixels: Ints
    area_m2: Floats
    digest: str

    @property
    def known(self) -> bool:
        """Whether ground areas are known: the map's CRS is tied to the Earth or another body."""
        return bool(np.isfinite(self.area_m2).all())

    @property
    def weight(self) -> Floats:
        """Size of each combination: its ground area, or its pixels where that is unknown."""
        return self.area_m2 if self.known else self.pixels.astype(np.float64)


def count(
    grid: Grid, read: ReadRows, read_strata: ReadRows | None, progress: OnProgress | None = None
) -> Population:
    """Count the valid pixels of a map by stratum and class.

    Parameters
    ----------
    grid : Grid
        Grid of the map.
    read : callable
        Reads the map.
    read_strata : callable or None
        Reads the codes of strata on the same grid; None if the classes are the strata.
    progress : callable, optional
        Called with (rows done, rows, what).

    Raises
    ------
    ClassMapError
        If the map has no valid pixel.
    """
    areas = PixelAreas(grid)
    found: dict[tuple[int, int], list[float]] = {}
    digest = _Digest(grid)
    for row, codes, valid, strata in together(grid, read, read_strata):
        stop = row + len(codes)
        digest.add(codes, valid)
        keys, place = _cells(codes[valid], None if strata is None else strata[valid])
        pixels: Floats = np.bincount(place, minlength=len(keys)).astype(np.float64)
        sums: list[Floats] = [pixels, np.zeros_like(pixels), np.zeros_like(pixels)]
        if areas.known:
            of_pixels, doubts = areas.rows(row, stop)
            sums[1] = np.bincount(place, of_pixels[valid], len(keys)).astype(np.float64)
            if doubts is not None:
                sums[2] = np.bincount(place, doubts[valid], len(keys)).astype(np.float64)
        for key, *more in zip(keys, *sums, strict=True):
            known = found.setdefault(key, [0.0, 0.0, 0.0])
            known[:] = [a + float(b) for a, b in zip(known, more, strict=True)]
        if progress is not None:
            progress(stop, grid.height, "count")
    cells = sorted(cell for cell, sums in found.items() if sums[0])
    if not cells:
        raise ClassMapError("the map has no pixel of a class, expected some to draw from")
    on_ground = [areas.square_metres(found[cell][1], found[cell][2]) for cell in cells]
    return Population(
        grid=grid,
        strata=np.array([stratum for stratum, _ in cells]),
        classes=np.array([code for _, code in cells]),
        pixels=np.array([int(found[cell][0]) for cell in cells]),
        area_m2=np.array([np.nan if area is None else area for area in on_ground]),
        digest=digest.text,
    )


class _Digest:
    """SHA-256 of a map's grid and pixels, row by row; whatever file they are in, and however they are read."""

    def __init__(self, grid: Grid) -> None:
        self._sha = hashlib.sha256(repr((grid.shape, tuple(grid.transform)[:6])).encode())

    def add(self, codes: Any, valid: Any) -> None:
        """Add rows."""
        self._sha.update(np.where(valid, codes.astype("<i4"), OUTSIDE).tobytes())

    @property
    def text(self) -> str:
        """The digest as hexadecimal digits."""
        return self._sha.hexdigest()


def digest_of(grid: Grid, read: ReadRows, progress: OnProgress | None = None) -> str:
    """Return the `Population.digest` of a map, without counting its pixels."""
    digest = _Digest(grid)
    for row, codes, valid, _ in together(grid, read, None):
        digest.add(codes, valid)
        if progress is not None:
            progress(row + len(codes), grid.height, "compare")
    return digest.text


def together(grid: Grid, read: ReadRows, read_strata: ReadRows | None) -> Iterator[tuple[int, Any, Any, Any]]:
    """Read a map and its strata side by side: first row, codes, validity, and strata or None."""
    rows, row = rows_of_band(grid.width), 0
    others: Iterator[Rows | None] = iter(lambda: None, 0) if read_strata is None else read_strata(rows)
    for (codes, valid), other in zip(read(rows), others, strict=False):
        strata = None if other is None else np.where(other[1], other[0].astype(np.int64), OUTSIDE)
        yield row, codes, valid, strata
        row += len(codes)
        del codes, valid, other, strata  # before the next ones are read


def _cells(codes: Any, strata: Any) -> tuple[list[tuple[int, int]], npt.NDArray[np.intp]]:
    """Return the combinations of stratum and code that occur, and the index of each pixel's."""
    kinds, place = kinds_of(codes)
    if strata is None:
        return [(int(kind), int(kind)) for kind in kinds], place
    others, other = kinds_of(strata)
    cell = other * len(kinds) + place
    return [(int(s), int(k)) for s in others for k in kinds], cell


def kinds_of(codes: Any) -> tuple[Any, npt.NDArray[np.intp]]:
    """Return the distinct codes and the index of each; by counting where codes lie close together."""
    if not len(codes):
        return codes, codes.astype(np.intp)
    low, high = int(codes.min()), int(codes.max())
    if high - low >= 2**20:
        return np.unique(codes, return_inverse=True)
    shifted = codes.astype(np.intp) - low
    there = np.bincount(shifted) > 0
    kinds = np.flatnonzero(there)
    return kinds + low, (np.cumsum(there) - 1)[shifted]
