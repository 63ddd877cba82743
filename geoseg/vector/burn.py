"""Shapes in pixel coordinates burned into windows of their image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.grid.window import Window

Numbers = npt.NDArray[np.signedinteger[Any]]


def burn(
    shapes: npt.NDArray[np.object_], values: Numbers, window: Window, *, fill: int, touched: bool
) -> Numbers:
    """Give the pixels of a window the value of the last shape that covers them.

    Which pixels GDAL takes for touched depends, for edges that run through corners of pixels, on where the window
    begins: only windows of one lattice fit together.

    Parameters
    ----------
    shapes : (shape,) object
        Single geometries of shapely in (col, row), px.
    values : (shape,) int16 or int32
    window : Window
    fill : int
        Value of what no shape covers.
    touched : bool
        Whether shapes cover every pixel they touch, or polygons those whose centre is inside.

    Returns
    -------
    ndarray of the dtype of `values`, shape (row, col)
    """
    from rasterio.features import rasterize

    burned = np.full(window.shape, fill, dtype=values.dtype)
    if len(shapes):
        rasterize(
            zip(_mappings(shapes), values.tolist(), strict=True),
            out=burned,
            transform=Affine.translation(window.col, window.row),
            all_touched=touched,
        )
    return burned


def _mappings(shapes: npt.NDArray[np.object_]) -> list[dict[str, Any]]:
    """Shapes as rasterio takes them, which shapely would tell one by one."""
    import shapely

    mappings: list[dict[str, Any]] = [{"type": "Polygon", "coordinates": []} for _ in shapes]
    rings, owner = shapely.get_rings(shapes, return_index=True)
    for index, ring in zip(owner.tolist(), _corners(rings), strict=True):
        mappings[index]["coordinates"].append(ring)
    (thin,) = np.nonzero(shapely.get_dimensions(shapes) < 2)
    for index, corners in zip(thin.tolist(), _corners(shapes[thin]), strict=True):
        line = len(corners) > 1
        mappings[index] = {
            "type": "LineString" if line else "Point",
            "coordinates": corners if line else corners[0],
        }
    return mappings


def _corners(lines: npt.NDArray[np.object_]) -> list[list[list[float]]]:
    """Coordinates of each line, ring or point."""
    import shapely

    corners = shapely.get_coordinates(lines).tolist()
    stops = np.cumsum(shapely.get_num_coordinates(lines)).tolist()
    return [corners[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
