"""Whole images brought to one size, as some networks want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from affine import Affine
from torch import Tensor
from torch.nn import functional

from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.chip import Chip
from geoseg.raster.declared import Declared
from geoseg.raster.source import Source
from geoseg.raster.validity import NoData

_KEPT = 2
"""Images a process keeps resized: the one it works on, and the one that is read ahead."""


def resize_planes(planes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize (plane, row, col) bilinearly, pixels being areas; where it shrinks, without aliasing."""
    if planes.shape[1:] == shape:
        return planes
    if shape[1] == 1 < shape[0]:
        # torch repeats the first row where the result is one column wide.
        return resize_planes(planes.transpose(1, 2), (1, shape[0])).transpose(1, 2)
    return functional.interpolate(
        planes.unsqueeze(0), size=shape, mode="bilinear", align_corners=False, antialias=True
    ).squeeze(0)


def resize_chip(chip: Chip, shape: tuple[int, int]) -> Chip:
    """Return a chip at another shape.

    Laws: pixels that are not valid never count; a chip of its own shape stays as it is.

    Parameters
    ----------
    chip : Chip
    shape : tuple of int
        (rows, cols).

    Returns
    -------
    Chip
        Pixels float32, bilinear means over valid pixels, 0 where not valid; valid by the nearest pixel.
    """
    pixels = torch.from_numpy(chip.pixels.astype(np.float32))
    if chip.valid.all():
        return Chip(pixels=resize_planes(pixels, shape).numpy(), valid=np.ones(shape, dtype=bool))
    pixels, there = resize_valid(pixels, torch.from_numpy(np.ascontiguousarray(chip.valid)), shape)
    return Chip(pixels=pixels.numpy(), valid=there.numpy())


def resize_valid(planes: Tensor, valid: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize planes of which not every pixel is valid; see `resize_chip`.

    Parameters
    ----------
    planes : Tensor of float32, shape (plane, row, col)
        Changed: made 0 where not valid.
    valid : Tensor of bool, shape (row, col)
    shape : tuple of int
        (rows, cols).

    Returns
    -------
    tuple of two Tensors
        Planes and valid of that shape.
    """
    planes.masked_fill_(~valid, 0.0)
    weight = valid.to(torch.float32).unsqueeze(0)
    there = functional.interpolate(weight.unsqueeze(0), size=shape, mode="nearest-exact")[0, 0] > 0
    # The weights of bilinear means that reach beyond valid pixels do not sum to 1.
    planes = resize_planes(planes, shape) / resize_planes(weight, shape).clamp_min(
        torch.finfo(torch.float32).tiny
    )
    return planes.masked_fill_(~there, 0.0), there


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizedSource:
    """A source whose pixels are those of a whole other one, resized; over the same ground.

    The image is read at the first `read` and kept while it is in use; what is pickled holds no pixels.

    Parameters
    ----------
    source : Source
    shape : tuple of int
        (rows, cols).
    """

    source: Source
    shape: tuple[int, int]

    @property
    def grid(self) -> Grid:
        """Grid of the resized image."""
        given, (height, width) = self.source.grid, self.shape
        scale = Affine.scale(given.width / width, given.height / height)
        transform = given.transform if self.shape == given.shape else given.transform @ scale
        return dataclasses.replace(given, height=height, width=width, transform=transform)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.source.path

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers from 1 of the bands `read` returns."""
        return self.source.bands

    @property
    def validity_band(self) -> int | None:
        """Number (from 1) of the band whose pixels above 0 are valid."""
        return self.source.validity_band

    @property
    def count(self) -> int:
        """Number of bands `read` returns."""
        return self.source.count

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of those bands."""
        return self.source.names

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Names of all bands of the source."""
        return self.source.descriptions

    @property
    def colors(self) -> tuple[str | None, ...]:
        """What all bands of the source show by their colour tags."""
        return self.source.colors

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale the source tags its bands with."""
        return self.source.scale

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset the source tags its bands with."""
        return self.source.offset

    @property
    def alpha_band(self) -> int | None:
        """Number (from 1) of the band tagged alpha."""
        return self.source.alpha_band

    @property
    def no_data(self) -> NoData:
        """What is no data before the image is resized, and 0 and not valid after."""
        return self.source.no_data

    @property
    def said(self) -> Declared:
        """What a person said about validity."""
        return self.source.said

    @property
    def block_shape(self) -> tuple[int, int]:
        """The whole image: it is decoded at once."""
        return self.shape

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> ResizedSource:
        """Return the source with other bands; see `Scene.select`."""
        return ResizedSource(source=self.source.select(bands, validity_band=validity_band), shape=self.shape)

    def crop(self, window: Window) -> ArraySource:
        """Return the part in a window, its pixels in memory."""
        return _resized(self).crop(window)

    def read(self, window: Window) -> Chip:
        """Read a window, padded as `Scene.read` does."""
        return _resized(self).read(window)


@lru_cache(maxsize=_KEPT)
def _resized(image: ResizedSource) -> ArraySource:
    """Read and resize the whole image."""
    grid = image.source.grid
    whole = Window(row=0, col=0, height=grid.height, width=grid.width)
    chip = resize_chip(image.source.read(whole), image.shape)
    return ArraySource.of(chip.pixels, valid=chip.valid, grid=image.grid, names=image.names)
