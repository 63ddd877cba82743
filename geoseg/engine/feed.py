"""Read the pixels of a strip with its margin, and tell which of them become results."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.engine.plan import Plan, TileStrip
from geoseg.engine.rows import RowReader
from geoseg.raster.chip import Chip

Clip = Callable[[int, int], npt.NDArray[np.bool_]]
"""Called with (first row, last row + 1); returns bool of shape (rows, width), True where a result is wanted."""


class Tile(NamedTuple):
    """A tile of a strip.

    Parameters
    ----------
    place : tuple of int
        (row, col) of the tile in the tiling.
    window : tuple of slice
        Rows and columns of the tile in the strip, px.
    needed : bool
        Whether a result is wanted anywhere in the tile.
    whole : bool
        Whether all pixels of the tile are valid.
    """

    place: tuple[int, int]
    window: tuple[slice, slice]
    needed: bool
    whole: bool


def read_strip(
    reader: RowReader, plan: Plan, strip: TileStrip, clip: Clip | None = None
) -> tuple[Chip, npt.NDArray[np.bool_]]:
    """Read a strip with its margin, and tell which of its pixels become results.

    Valid pixels that are not wanted (those in the margin, those that `clip` excludes) are context for the others.

    Returns
    -------
    chip : Chip
        Pixels (band, row, col) in the source's dtype.
    wanted : ndarray of bool, shape (row, col)
    """
    reads = plan.reads(strip)
    chip = reader.read(reads.start, reads.stop)
    first, stop = max(reads.start, 0), min(reads.stop, plan.shape[0])
    columns = slice(plan.margin, plan.margin + plan.shape[1])
    inside = (slice(first - reads.start, stop - reads.start), columns)
    wanted = np.zeros_like(chip.valid)
    wanted[inside] = chip.valid[inside]
    if clip is not None:
        wanted[inside] &= clip(first, stop)
    return chip, wanted


def marked(plan: Plan, strip: TileStrip, chip: Chip, wanted: npt.NDArray[np.bool_]) -> list[Tile]:
    """Return the tiles of a strip that was read, in row-major order."""
    return [
        Tile(place, window, bool(wanted[window].any()), bool(chip.valid[window].all()))
        for place, window in plan.tiles(strip)
    ]
