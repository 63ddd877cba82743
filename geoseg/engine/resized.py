"""Resize whole images to the one input size that some networks require."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from affine import Affine

from geoseg.engine.resize import resize_valid
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.source import Source
from geoseg.raster.wrapped_source import WrappedSource

_KEPT = 2
"""Resized images that a process keeps: the current one and the one that is read ahead."""


def resize_chip(chip: Chip, shape: tuple[int, int]) -> Chip:
    """Resize a chip.

    Laws: pixels that are not valid never count; a chip that has the shape already is not changed.

    Parameters
    ----------
    chip : Chip
        The old chip.
    shape : tuple of int
        (rows, cols).

    Returns
    -------
    Chip
        Pixels float32, bilinear means over valid pixels, 0 where not valid; valid by the nearest pixel.
    """
    pixels, valid = resize_valid(chip.pixels, chip.valid, shape)
    return Chip(pixels=pixels, valid=valid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizedSource(WrappedSource):
    """A source whose pixels are those of another source, resized as a whole to cover the same ground.

    The image is read at the first `read` and kept while it is in use; pixels are not pickled.

    Parameters
    ----------
    source : Source
        The source that is resized.
    shape : tuple of int
        (rows, cols) of the whole image.
    extent : Window, optional
        The part of the resized image that the source covers; all of it by default.
    """

    source: Source
    shape: tuple[int, int]
    extent: Window | None = None

    @property
    def grid(self) -> Grid:
        """Grid of the resized image, or of the part of it."""
        given, (height, width) = self.source.grid, self.shape
        scale = Affine.scale(given.width / width, given.height / height)
        transform = given.transform if self.shape == given.shape else given.transform @ scale
        whole = dataclasses.replace(given, height=height, width=width, transform=transform)
        return whole if self.extent is None else whole.cropped(self.extent)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels: float32."""
        return np.dtype(np.float32)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Shape of the whole image, which is decoded at once."""
        return self.shape

    def part(self, window: Window) -> Self:
        """Return the part of the image in a window."""
        return dataclasses.replace(self, extent=self._inside(window))

    def read_inside(self, window: Window) -> Chip:
        """Return a copy of a window."""
        chip, slices = _resized(self.source, self.shape), self._inside(window).slices
        return Chip(pixels=chip.pixels[:, *slices].copy(), valid=chip.valid[slices].copy())

    def _inside(self, window: Window) -> Window:
        """Return a window of the part as one of the whole image."""
        return window if self.extent is None else window.shifted(self.extent.row, self.extent.col)


@lru_cache(maxsize=_KEPT)
def _resized(source: Source, shape: tuple[int, int]) -> Chip:
    """Read and resize the whole image."""
    whole = Window(row=0, col=0, height=source.grid.height, width=source.grid.width)
    return resize_chip(source.read(whole), shape)
