"""What the rest of geoseg asks of something that has pixels: a file, an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.declared import Declared
from geoseg.raster.validity import NoData


class Source(Protocol):
    """Bands of pixels on one grid.

    Law: ``source.crop(w).read(v)`` equals the read of a file that holds the pixels of `w` only.
    """

    @property
    def grid(self) -> Grid:
        """Shape, affine and CRS."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels `read` returns: the one that holds those of all selected bands."""

    @property
    def path(self) -> str:
        """What messages call it."""

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers from 1 of the bands `read` returns, in that order."""

    @property
    def validity_band(self) -> int | None:
        """Number (from 1) of the band whose pixels above 0 are valid."""

    @property
    def count(self) -> int:
        """Number of bands `read` returns."""

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of those bands in their order; None where the source gives none."""

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Names of all bands of the source, selected or not."""

    @property
    def colors(self) -> tuple[str | None, ...]:
        """What all bands of the source show by their colour tags, as ``red``; None where these do not say it."""

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale the source tags its bands with; None where it does not."""

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset the source tags its bands with; None where it does not."""

    @property
    def alpha_band(self) -> int | None:
        """Number (from 1) of the band tagged alpha."""

    @property
    def no_data(self) -> NoData:
        """What is no data in the bands that `read` returns."""

    @property
    def said(self) -> Declared:
        """What a person said about validity."""

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, cols) in px of what is decoded at once."""

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> Source:
        """Return the source with other bands, by number from 1 or by name, in the order given."""

    def crop(self, window: Window) -> Source:
        """Return the part of the source in a window, which must lie inside."""

    def read(self, window: Window) -> Chip:
        """Return a window's pixels, padded by reflection where it sticks out."""


class _Bands(Protocol):
    """What `ChosenBands` is about."""

    @property
    def bands(self) -> tuple[int, ...]: ...

    @property
    def descriptions(self) -> tuple[str | None, ...]: ...


class ChosenBands:
    """What follows, for any source, from which bands are chosen."""

    __slots__ = ()

    @property
    def count(self: _Bands) -> int:
        """Number of chosen bands."""
        return len(self.bands)

    @property
    def names(self: _Bands) -> tuple[str | None, ...]:
        """Names of the chosen bands."""
        return tuple(self.descriptions[i - 1] for i in self.bands)

    @property
    def colors(self: _Bands) -> tuple[str | None, ...]:
        """None for each band: most sources have no colour tags."""
        return (None,) * len(self.descriptions)
