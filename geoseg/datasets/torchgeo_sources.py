"""Parts of torchgeo datasets as images and as labels."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geoseg.datasets.inspection import windows
from geoseg.datasets.torchgeo_parts import Part
from geoseg.errors import DataError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, Codes, Meanings, one_hot
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared, Values
from geoseg.raster.source import Source
from geoseg.raster.validity import NoData, for_bands
from geoseg.storage.printable import listed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchGeoImage(Source):
    """A part of a torchgeo dataset as a `Source`.

    torchgeo fills pixels that a file marks as no data, or does not cover, with a number (often 0) and does not
    say where. So all finite pixels are valid unless a person names that number.

    Parameters
    ----------
    source : Part
        Part of the torchgeo dataset.
    dtype : dtype
        Data type of the pixels.
    descriptions : tuple of str or None
        Names of all bands.
    bands : tuple of int
        Numbers from 1 of the bands that `read` returns.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    said : Declared
        What a person said about validity.
    """

    source: Part
    dtype: np.dtype[Any]
    descriptions: tuple[str | None, ...]
    bands: tuple[int, ...]
    validity_band: int | None = None
    said: Declared = UNSAID

    @classmethod
    def of(cls, part: Part) -> TorchGeoImage:
        """Create an image; one pixel is read to determine its bands."""
        pixel = part.query(Window(row=0, col=0, height=1, width=1), "image")
        count = len(pixel) if pixel.ndim == 3 else 1
        named = tuple(getattr(part.dataset, "bands", None) or ())
        return cls(
            source=part,
            dtype=pixel.dtype,
            descriptions=named if len(named) == count else (None,) * count,
            bands=tuple(range(1, count + 1)),
        )

    @property
    def grid(self) -> Grid:
        """Grid of the part."""
        return self.source.grid

    @property
    def path(self) -> str:
        """Name of the image in messages."""
        return self.source.path

    @property
    def no_data(self) -> NoData:
        """No-data values of the chosen bands."""
        values = [self._nodata[i - 1] for i in self.bands]
        return NoData.of(values, (self.dtype,) * self.count, self.said)

    @property
    def _nodata(self) -> tuple[Values, ...]:
        """No-data values of all bands; torchgeo does not report them, only the user can declare them."""
        dtypes = (str(self.dtype),) * len(self.descriptions)
        return for_bands(self.said.nodata or ((),), dtypes, self.path)

    def declared(self, said: Declared) -> Self:
        """Return the image with the user's declarations about validity; see `Scene.declared`."""
        image = dataclasses.replace(self, said=said)
        image._nodata  # noqa: B018 - what cannot be no data is refused at once
        return image.without_alpha()

    @property
    def block_shape(self) -> tuple[int, int]:
        """A default block shape, since torchgeo does not report the file's."""
        return min(512, self.grid.height), min(512, self.grid.width)

    def part(self, window: Window) -> Self:
        """Return the part of the image in a window."""
        return dataclasses.replace(
            self, source=dataclasses.replace(self.source, grid=self.grid.cropped(window))
        )

    def read_inside(self, window: Window) -> Chip:
        """Ask torchgeo for a window.

        Raises
        ------
        DataError
            If torchgeo returns another shape than requested.
        """
        everything = self.source.query(window, "image")
        everything = everything[None] if everything.ndim == 2 else everything
        pixels = everything[[i - 1 for i in self.bands]]
        valid = self.no_data.usable(pixels)
        if self.validity_band is not None:
            valid &= everything[self.validity_band - 1] > 0
        return Chip(pixels=pixels, valid=valid)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchGeoMasks:
    """Masks of a part of a torchgeo dataset, before their values have a meaning.

    Parameters
    ----------
    part : Part
        Part of the torchgeo dataset.
    covered : shapely geometry or None
        Where there are labels; everywhere by default.
    """

    part: Part
    covered: Any = None

    @property
    def path(self) -> str:
        """Name of the masks in messages."""
        return self.part.path

    def opened(self, meanings: Meanings, *, layered: bool) -> TorchGeoLabels:
        """Return the masks as labels; one pixel is read to check that they are masks."""
        labels = TorchGeoLabels(part=self.part, meanings=meanings, layered=layered, covered=self.covered)
        labels.read(Window(row=0, col=0, height=1, width=1))
        return labels

    def values(self) -> set[int]:
        """Read all masks once, and return the values that they hold."""
        found: set[int] = set()
        for window in windows(self.part.grid.shape):
            with suppress(IndexError):  # where the labels' footprint, which may lie askew, does not reach
                found.update(int(value) for value in np.unique(self.part.query(window, "mask")))
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchGeoLabels:
    """A part of a torchgeo dataset as `Labels`.

    torchgeo writes 0 where there is no label; unless 0 is a class, such pixels are unlabelled.

    Parameters
    ----------
    part : Part
        The part of the dataset.
    meanings : Meanings
        Meaning of the label values.
    layered : bool
        Whether there is one layer per class.
    covered : shapely geometry or None
        Area with labels; everywhere by default.
    """

    part: Part
    meanings: Meanings
    layered: bool = False
    covered: Any = None

    @property
    def path(self) -> str:
        """Name of the labels in messages."""
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
        """Query a window; None outside the labels' footprint, which may be rotated."""
        try:
            return self.part.query(window, "mask")
        except IndexError:
            return None

    def _codes(self, values: npt.NDArray[Any]) -> Codes:
        """Convert label values to legend codes (row, col)."""
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        if values.ndim != 2:
            raise DataError(
                f"{self.path}: torchgeo gave {plural(len(values), 'layer')} of labels, expected one"
            )
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
        """Check and return layers of 0 and 1, one per class."""
        if len(values) != len(self.meanings.codes) or not np.isin(values, (0, 1, UNKNOWN)).all():
            raise DataError(
                f"{self.path}: torchgeo gave {plural(len(values), 'layer')} with values up to {values.max()}, expected "
                f"{len(self.meanings.codes)} of 0, 1 and {UNKNOWN}"
            )
        return values.astype(np.uint8)

    def _covered(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return the pixels of a window whose centre lies in the labels' footprint."""
        from rasterio.features import geometry_mask

        transform = self.part.grid.cropped(window).transform
        covered: npt.NDArray[np.bool_] = geometry_mask(
            [self.covered], out_shape=window.shape, transform=transform, invert=True
        )
        return covered
