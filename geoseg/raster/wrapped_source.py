"""Sources that read the pixels of another source in another way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geoseg.errors import SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.declared import Declared
from geoseg.raster.source import Source
from geoseg.raster.validity import NoData


class WrappedSource(Source):
    """Base of sources that read another one's pixels in another way; all else is as the other has it.

    It is a dataclass with the other one as `source`.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def source(self) -> Source:
            """The source whose pixels are read."""
            ...

    @property
    def grid(self) -> Grid:
        """Grid of the source."""
        return self.source.grid

    @property
    def path(self) -> str:
        """Name of the source."""
        return self.source.path

    @property
    def is_array(self) -> bool:
        """Whether the source is an array."""
        return self.source.is_array

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Names of all bands of the source."""
        return self.source.descriptions

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers from 1 of the chosen bands."""
        return self.source.bands

    @property
    def validity_band(self) -> int | None:
        """Number from 1 of the band whose pixels above 0 are valid, or None."""
        return self.source.validity_band

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""
        return self.source.dtype

    @property
    def no_data(self) -> NoData:
        """No-data values and rule of the source."""
        return self.source.no_data

    @property
    def said(self) -> Declared:
        """The user's statements about validity."""
        return self.source.said

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the source's blocks, px."""
        return self.source.block_shape

    @property
    def colors(self) -> tuple[str | None, ...]:
        """Colour tags of all bands of the source."""
        return self.source.colors

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale of the chosen bands."""
        return self.source.scale

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset of the chosen bands."""
        return self.source.offset

    @property
    def alpha_band(self) -> int | None:
        """Number from 1 of the source's alpha band, or None."""
        return self.source.alpha_band

    def declared(self, said: Declared) -> Self:
        """Return the source with the user's statements about validity."""
        return self._around(self.source.declared(said))

    def with_bands(self, bands: tuple[int, ...], validity_band: int | None) -> Self:
        """Return the source with other bands, whose numbers exist."""
        return self._around(self.source.with_bands(bands, validity_band))

    def _around(self, source: Source) -> Self:
        wrapper: Any = self
        wrapped: Self = dataclasses.replace(wrapper, source=source)
        return wrapped


@dataclass(slots=True, kw_only=True, eq=False)
class HeldSource(WrappedSource):
    """A source that reads another one as a whole at the first `read` and keeps its pixels.

    It serves images that are inspected before they are used, because most drivers decode them from the first row at
    each read. It is not thread-safe.

    Parameters
    ----------
    source : Source
        The source that is read.
    """

    source: Source
    _chip: Chip | None = field(default=None, init=False)
    _damaged: bool = field(default=False, init=False)

    def part(self, window: Window) -> Self:
        """Return the part in a window, which keeps its own pixels."""
        return self._around(self.source.crop(window))

    def read_inside(self, window: Window) -> Chip:
        """Return a window of the pixels that are kept; of a damaged image it is read alone.

        Raises
        ------
        SceneError
            If the window cannot be read.
        """
        if self._chip is None and not self._damaged:
            height, width = self.grid.shape
            try:
                self._chip = self.source.read(Window(row=0, col=0, height=height, width=width))
            except SceneError:
                self._damaged = True  # other windows may still be readable
        if self._chip is None:
            return self.source.read(window)
        if window.shape == self.grid.shape:
            return self._chip
        slices = window.slices
        return Chip(pixels=self._chip.pixels[:, *slices].copy(), valid=self._chip.valid[slices].copy())
