"""An in-memory array as a source of pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.errors import SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared, Values, nodata_of
from geoseg.raster.source import Source
from geoseg.raster.validity import NoData, for_bands

_TITLE = "array"


def check_numbers(dtype: np.dtype[Any]) -> None:
    """Raise SceneError for an array of anything but integers and floats that a network can be given."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SceneError(
            f"array of {dtype}, expected real numbers of at most 64 bits; convert it with .astype()"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArraySource(Source):
    """Chosen bands of an in-memory array; made with `of`.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
        All bands of the array.
    known_valid : ndarray of bool, shape (row, col)
        Pixels that the caller knows to be valid; those not finite in a chosen band are invalid, too.
    grid : Grid
        Grid of the array.
    descriptions : tuple of str or None
        Names of all bands.
    bands : tuple of int
        Numbers from 1 of the bands that `read` returns.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    nodata : tuple of tuple of float
        No-data values of each band; empty if no band has any.
    said : Declared
        The user's statements about validity.
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
        """Make a source from an array.

        Parameters
        ----------
        pixels : ndarray, shape (band, row, col) or (row, col)
            Pixel values.
        valid : ndarray of bool, shape (row, col), optional
            Valid pixels; all by default.
        grid : Grid, optional
            Grid of the array; by default one without CRS and with pixels of one unit.
        names : sequence of str or None, optional
            Band names.
        nodata : float or sequence, optional
            No-data values of all bands, or one entry per band: a number, None, or several numbers.

        Raises
        ------
        SceneError
            If shapes do not match or the array does not hold real numbers.
        """
        pixels = np.asarray(pixels)
        if pixels.ndim == 2:
            pixels = pixels[None]
        if pixels.ndim != 3 or 0 in pixels.shape:
            raise SceneError(
                f"array of shape {pixels.shape}, expected (band, row, col) without an empty axis"
            )
        check_numbers(pixels.dtype)
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
            raise SceneError(
                f"{plural(len(names), 'name')} for an array with {plural(count, 'band')}, expected one each"
            )
        values = nodata_of(nodata) or ()
        return cls(
            pixels=pixels, known_valid=valid, grid=grid, descriptions=names, bands=tuple(range(1, count + 1)),
            nodata=values * count if len(values) == 1 else values,
        )  # fmt: skip

    @property
    def path(self) -> str:
        """Name used in messages."""
        return _TITLE

    @property
    def is_array(self) -> bool:
        """True."""
        return True

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        return self.pixels.dtype

    @property
    def no_data(self) -> NoData:
        """No-data values and rule of the chosen bands."""
        values = [self.nodata[i - 1] if self.nodata else () for i in self.bands]
        return NoData.of(values, (self.dtype,) * self.count, self.said)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Block shape (rows, cols): one row, because nothing has to be decoded."""
        return 1, self.grid.width

    def declared(self, said: Declared) -> Self:
        """Return the source with the user's statements about validity; see `Scene.declared`."""
        source = dataclasses.replace(self, said=said)
        if said.nodata is not None:
            nodata = for_bands(said.nodata, (str(self.dtype),) * len(self.pixels), _TITLE)
            source = dataclasses.replace(source, nodata=nodata)
        return source.without_alpha()

    def part(self, window: Window) -> Self:
        """Return the part of the source in a window, as views of the arrays."""
        rows, cols = window.slices
        return dataclasses.replace(
            self,
            pixels=self.pixels[:, rows, cols],
            known_valid=self.known_valid[rows, cols],
            grid=self.grid.cropped(window),
        )

    def read_inside(self, window: Window) -> Chip:
        """Return a copy of a window."""
        rows, cols = window.slices
        pixels = self.pixels[[i - 1 for i in self.bands], rows, cols]
        valid = self.known_valid[rows, cols] & self.no_data.usable(pixels)
        if self.validity_band is not None:
            valid &= self.pixels[self.validity_band - 1, rows, cols] > 0
        return Chip(pixels=pixels, valid=valid)
