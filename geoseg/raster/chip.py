"""Chips: the pixels of one window, padded beyond the border of a raster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chip:
    """Pixels of a window with their validity.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
        Stored numbers in the source's dtype; neither scale nor offset is applied.
    valid : ndarray of bool, shape (row, col)
        True for valid pixels.
    """

    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]


def border_indices(start: int, length: int, extent: int) -> npt.NDArray[np.intp]:
    """Return the pixel indices of a window along an axis, reflected at the border.

    The border pixel itself is not repeated (numpy's "reflect"). On a side that needs more pixels than one reflection
    has (``extent - 1``), the border pixel is repeated instead (numpy's "edge").

    Parameters
    ----------
    start, length : int
        Window along the axis, px; may extend beyond both sides.
    extent : int
        Length of the raster along the axis, px.

    Returns
    -------
    ndarray of intp, shape (length,)
        Indices in [0, extent).
    """
    indices = np.arange(start, start + length, dtype=np.intp)
    last = extent - 1
    if start < 0:
        before = indices < 0
        indices[before] = -indices[before] if -start <= last else 0
    if start + length > extent:
        after = indices > last
        indices[after] = 2 * last - indices[after] if start + length - extent <= last else last
    return indices


def read_padded(read: Callable[[Window], Chip], window: Window, shape: tuple[int, int]) -> Chip:
    """Read a window of a raster; parts outside it are padded by reflection, validity included.

    Parameters
    ----------
    read : callable
        Reads a window that lies inside the raster.
    window : Window
        Window to read; may extend beyond the raster on every side.
    shape : (int, int)
        (rows, cols) of the raster.
    """
    if window.within(shape) == window:
        return read(window)
    rows = border_indices(window.row, window.height, shape[0])
    cols = border_indices(window.col, window.width, shape[1])
    top, left = int(rows.min()), int(cols.min())
    chip = read(Window(row=top, col=left, height=int(rows.max()) - top + 1, width=int(cols.max()) - left + 1))
    rows, cols = rows[:, None] - top, cols - left
    return Chip(pixels=chip.pixels[:, rows, cols], valid=chip.valid[rows, cols])
