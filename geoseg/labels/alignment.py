"""Alignment of label rasters with the pixels of an image.

A pixel of the image takes the label under its centre. If CRS, pixel size and orientation are the same, grids then
differ by a whole number of pixels, and labels are cut out without transforming coordinates.
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
from geoseg.grid.grid import SAME_PIXEL, Grid, same_crs
from geoseg.grid.window import Window
from geoseg.raster.scene import Scene
from geoseg.vectorfiles.longitudes import turn_on

if TYPE_CHECKING:
    from pyproj import Transformer

Floats = npt.NDArray[np.float64]
Aligned = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]

_log = logging.getLogger("geoseg")

_TIE = 1e-6
"""Tolerance, px: a centre between two label pixels belongs to the right and lower one in spite of rounding."""
_LATTICE = 33
"""Points per side that are transformed to find where an image lies on labels of another CRS."""
_AT_ONCE = 2**24
"""Most label pixels that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Label rasters on one grid, read on the pixels of an image.

    Law: `read` of a window equals that part of `read` of the whole image.

    Parameters
    ----------
    sources : tuple of Scene
        Bands of one file, each with its own validity.
    grid : Grid
        Grid of the image.
    shift : (int, int) or None
        Rows and columns from a pixel of the image to its label pixel; None if not the same everywhere.
    """

    sources: tuple[Scene, ...]
    grid: Grid
    shift: tuple[int, int] | None

    @classmethod
    def of(cls, sources: tuple[Scene, ...], grid: Grid) -> Alignment:
        """Determine the position of labels relative to an image.

        Without any georeferencing, labels and image must have the same shape. If only one of them has a CRS, it
        applies to both.

        Raises
        ------
        DataError
            If they do not overlap, or their positions are unknown.
        """
        path, labels = sources[0].path, sources[0].grid
        if grid.transform.is_identity or labels.transform.is_identity:
            if grid.shape != labels.shape:
                raise DataError(
                    f"{path}: has {labels.height} x {labels.width} px for an image of {grid.height} x {grid.width}, "
                    "and without georeferencing their position is unknown; expected the same shape"
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
        """Name of the labels as given by the user."""
        return self.sources[0].path

    def read(self, window: Window) -> Aligned:
        """Read the labels of a window of the image, which may extend beyond both.

        Returns
        -------
        ndarray, shape (band, row, col)
            Stored values of all sources' bands in order; 0 outside the labels.
        ndarray of bool, shape (source, row, col)
            True where labels exist and are valid.

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
            raise error.into(DataError) from error

    def _cut_out(self, window: Window) -> Aligned:
        """Read a window of the labels, which may extend beyond them."""
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
        """Read a window in two parts, because labels may be much finer than the image."""
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
    """Return the rows and columns from each pixel of an image to its label pixel; None if they vary."""
    offset = image.offset_on(labels)
    if offset is None or _meets_turned(image, labels):
        return None
    rows, cols = offset
    whole = math.floor(rows + 0.5 + _TIE), math.floor(cols + 0.5 + _TIE)
    off = rows - whole[0], cols - whole[1]
    if max(map(abs, off)) > SAME_PIXEL:
        _log.info(
            "%s: lies %.3g rows and %.3g columns off the pixels of its image, which take the nearest label",
            path,
            *off,
        )
    return whole


def _check_overlap(path: str, image: Grid, labels: Grid) -> None:
    """Raise DataError if no part of the image can lie on the labels."""
    from pyproj.exceptions import ProjError

    cols, rows = np.meshgrid(np.linspace(0, image.width, _LATTICE), np.linspace(0, image.height, _LATTICE))
    try:
        col, row = _onto(image, labels, cols, rows)
    except ProjError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: its CRS cannot be transformed to that of its image ({reason})") from error
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
    """Transform positions on an image to (col, row) on the labels, px; infinite outside the projection."""
    turn = turn_on(labels)
    if same_crs(image.crs, labels.crs) and not _meets_turned(image, labels):
        onto = ~labels.transform @ image.transform
        return onto.a * col + onto.b * row + onto.c, onto.d * col + onto.e * row + onto.f
    t, back = image.transform, ~labels.transform
    x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
    if not same_crs(image.crs, labels.crs):
        assert image.crs is not None
        assert labels.crs is not None
        x, y = _transformer(image.crs, labels.crs, os.getpid(), threading.get_ident()).transform(x, y)
    with np.errstate(invalid="ignore"):  # infinite where a projection ends
        if turn is not None:
            slack = _TIE * math.hypot(labels.transform.a, labels.transform.b)
            x = x - np.floor((x - labels.bounds[0] + slack) / turn) * turn
        return back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f


def _meets_turned(image: Grid, labels: Grid) -> bool:
    """Tell whether an image meets labels of its CRS only, or also, after whole turns of their longitudes."""
    turn = turn_on(labels) if same_crs(image.crs, labels.crs) else None
    if turn is None:
        return False
    west, east = image.bounds[0] - labels.bounds[2], image.bounds[2] - labels.bounds[0]
    return any(west < by * turn < east for by in (-2, -1, 1, 2))


@lru_cache(maxsize=16)
def _transformer(image: str, labels: str, _pid: int, _thread: int) -> Transformer:
    """Make the transformation between two CRSs, one per thread and process."""
    from pyproj import Transformer

    return Transformer.from_crs(image, labels, always_xy=True)
