"""Rasters of labels brought to the pixels of an image.

A pixel of the image takes the label pixel that its centre lies on. Grids of one CRS, pixel size and
orientation differ by a whole number of pixels then, and labels are cut out without a look at the world.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, SceneError
from geoseg.grid.grid import Grid, same_crs
from geoseg.grid.window import Window
from geoseg.raster.scene import Scene

if TYPE_CHECKING:
    from pyproj import Transformer

Floats = npt.NDArray[np.float64]
Aligned = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]

_log = logging.getLogger("geoseg")

_SAME_PIXEL = 1e-3
"""Grids that differ by less than this share of a pixel are the same: some writers round."""
_TIE = 1e-6
"""px; a centre between two label pixels belongs to the right and lower one, whatever the rounding."""
_LATTICE = 33
"""Points a side that tell where an image lies on labels of another CRS."""
_AT_ONCE = 2**24
"""Label pixels that are read at once; more are read in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Rasters of labels on one grid, read on the pixels of an image.

    Law: what `read` returns for a window is cut out of what it returns for the image.

    Parameters
    ----------
    sources : tuple of Scene
        Bands of one file; each source has its own validity.
    grid : Grid
        Of the image.
    shift : (int, int) or None
        (rows, cols) from a pixel of the image to its label pixel, where this is the same everywhere.
    """

    sources: tuple[Scene, ...]
    grid: Grid
    shift: tuple[int, int] | None

    @classmethod
    def of(cls, sources: tuple[Scene, ...], grid: Grid) -> Alignment:
        """Find where labels lie on an image.

        Labels or images that have no georeference at all need each other's shape, and a CRS that one of
        them lacks is taken from the other.

        Raises
        ------
        DataError
            If they do not overlap, or nothing tells where they lie.
        """
        path, labels = sources[0].path, sources[0].grid
        if grid.transform.is_identity or labels.transform.is_identity:
            if grid.shape != labels.shape:
                raise DataError(
                    f"{path}: has {labels.height} x {labels.width} px for an image of {grid.height} x {grid.width}, "
                    "and no georeference tells where they lie; expected the same shape"
                )
            return cls(sources=sources, grid=grid, shift=(0, 0))
        _check_overlap(path, grid, labels)
        shift = _shift(path, grid, labels)
        if shift is None:
            _log.info(
                "%s: lies on another grid than its image, whose pixels take the label under their centre",
                path,
            )
        return cls(sources=sources, grid=grid, shift=shift)

    @property
    def labels(self) -> Grid:
        """Grid of the labels."""
        return self.sources[0].grid

    @property
    def path(self) -> str:
        """Name of the labels as it was given."""
        return self.sources[0].path

    def read(self, window: Window) -> Aligned:
        """Read the labels of a window of the image, which may stick out of both.

        Returns
        -------
        ndarray, shape (band, row, col)
            Numbers as the file stores them, all sources' bands in order; 0 beyond the labels.
        ndarray of bool, shape (source, row, col)
            Whether the labels are there and valid.

        Raises
        ------
        DataError
            If the file is damaged there or has changed.
        """
        try:
            if self.shift is not None:
                return self._cut_out(window.shifted(*self.shift))
            return self._pick(window)
        except SceneError as error:
            raise DataError(str(error)) from error

    def _cut_out(self, window: Window) -> Aligned:
        """Read a window of the labels, which may stick out of them."""
        part = window.within(self.labels.shape)
        if part == window:
            return self._read_inside(part)
        pixels, known = self._nothing(window.shape)
        if part is not None:
            place = (slice(None), *part.shifted(-window.row, -window.col).slices)
            pixels[place], known[place] = self._read_inside(part)
        return pixels, known

    def _pick(self, window: Window) -> Aligned:
        """Read the label pixels under the centres of a window's pixels."""
        rows, cols = np.indices(window.shape, dtype=np.float64)
        col, row = _onto(self.grid, self.labels, cols + (window.col + 0.5), rows + (window.row + 0.5))
        there = (row >= -_TIE) & (row < self.labels.height - _TIE)
        there &= (col >= -_TIE) & (col < self.labels.width - _TIE)
        if not there.any():
            return self._nothing(window.shape)
        at_row, at_col = (np.floor(each[there] + _TIE).astype(np.intp) for each in (row, col))
        top, left = int(at_row.min()), int(at_col.min())
        box = Window(
            row=top, col=left, height=int(at_row.max()) - top + 1, width=int(at_col.max()) - left + 1
        )
        if box.height * box.width > _AT_ONCE and window.shape != (1, 1):
            return self._pick_in_halves(window)
        pixels, known = self._nothing(window.shape)
        found, valid = self._read_inside(box)
        at_row, at_col = at_row - top, at_col - left
        pixels[:, there], known[:, there] = found[:, at_row, at_col], valid[:, at_row, at_col]
        return pixels, known

    def _pick_in_halves(self, window: Window) -> Aligned:
        """Read a window in two parts: labels may be finer than the image by any factor."""
        row, col, height, width = window.row, window.col, window.height, window.width
        if height > 1:
            half, axis = height // 2, 1
            first = Window(row=row, col=col, height=half, width=width)
            second = Window(row=row + half, col=col, height=height - half, width=width)
        else:
            half, axis = width // 2, 2
            first = Window(row=row, col=col, height=1, width=half)
            second = Window(row=row, col=col + half, height=1, width=width - half)
        parts = self._pick(first), self._pick(second)
        pixels, known = (np.concatenate(each, axis=axis) for each in zip(*parts, strict=True))
        return pixels, known

    def _nothing(self, shape: tuple[int, int]) -> Aligned:
        bands = sum(source.count for source in self.sources)
        dtype = np.result_type(*(source.dtype for source in self.sources))
        return np.zeros((bands, *shape), dtype=dtype), np.zeros((len(self.sources), *shape), dtype=bool)

    def _read_inside(self, window: Window) -> Aligned:
        chips = [source.read(window) for source in self.sources]
        if len(chips) == 1:
            return chips[0].pixels, chips[0].valid[None]
        return np.concatenate([chip.pixels for chip in chips]), np.stack([chip.valid for chip in chips])


