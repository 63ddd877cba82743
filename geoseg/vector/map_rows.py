"""The rows of the class map that polygons make on a grid: the inverse of vectorizing.

Law: polygons of a class map, which were not simplified, on the grid of that map give the map back, whatever its
affine. A pixel gets the class of the last polygon that its centre lies in. A centre on a border belongs to the polygon
on its right, on a horizontal one to that below: a coverage, simplified or not, leaves no pixel between its polygons
out.

GDAL burns shapes one by one, from Python's lists; a coverage of a scene has millions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.grid.window import Window
from geoseg.vector.pixel_shapes import ShapeCodes, Shapes, corners_in_pixels, present, single
from geoseg.vector.polygon_source import PolygonSource
from geoseg.vector.reprojection import Reprojection

Codes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_PIXELS = 2**23
"""Pixels of a band: polygons that reach into several are read once for each."""


def map_rows(source: PolygonSource, grid: Grid, rows: int | None = None) -> Iterator[Codes]:
    """Yield the codes of the pixels, 255 where no polygon is, from the first row to the last.

    Memory holds a band of rows and the polygons that meet it.

    Parameters
    ----------
    source : PolygonSource
    grid : Grid
    rows : int, optional
        Of a band.

    Raises
    ------
    DataError
        If polygons cannot be read or brought to the grid.
    """
    rows = rows or max(1, _PIXELS // grid.width)
    for row in range(0, grid.height, rows):
        window = Window(row=row, col=0, height=min(rows, grid.height - row), width=grid.width)
        yield filled(*_shapes_of(source, grid, window), grid, window)


def filled(shapes: Shapes, code: ShapeCodes, grid: Grid, window: Window) -> Codes:
    """Give the pixels of a window the codes of polygons.

    Parameters
    ----------
    shapes : (shape,) object
        Polygons of shapely in the CRS of the grid.
    code : (shape,) int16
    grid : Grid
    window : Window

    Returns
    -------
    ndarray of uint8, shape (row, col)
    """
    import shapely

    rings, owner = shapely.get_rings(shapes, return_index=True)
    corner = corners_in_pixels(shapely.get_coordinates(rings), grid) - (window.col, window.row)
    first = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(rings))]).astype(np.int64)
    ring_first = np.searchsorted(owner, np.arange(len(shapes) + 1)).astype(np.int64)
    codes = np.full(window.shape, NODATA, np.uint8)
    _fill(corner, first, ring_first, code.astype(np.uint8), codes)
    return codes


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(corner: Floats, first: Longs, ring_first: Longs, code: Codes, codes: Codes) -> None:
    """Fill polygons one by one between their crossings of the lines of centres, taken in pairs."""
    height, width = codes.shape
    crossing = np.empty(1024, np.int64)
    for polygon in range(len(ring_first) - 1):
        count = 0
        for ring in range(ring_first[polygon], ring_first[polygon + 1]):
            for i in range(first[ring], first[ring + 1] - 1):
                # Upper end first: both sides of a border compute the same crossings.
                upper, lower = (i, i + 1) if corner[i, 1] < corner[i + 1, 1] else (i + 1, i)
                x, y = corner[upper, 0], corner[upper, 1]
                down = corner[lower, 1] - y
                begin = max(0.0, np.ceil(y - 0.5))
                stop = min(float(height), np.ceil(corner[lower, 1] - 0.5))
                while count + stop - begin > len(crossing):
                    crossing = np.concatenate((crossing, np.empty(len(crossing), np.int64)))
                for row in range(int(begin), int(stop)):
                    at = x + (corner[lower, 0] - x) * ((row + 0.5 - y) / down)
                    col = int(min(max(np.ceil(at - 0.5), 0.0), float(width)))
                    crossing[count] = row * (width + 1) + col
                    count += 1
        crossing[:count].sort()
        for pair in range(0, count - 1, 2):
            row, col = divmod(crossing[pair], width + 1)
            codes[row, col : crossing[pair + 1] - row * (width + 1)] = code[polygon]


def _shapes_of(source: PolygonSource, grid: Grid, window: Window) -> tuple[Shapes, ShapeCodes]:
    """Polygons that meet a window, in the CRS of the grid, in their order."""
    import shapely

    place = grid.cropped(window)
    way = Reprojection.between(source.crs, place, path=Path(source.name))
    found = source.near(_around(place) if grid.crs is None else way.bounds_in_file(margin=0))
    assert found.values is not None
    shapes, code = present(shapely.from_wkb(found.geometry, on_invalid="fix"), found.values.astype(np.int16))
    if way.transformer is not None:
        shapes = way(shapes)
    shapes, index = single(shapes)
    whole = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    whole &= np.isfinite(shapely.bounds(shapes)).all(axis=1)  # what could not be projected is not
    return shapes[whole], code[index][whole]


def _around(grid: Grid) -> tuple[float, float, float, float]:
    west, south, east, north = grid.bounds
    margin = 2 * max(map(abs, (grid.transform.a, grid.transform.b, grid.transform.d, grid.transform.e)))
    return west - margin, south - margin, east + margin, north + margin
