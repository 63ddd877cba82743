"""An array in memory as a source."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.errors import OptionError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared, Values, nodata_of
from geoseg.raster.padding import border_indices
from geoseg.raster.selection import band_numbers
from geoseg.raster.source import ChosenBands
from geoseg.raster.validity import NoData, for_bands

_TITLE = "array"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArraySource(ChosenBands):
    """Chosen bands of an array that lies in memory; built with `of`.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
        All bands.
    known_valid : ndarray of bool, shape (row, col)
        What the caller knows to be valid; what is not finite in a chosen band is not valid either.
    grid : Grid
    descriptions : tuple of str or None
        Names of all bands.
    bands : tuple of int
        Numbers from 1 of the bands that `read` returns.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    nodata : tuple of tuple of float
        No-data values of each band; empty where none has any.
    said : Declared
        What a person said about validity.
    """

    pixels: npt.NDArray[Any]
    known_valid: npt.NDArray[np.bool_]
    grid: Grid
    descriptions: tuple[str | None, ...]
    bands: tuple[int, ...]
    validity_band: int | None = None
    nodata: tuple[Values, ...] = ()
    said: Declared = UNSAID

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[Any],
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        grid: Grid | None = None,
        names: Sequence[str | None] | None = None,
        nodata: float | Sequence[float | Values | None] | None = None,
    ) -> ArraySource:
        """Make a source of an array.

        Parameters
        ----------
        pixels : ndarray, shape (band, row, col) or (row, col)
        valid : ndarray of bool, shape (row, col), optional
            Usable pixels; all by default.
        grid : Grid, optional
            Without one: no CRS, a pixel is one unit.
        names : sequence of str or None, optional
            Band names.
        nodata : float or sequence, optional
            Of all bands, or one entry for each: a number, None, or several numbers.

        Raises
        ------
        SceneError
            If shapes do not go together or the numbers are not real.
        """
        pixels = np.asarray(pixels)
        if pixels.ndim == 2:
            pixels = pixels[None]
        if pixels.ndim != 3 or 0 in pixels.shape:
            raise SceneError(
                f"array of shape {pixels.shape}, expected (band, row, col) without an empty axis"
            )
        if pixels.dtype.kind not in "iuf":
            raise SceneError(f"array of {pixels.dtype}, expected real numbers")
        count, height, width = pixels.shape
        grid = grid or Grid(height=height, width=width, transform=Affine.identity())
        valid = np.ones((height, width), dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
        for what, shape in (("grid", grid.shape), ("valid", valid.shape)):
            if shape != (height, width):
                raise SceneError(
                    f"{what} of {shape} px for an array of {(height, width)} px, expected the same"
                )
        names = (None,) * count if names is None else tuple(names)
        if len(names) != count:
            raise SceneError(f"{len(names)} names for an array of {count} bands, expected one each")
        values = nodata_of(nodata) or ()
        return cls(
            pixels=pixels, known_valid=valid, grid=grid, descriptions=names, bands=tuple(range(1, count + 1)),
            nodata=values * count if len(values) == 1 else values,
        )  # fmt: skip

    @property
    def path(self) -> str:
        """What messages call it."""
        return _TITLE

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        return self.pixels.dtype

    @property
    def scale(self) -> tuple[float, ...] | None:
        """None: an array has no tags."""
        return None

    @property
    def offset(self) -> tuple[float, ...] | None:
        """None: an array has no tags."""
        return None

    @property
    def alpha_band(self) -> int | None:
        """Number that a person named: an array has no tags."""
        return None if self.said.alpha == "none" else self.said.alpha

    @property
    def no_data(self) -> NoData:
        """What is no data in the chosen bands."""
        values = [self.nodata[i - 1] if self.nodata else () for i in self.bands]
        return NoData.of(values, (self.dtype,) * self.count, self.said)

    @property
    def block_shape(self) -> tuple[int, int]:
        """One row: nothing is decoded."""
        return 1, self.grid.width

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> ArraySource:
        """Return the source with other bands; see `Scene.select`."""
        numbers = band_numbers(bands, self.descriptions, _TITLE)
        if validity_band is not None:
            band_numbers([validity_band], self.descriptions, _TITLE)
            if validity_band in numbers:
                raise OptionError(
                    f"array: band {validity_band} is wanted as data and as validity; choose one"
                )
        return dataclasses.replace(self, bands=numbers, validity_band=validity_band)

    def declared(self, said: Declared) -> ArraySource:
        """Return the source with what a person says about validity; see `Scene.declared`."""
        source = dataclasses.replace(self, said=said)
        if said.nodata is not None:
            nodata = for_bands(said.nodata, (str(self.dtype),) * len(self.pixels), _TITLE)
            source = dataclasses.replace(source, nodata=nodata)
        if said.alpha is None:
            return source
        bands = tuple(i for i in range(1, len(self.pixels) + 1) if i != source.alpha_band)
        return source.select(bands, validity_band=source.alpha_band)

    def crop(self, window: Window) -> ArraySource:
        """Return the part in a window, as views."""
        if window.within(self.grid.shape) != window:
            raise OptionError(f"array: {window} sticks out of its {self.grid.height} x {self.grid.width} px")
        rows, cols = window.slices
        return dataclasses.replace(
            self,
            pixels=self.pixels[:, rows, cols],
            known_valid=self.known_valid[rows, cols],
            grid=self.grid.cropped(window),
        )

    def read(self, window: Window) -> Chip:
        """Return a copy of a window, padded as `Scene.read` does."""
        index = np.ix_(
            border_indices(window.row, window.height, self.grid.height),
            border_indices(window.col, window.width, self.grid.width),
        )
        pixels = self.pixels[np.array(self.bands)[:, None, None] - 1, *index]
        valid = self.known_valid[index] & self.no_data.usable(pixels)
        if self.validity_band is not None:
            valid &= self.pixels[self.validity_band - 1][index] > 0
        return Chip(pixels=pixels, valid=valid)
