"""A picture read whole and cut as a model wants it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.engine.feed import read_band
from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.resized import resize_chip
from geoseg.engine.rows import RowReader
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.source import Source

Kind = tuple[tuple[float, ...], tuple[float, ...], np.dtype[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A whole image in memory, cut for the network; made by `read_picture`.

    Parameters
    ----------
    name : str
        What results and messages call it.
    plan : Plan
        One band.
    chip : Chip
        Pixels of the band with its margin, or of the image at the size the network wants.
    tiles : tuple of ((int, int), (slice, slice))
        Those with a pixel that is valid, as `Plan.tiles` has them; of a resized image the only one.
    valid : ndarray of bool, shape (row, col)
        On the image's own grid.
    gain, bias : tuple of float
        As `Network` takes them.
    damaged : tuple of Window
        What could not be read and is not valid.
    """

    name: str
    plan: Plan
    chip: Chip
    tiles: tuple[tuple[tuple[int, int], tuple[slice, slice]], ...]
    valid: npt.NDArray[np.bool_]
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    damaged: tuple[Window, ...] = ()

    @property
    def kind(self) -> Kind:
        """Pictures of one kind can share a batch."""
        return self.gain, self.bias, self.chip.pixels.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How a model wants its images.

    Parameters
    ----------
    tiling : Tiling
    image_size : tuple of int, optional
        (rows, cols) that whole images are resized to, in place of tiles.
    """

    tiling: Tiling
    image_size: tuple[int, int] | None = None

    def plan(self, shape: tuple[int, int]) -> Plan:
        """Return the plan of an image: the tiles of `predict` on it alone, in one band."""
        if self.image_size is not None:
            return Plan.whole(shape)
        return Plan.of(shape, self.tiling, self.count(shape))

    def count(self, shape: tuple[int, int]) -> int:
        """Tiles of an image."""
        if self.image_size is not None:
            return 1
        rows, cols = tile_starts(shape, self.tiling)
        return len(rows) * len(cols)

    @property
    def words(self) -> str:
        """What the network sees at once, for messages."""
        if self.image_size is None:
            return f"tile of {self.tiling.size} px; pass a smaller --tile-size"
        rows, cols = self.image_size
        return f"image of {rows} x {cols} px; pass --device cpu"


def read_picture(
    name: str,
    source: Source,
    scaling: tuple[tuple[float, ...], tuple[float, ...]],
    cutting: Cutting,
    *,
    tolerant: bool = False,
) -> Picture:
    """Read and cut a whole image; work for a thread that reads ahead.

    Parameters
    ----------
    name : str
    source : Source
    scaling : (gain, bias)
    cutting : Cutting
    tolerant : bool
        As in `RowReader`.

    Raises
    ------
    SceneError
        If it cannot be read.
    """
    plan = cutting.plan(source.grid.shape)
    (band,) = plan.bands
    reader = RowReader(source, plan, tolerant=tolerant)
    chip, wanted = read_band(reader, plan, band)
    if cutting.image_size is None:
        tiles = tuple((tile, window) for tile, window in plan.tiles(band) if wanted[window].any())
    else:
        chip = resize_chip(chip, cutting.image_size)
        tiles = (((0, 0), (slice(None), slice(None))),) if wanted.any() else ()
    return Picture(
        name=name,
        plan=plan,
        chip=chip,
        tiles=tiles,
        valid=wanted[plan.inside(band)],
        gain=scaling[0],
        bias=scaling[1],
        damaged=tuple(reader.damaged),
    )
