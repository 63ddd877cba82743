"""A part of a torchgeo dataset as an image, and as labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.datasets.torchgeo_parts import Part
from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared
from geoseg.raster.labels import UNKNOWN, Codes, Meanings, listed, one_hot
from geoseg.raster.padding import border_indices
from geoseg.raster.selection import band_numbers
from geoseg.raster.source import ChosenBands
from geoseg.raster.validity import NoData, values_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchGeoImage(ChosenBands):
    """A part of a torchgeo dataset as a `Source`.

    torchgeo fills pixels that a file marks as no data, or does not cover, with a number (often 0) and does not
    say where. So all finite pixels are valid unless `nodata` names that number.

    Parameters
    ----------
    part : Part
    dtype : dtype
    descriptions : tuple of str or None
        Names of all bands.
    bands : tuple of int
        Numbers from 1 of the bands that `read` returns.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    nodata : float or None
        Number that is not valid where all chosen bands have it.
    """

    part: Part
    dtype: np.dtype[Any]
    descriptions: tuple[str | None, ...]
    bands: tuple[int, ...]
    validity_band: int | None = None
    nodata: float | None = None

    @classmethod
    def of(cls, part: Part, nodata: float | None = None) -> TorchGeoImage:
        """Look at one pixel of a part, which tells its bands."""
        pixel = part.query(Window(row=0, col=0, height=1, width=1), "image")
        count = len(pixel) if pixel.ndim == 3 else 1
        named = tuple(getattr(part.dataset, "bands", None) or ())
        return cls(
            part=part,
            dtype=pixel.dtype,
            descriptions=named if len(named) == count else (None,) * count,
            bands=tuple(range(1, count + 1)),
            nodata=nodata,
        )

    @property
    def grid(self) -> Grid:
        """Grid of the part."""
        return self.part.grid

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.part.path

    @property
    def scale(self) -> None:
        """None: torchgeo passes no tags on."""

    @property
    def offset(self) -> None:
        """None: torchgeo passes no tags on."""

    @property
    def alpha_band(self) -> None:
        """None: torchgeo passes no tags on."""

    @property
    def no_data(self) -> NoData:
        """What is no data in the chosen bands."""
        return NoData(values=(values_of(self.nodata),) * self.count, dtypes=(self.dtype,) * self.count)

    @property
    def said(self) -> Declared:
        """Nothing: `nodata` is all that can be said."""
        return UNSAID

    @property
    def block_shape(self) -> tuple[int, int]:
        """A square that most files hold in few blocks: torchgeo does not tell."""
        return min(512, self.grid.height), min(512, self.grid.width)

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> TorchGeoImage:
        """Return the image with other bands; see `Scene.select`."""
        numbers = band_numbers(bands, self.descriptions, self.path)
        if validity_band is not None:
            band_numbers([validity_band], self.descriptions, self.path)
            if validity_band in numbers:
                raise OptionError(
                    f"{self.path}: band {validity_band} is wanted as data and as validity; choose one"
                )
        return dataclasses.replace(self, bands=numbers, validity_band=validity_band)

    def crop(self, window: Window) -> TorchGeoImage:
        """Return the part of the image in a window, which must lie inside."""
        if window.within(self.grid.shape) != window:
            raise OptionError(
                f"{self.path}: {window} sticks out of its {self.grid.height} x {self.grid.width} px"
            )
        part = dataclasses.replace(self.part, grid=self.grid.cropped(window))
        return dataclasses.replace(self, part=part)

    def read(self, window: Window) -> Chip:
        """Read a window; what sticks out is padded by reflection, as `Scene.read` does.

        Raises
        ------
        DataError
            If torchgeo gives another shape than it was asked for.
        """
        rows = border_indices(window.row, window.height, self.grid.height)
        cols = border_indices(window.col, window.width, self.grid.width)
        top, left = int(rows.min()), int(cols.min())
        inside = Window(row=top, col=left, height=int(rows.max()) - top + 1, width=int(cols.max()) - left + 1)
        everything = self.part.query(inside, "image")
        everything = everything[None] if everything.ndim == 2 else everything
        pixels = everything[[i - 1 for i in self.bands]]
        valid = self.no_data.usable(pixels)
        if self.validity_band is not None:
            valid &= everything[self.validity_band - 1] > 0
        rows, cols = rows[:, None] - top, cols - left
        return Chip(pixels=pixels[:, rows, cols], valid=valid[rows, cols])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchGeoLabels:
    """A part of a torchgeo dataset as `Labels`.

    torchgeo writes 0 where no label is; where 0 has no meaning of its own, such a pixel is unlabelled.

    Parameters
    ----------
    part : Part
    meanings : Meanings
    layered : bool
    covered : shapely geometry or None
        Where there are labels; everywhere by default.
    """

    part: Part
    meanings: Meanings
    layered: bool = False
    covered: Any = None

    @property
    def path(self) -> str:
        """What messages call them."""
        return self.part.path

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        layers = (len(self.meanings.codes),) if self.layered else ()
        codes = np.full((*layers, *window.shape), UNKNOWN, dtype=np.uint8)
        inside = window.within(self.part.grid.shape)
        values = None if inside is None else self._values(inside)
        if inside is not None and values is not None:
            read = self._layers(values) if self.layered and values.ndim == 3 else self._codes(values)
            read = one_hot(read, self.meanings.codes) if self.layered and read.ndim == 2 else read
            if self.covered is not None:
                read[..., ~self._covered(inside)] = UNKNOWN
            codes[..., *inside.shifted(-window.row, -window.col).slices] = read
        return codes

    def _values(self, window: Window) -> npt.NDArray[Any] | None:
        """Ask for a window; None where the labels' footprint, which may lie askew, does not reach."""
        try:
            return self.part.query(window, "mask")
        except IndexError:
            return None

    def _codes(self, values: npt.NDArray[Any]) -> Codes:
        """Legend codes (row, col) of label values."""
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        if values.ndim != 2:
            raise DataError(f"{self.path}: torchgeo gave {len(values)} layers of labels, expected one")
        found, at = np.unique(values, return_inverse=True)
        meant = {value: self.meanings.code(value) for value in found.tolist()}
        if meant.get(0, UNKNOWN) is None:
            meant[0] = self.meanings.unlabelled
        strange = [value for value, code in meant.items() if code is None]
        if strange:
            raise DataError(
                f"{self.path}: holds label values {listed(strange)}, expected {self.meanings.words}; "
                "name them in the meanings"
            )
        codes = np.array([meant[value] for value in found.tolist()], dtype=np.uint8)
        return codes[at.reshape(values.shape)]

    def _layers(self, values: npt.NDArray[Any]) -> Codes:
        """Layers of 0 and 1, a class each."""
        if len(values) != len(self.meanings.codes) or not np.isin(values, (0, 1, UNKNOWN)).all():
            raise DataError(
                f"{self.path}: torchgeo gave {len(values)} layers with values up to {values.max()}, expected "
                f"{len(self.meanings.codes)} of 0, 1 and {UNKNOWN}"
            )
        return values.astype(np.uint8)

    def _covered(self, window: Window) -> npt.NDArray[np.bool_]:
        """Pixels of a window whose centre lies where labels are."""
        from rasterio.features import geometry_mask

        transform = self.part.grid.cropped(window).transform
        covered: npt.NDArray[np.bool_] = geometry_mask(
            [self.covered], out_shape=window.shape, transform=transform, invert=True
        )
        return covered
