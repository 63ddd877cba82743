"""The interface of everything that has pixels (files, arrays, stacks), and its bands by number or name."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.band_names import find_bands
from geoseg.raster.chip import Chip, read_padded
from geoseg.raster.declared import Declared
from geoseg.raster.validity import NoData


class Source(ABC):
    """Bands of pixels on one grid; the base of files, arrays and other images.

    A source says what differs: `grid`, `path`, `descriptions`, `dtype`, `no_data`, `said` and `block_shape`, which
    bands are chosen, and how a window is read (`read_inside`), cut out (`part`) and declared about (`declared`); tags,
    if it has any. Everything else follows. Sources are frozen dataclasses.

    Law: ``source.crop(w).read(v)`` equals the read of a file that holds the pixels of `w` only.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # a dataclass would take properties of its base as the defaults of its fields

        @property
        def grid(self) -> Grid:
            """Shape, affine and CRS."""
            ...

        @property
        def path(self) -> str:
            """Name in messages."""
            ...

        @property
        def descriptions(self) -> tuple[str | None, ...]:
            """Names of all bands, chosen or not; None for bands without one."""
            ...

        @property
        def bands(self) -> tuple[int, ...]:
            """Numbers from 1 of the bands that `read` returns, in this order."""
            ...

        @property
        def validity_band(self) -> int | None:
            """Number from 1 of the band whose pixels above 0 are valid, or None."""
            ...

        @property
        def dtype(self) -> np.dtype[Any]:
            """Dtype of the pixels that `read` returns: the common one of the chosen bands."""
            ...

        @property
        def no_data(self) -> NoData:
            """No-data values and rule of the bands that `read` returns."""
            ...

        @property
        def said(self) -> Declared:
            """The user's statements about validity."""
            ...

        @property
        def block_shape(self) -> tuple[int, int]:
            """Rows and columns of the blocks that are decoded at once, px."""
            ...

    @abstractmethod
    def read_inside(self, window: Window) -> Chip:
        """Read a window that lies inside the source."""

    @abstractmethod
    def part(self, window: Window) -> Self:
        """Return the part in a window that lies inside the source."""

    @abstractmethod
    def declared(self, said: Declared) -> Self:
        """Return the source with the user's statements about validity; see `Scene.declared`."""

    @property
    def is_array(self) -> bool:
        """Whether it is an array, which methods of xarray and numpy change, not GDAL's programs."""
        return False

    @property
    def count(self) -> int:
        """Number of chosen bands."""
        return len(self.bands)

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of the chosen bands."""
        return tuple(self.descriptions[i - 1] for i in self.bands)

    @property
    def colors(self) -> tuple[str | None, ...]:
        """Common names of all bands by their colour tags, such as ``red``; None if the tag does not tell."""
        return (None,) * len(self.descriptions)

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale of the chosen bands from the source's tags; None if there are none."""
        return None

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset of the chosen bands from the source's tags; None if there are none."""
        return None

    @property
    def alpha_band(self) -> int | None:
        """Number from 1 of the band that is tagged alpha or that the user named as such, or None."""
        return None if self.said.alpha == "none" else self.said.alpha

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> Self:
        """Return the source with other bands chosen.

        Parameters
        ----------
        bands : sequence of int or str
            Numbers from 1 or names, in the requested order.
        validity_band : int or None
            Number of the band whose pixels above 0 are valid; None for no such band.

        Raises
        ------
        OptionError
            If there is no such band, or the validity band is also requested as data.
        """
        numbers = band_numbers(bands, self.descriptions, self.path)
        if validity_band is not None:
            band_numbers([validity_band], self.descriptions, self.path)
            if validity_band in numbers:
                raise OptionError(
                    f"{self.path}: band {validity_band} is requested both as data and as validity; choose one"
                )
        return self.with_bands(numbers, validity_band)

    def with_bands(self, bands: tuple[int, ...], validity_band: int | None) -> Self:
        """Return the source with other bands, whose numbers exist."""
        source: Any = self
        chosen: Self = dataclasses.replace(source, bands=bands, validity_band=validity_band)
        return chosen

    def without_alpha(self) -> Self:
        """Return the source with the alpha band that the user named as validity, and all other bands."""
        if self.said.alpha is None:
            return self
        bands = tuple(i for i in range(1, len(self.descriptions) + 1) if i != self.alpha_band)
        return self.select(bands, validity_band=self.alpha_band)

    def crop(self, window: Window) -> Self:
        """Return the part of the source in a window.

        Raises
        ------
        OptionError
            If the window extends beyond the source.
        """
        if window.within(self.grid.shape) != window:
            raise OptionError(
                f"{self.path}: {window} extends beyond its {self.grid.height} x {self.grid.width} px"
            )
        return self.part(window)

    def read(self, window: Window) -> Chip:
        """Read a window; parts outside the source are padded by reflection, validity included.

        Parameters
        ----------
        window : Window
            Window to read; may extend beyond the source on every side.

        Returns
        -------
        Chip
            Stored values, (band, row, col) in `dtype`, and validity.

        Raises
        ------
        SceneError
            If it cannot be read there.
        """
        return read_padded(self.read_inside, window, self.grid.shape)


def band_numbers(
    bands: Sequence[int | str], descriptions: Sequence[str | None], path: str
) -> tuple[int, ...]:
    """Return the numbers from 1 of bands given by number or name.

    A name is compared exactly, then ignoring case. Digits that are not a name are a number. Remaining names are
    found by their meaning (`band_names.find_bands`).

    Raises
    ------
    OptionError
        If no band is requested, or one does not exist or is ambiguous.
    """
    if not bands:
        raise OptionError(f"{path}: no band was asked for, expected at least one")
    found = [_number(band, descriptions, path) for band in bands]
    left = [str(band) for band, number in zip(bands, found, strict=True) if number is None]
    if left:
        others = iter(_by_meaning(left, descriptions, path))
        return tuple(next(others) if number is None else number for number in found)
    return tuple(number for number in found if number is not None)


def _by_meaning(names: Sequence[str], descriptions: Sequence[str | None], path: str) -> tuple[int, ...]:
    """Find bands by the meaning of their names."""
    found = find_bands(names, descriptions, path)
    if found.numbers is not None:
        return found.numbers
    known = ", ".join(name for name in descriptions if name) or "none"
    if found.doubt:
        raise OptionError(f"{path}: {found.doubt}; use the names it has ({known}) or numbers")
    word, listed = ("band", repr(names[0])) if len(names) == 1 else ("bands", ", ".join(map(repr, names)))
    raise OptionError(f"{path}: has no {word} named {listed} (named bands: {known}); use a name or a number")


def _number(band: int | str, descriptions: Sequence[str | None], path: str) -> int | None:
    """Return the number of a band; None for a name that no band has."""
    if isinstance(band, str):
        same = [i for i, name in enumerate(descriptions, start=1) if name == band]
        if not same:
            same = [
                i for i, name in enumerate(descriptions, start=1) if name and name.lower() == band.lower()
            ]
        if len(same) > 1:
            raise OptionError(
                f"{path}: bands {', '.join(map(str, same))} are all named {band!r}; use numbers"
            )
        if same:
            return same[0]
        if not band.isdecimal():
            return None
    number = int(band)
    if not 1 <= number <= len(descriptions):
        raise OptionError(f"{path}: has no band {number}, expected 1 to {len(descriptions)}")
    return number
