"""Shapes in pixel coordinates burned into windows of their image."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.grid.window import Window

_BLOCK: Final = 256
"""Edge in px of the blocks that touched pixels are found in: what GDAL takes for touched depends, for edges
that run through corners of pixels, on where the raster begins."""

Numbers = npt.NDArray[np.int16]


def burn(
    shapes: npt.NDArray[np.object_], values: Numbers, window: Window, *, fill: int, touched: bool
) -> Numbers:
    """Give the pixels of a window the value of the last shape that covers them.

    Law: burning a window equals cutting it out of the burned whole.

    Parameters
    ----------
    shapes : (shape,) object
        Geometries of shapely in (col, row), px.
    values : (shape,) int16
    window : Window
    fill : int
        Value of what no shape covers.
    touched : bool
        Whether shapes cover every pixel they touch, or polygons those whose centre is inside.

    Returns
    -------
    ndarray of int16, shape (row, col)
    """
    burned = np.full(window.shape, fill, dtype=np.int16)
    if not len(shapes):
        return burned
    if not touched:
        _rasterize(shapes, values, window, burned, touched=False)
        return burned
    import shapely

    left, top, right, bottom = shapely.bounds(shapes).T
    for block in _blocks(window):
        near = (
            (right >= block.col) & (left <= block.col_stop) & (bottom >= block.row) & (top <= block.row_stop)
        )
        part = block.intersection(window)
        if part is None or not near.any():
            continue
        whole = np.full(block.shape, fill, dtype=np.int16)
        _rasterize(shapes[near], values[near], block, whole, touched=True)
        cut = whole[part.shifted(-block.row, -block.col).slices]
        burned[part.shifted(-window.row, -window.col).slices] = cut
    return burned


def _blocks(window: Window) -> list[Window]:
    """Blocks of the image that a window touches."""
    return [
        Window(row=row, col=col, height=_BLOCK, width=_BLOCK)
        for row in range(window.row // _BLOCK * _BLOCK, window.row_stop, _BLOCK)
        for col in range(window.col // _BLOCK * _BLOCK, window.col_stop, _BLOCK)
    ]


def _rasterize(
    shapes: npt.NDArray[np.object_], values: Numbers, window: Window, out: Numbers, *, touched: bool
) -> None:
    from rasterio.features import rasterize

    rasterize(
        zip(shapes, values.tolist(), strict=True),
        out=out,
        transform=Affine.translation(window.col, window.row),
        all_touched=touched,
    )
