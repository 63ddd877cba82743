"""A band's pixels with its margin, and which of them become results."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.engine.plan import Band, Plan
from geoseg.engine.rows import RowReader
from geoseg.raster.chip import Chip

Clip = Callable[[int, int], npt.NDArray[np.bool_]]
"""Called with (first row, last row + 1): (rows, width) bool, True where a result is wanted."""


class Tile(NamedTuple):
    """A tile of a band.

    Parameters
    ----------
    place : tuple of int
        Its (row, col) in the tiling.
    window : tuple of slice
        Its rows and columns in the band, px.
    needed : bool
        Whether a result is wanted in it.
    whole : bool
        Whether all of its pixels are valid.
    """

    place: tuple[int, int]
    window: tuple[slice, slice]
    needed: bool
    whole: bool


def read_band(
    reader: RowReader, plan: Plan, band: Band, clip: Clip | None = None
) -> tuple[Chip, npt.NDArray[np.bool_]]:
    """Read a band with its margin, and say which of its pixels become results.

    Pixels that are valid but not wanted (the margin, what `clip` leaves out) are context for the others.

    Returns
    -------
    chip : Chip
        Pixels (band, row, col) in the source's dtype.
    wanted : ndarray of bool, shape (row, col)
    """
    margin = plan.margin
    chip = reader.read(band.start - margin, band.read_stop - margin)
    first, stop = max(band.start - margin, 0), min(band.read_stop - margin, plan.shape[0])
    columns = slice(margin, margin + plan.shape[1])
    inside = (slice(first - band.start + margin, stop - band.start + margin), columns)
    wanted = np.zeros_like(chip.valid)
    wanted[inside] = chip.valid[inside]
    if clip is not None:
        wanted[inside] &= clip(first, stop)
    return chip, wanted


def marked(plan: Plan, band: Band, chip: Chip, wanted: npt.NDArray[np.bool_]) -> list[Tile]:
    """Return the tiles of a band that was read, in row-major order."""
    return [
        Tile(place, window, bool(wanted[window].any()), bool(chip.valid[window].all()))
        for place, window in plan.tiles(band)
    ]