def _shift(path: str, image: Grid, labels: Grid) -> tuple[int, int] | None:
    """Rows and columns from each pixel of an image to its label pixel; None where they are not the same."""
    if not same_crs(image.crs, labels.crs):
        return None
    to_labels = ~labels.transform @ image.transform
    corners = [(col, row) for col in (0, image.width) for row in (0, image.height)]
    moves = np.array([to_labels @ corner for corner in corners]) - corners
    if np.ptp(moves, axis=0).max() > _SAME_PIXEL:
        return None
    cols, rows = (float(move) for move in moves.mean(axis=0))
    whole = math.floor(rows + 0.5 + _TIE), math.floor(cols + 0.5 + _TIE)
    off = rows - whole[0], cols - whole[1]
    if max(map(abs, off)) > _SAME_PIXEL:
        _log.info(
            "%s: lies %.3g rows and %.3g columns off the pixels of its image, which take the nearest label",
            path,
            *off,
        )
    return whole


def _check_overlap(path: str, image: Grid, labels: Grid) -> None:
    """Raise DataError where no part of the image can lie on the labels."""
    from pyproj.exceptions import ProjError

    cols, rows = np.meshgrid(np.linspace(0, image.width, _LATTICE), np.linspace(0, image.height, _LATTICE))
    try:
        col, row = _onto(image, labels, cols, rows)
    except ProjError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: its CRS cannot be brought to that of its image ({reason})") from error
    seen = np.isfinite(col) & np.isfinite(row)
    col, row = col[seen], row[seen]
    if (
        col.size
        and col.max() > 0
        and row.max() > 0
        and col.min() < labels.width
        and row.min() < labels.height
    ):
        return
    where = "at a place that their CRS does not have"
    if col.size:
        x, y = labels.transform @ (col, row)
        where = f"{x.min():.10g} {y.min():.10g} {x.max():.10g} {y.max():.10g}"
    bounds = " ".join(f"{value:.10g}" for value in labels.bounds)
    raise DataError(
        f"{path}: does not overlap its image: labels at {bounds}, image {where} (west south east north in the "
        "labels' CRS); check which labels belong to the image, and the CRS of both"
    )


def _onto(image: Grid, labels: Grid, col: Floats, row: Floats) -> tuple[Floats, Floats]:
    """(col, row) on the labels of positions on an image, px; infinite where there is no such place."""
    if same_crs(image.crs, labels.crs):
        onto = ~labels.transform @ image.transform
        return onto.a * col + onto.b * row + onto.c, onto.d * col + onto.e * row + onto.f
    assert image.crs is not None
    assert labels.crs is not None
    t, back = image.transform, ~labels.transform
    transformer = _transformer(image.crs, labels.crs, os.getpid(), threading.get_ident())
    x, y = transformer.transform(t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f)
    with np.errstate(invalid="ignore"):  # infinite where a projection ends
        return back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f


@lru_cache(maxsize=16)
def _transformer(image: str, labels: str, _pid: int, _thread: int) -> Transformer:
    """Make the transformation between two CRSs, one for each thread of each process."""
    from pyproj import Transformer

    return Transformer.from_crs(image, labels, always_xy=True)
