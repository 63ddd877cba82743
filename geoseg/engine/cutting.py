"""Read a whole picture and cut it into the tiles that a model wants."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geoseg.engine.feed import read_strip
from geoseg.engine.plan import Plan, tile_counts
from geoseg.engine.resized import resize_chip
from geoseg.engine.rows import RowReader
from geoseg.errors import ON_CPU, SMALLER_TILES, GeosegError
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.source import Source

Scaling = tuple[tuple[float, ...], tuple[float, ...]]
"""Gain and bias per band, as networks take them."""
Kind = tuple[tuple[float, ...], tuple[float, ...], np.dtype[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A whole image in memory, cut into tiles for the network; made by `read_picture`.

    Parameters
    ----------
    name : str
        Name of the picture in results and messages.
    plan : Plan
        The picture's plan, which has a single strip.
    chip : Chip
        Pixels of the picture with its margin, or of the image at the size that the network wants.
    tiles : tuple of ((int, int), (slice, slice))
        Tiles with at least one valid pixel, as `Plan.tiles` yields them; for a resized image the only one.
    valid : ndarray of bool, shape (row, col)
        Validity on the image's own grid.
    gain, bias : tuple of float
        As `Network` takes them.
    damaged : tuple of Window
        Windows that could not be read; their pixels are not valid.
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
        """Key of pictures that can share a batch: scaling and data type."""
        return self.gain, self.bias, self.chip.pixels.dtype

    def without_pixels(self) -> Picture:
        """Return a copy without pixels, to keep once the network has its own copy of them."""
        chip = Chip(pixels=self.chip.pixels[:, :0, :0].copy(), valid=self.chip.valid[:0, :0].copy())
        return replace(self, chip=chip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How a model wants its images: cut into tiles, or resized whole.

    Parameters
    ----------
    tiling : Tiling
        Tile size and overlap.
    image_size : tuple of int, optional
        (rows, cols) that whole images are resized to, instead of being cut into tiles.
    """

    tiling: Tiling
    image_size: tuple[int, int] | None = None

    def plan(self, shape: tuple[int, int]) -> Plan:
        """Return the plan of an image: the same tiles as `predict` uses on it, in a single strip."""
        return Plan.of(shape, self._planned_tiling, self.count(shape))

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of tiles of an image."""
        rows, cols = tile_counts(shape, self._planned_tiling)
        return rows * cols

    @property
    def _planned_tiling(self) -> Tiling | None:
        """The tiling, or None if images are resized whole."""
        return self.tiling if self.image_size is None else None

    def out_of_memory(self, device: str) -> GeosegError:
        """Return the error of a device without memory for one input of the network."""
        if self.image_size is None:
            return GeosegError(
                f"{device}: out of memory with a single tile of {self.tiling.size} px", SMALLER_TILES
            )
        rows, cols = self.image_size
        return GeosegError(f"{device}: out of memory with a single image of {rows} x {cols} px", ON_CPU)


def read_picture(
    name: str,
    source: Source,
    scaling: Scaling,
    cutting: Cutting,
    *,
    tolerant: bool = False,
) -> Picture:
    """Read a whole image and cut it into tiles; called in a thread that reads ahead.

    Parameters
    ----------
    name : str
        Name of the picture in results and messages.
    source : Source
        The image.
    scaling : (gain, bias)
        Gain and bias per band.
    cutting : Cutting
        How the model wants its images.
    tolerant : bool
        As in `RowReader`.

    Raises
    ------
    SceneError
        If it cannot be read.
    """
    plan = cutting.plan(source.grid.shape)
    (strip,) = plan.strips
    reader = RowReader(source, plan, tolerant=tolerant)
    chip, wanted = read_strip(reader, plan, strip)
    if cutting.image_size is None:
        tiles = tuple((tile, window) for tile, window in plan.tiles(strip) if wanted[window].any())
    else:
        chip = resize_chip(chip, cutting.image_size)
        whole = slice(0, cutting.image_size[0]), slice(0, cutting.image_size[1])
        tiles = (((0, 0), whole),) if wanted.any() else ()
    return Picture(
        name=name,
        plan=plan,
        chip=chip,
        tiles=tiles,
        valid=wanted[plan.inside(strip)],
        gain=scaling[0],
        bias=scaling[1],
        damaged=tuple(reader.damaged),
    )
