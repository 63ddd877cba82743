"""A small image that is decoded once, however often it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.padding import border_indices
from geoseg.raster.source import Source


def held(source: Source) -> Source:
    """Return a source that keeps its pixels from the first `read` on, and reads what the other one reads.

    For a picture that is looked at before it is used: most drivers decode it from its first row at each read.
    Not for several threads at once.
    """
    return cast("Source", _Held(source))


class _Held:
    """See `held`; all but the pixels is the source's own."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chip: Chip | None = None
        self._damaged = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> Source:
        return held(self._source.select(bands, validity_band=validity_band))

    def read(self, window: Window) -> Chip:
        height, width = self._source.grid.shape
        whole = Window(row=0, col=0, height=height, width=width)
        if self._damaged:
            return self._source.read(window)
        if self._chip is None:
            try:
                self._chip = self._source.read(whole)
            except SceneError:
                self._damaged = True  # and some of its windows may not be
                return self._source.read(window)
        if window == whole:
            return self._chip
        rows = border_indices(window.row, window.height, height)[:, None]
        cols = border_indices(window.col, window.width, width)
        return Chip(pixels=self._chip.pixels[:, rows, cols], valid=self._chip.valid[rows, cols])
