"""Rasterization of polygons to the rows of a class map: the inverse of vectorizing.

Law: unsimplified polygons of a class map, on the grid of that map, give the map back, whatever its affine. A pixel
gets the class of the polygon in which its centre lies, and of several the one that `overlap` determines. A centre on
a border belongs to the polygon on its right, on a horizontal border to the one below: a coverage, simplified or not,
leaves no pixel out between its polygons.

rasterio burns shapes one by one from Python lists, which is too slow for the millions of polygons of a scene.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.grid.window import Window
from geoseg.kernels.kernel import kernel
from geoseg.labels.overlap import OVERLAP, Drawn, Overlap, overlap_words
from geoseg.labels.pixel_shapes import corners_in_pixels, parts_of, present, reprojected
from geoseg.vector.polygon_source import PolygonSource
from geoseg.vectorfiles.class_names import whole_code
from geoseg.vectorfiles.reprojection import Reprojection

_log = logging.getLogger(__name__)

Codes = npt.NDArray[np.unsignedinteger[Any]]
Bools = npt.NDArray[np.bool_]
NoData = np.uint8 | np.uint16
BYTE_NODATA = np.uint8(NODATA)
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_PIXELS = 2**23
"""Pixels of a strip; polygons that reach into several strips are read once for each."""


def map_rows(
    source: PolygonSource,
    grid: Grid,
    rows: int | None = None,
    *,
    overlap: Overlap = OVERLAP,
    nodata: NoData = BYTE_NODATA,
) -> Iterator[Codes]:
    """Yield the codes of the pixels in strips from the first row to the last.

    Memory holds a strip of rows and the polygons that meet it. At the end a log line says how many pixels lie in
    polygons of several classes, and what was left out: lines, points and polygons without an area cover no pixel.

    Parameters
    ----------
    source : PolygonSource
        Polygons with class codes.
    grid : Grid
        Grid of the map.
    rows : int, optional
        Rows per strip.
    overlap : str
        Which class a pixel in several polygons gets: that of the ``last``, of the ``smallest`` (among equals the last),
        or none (``ignore``).
    nodata : uint8 or uint16
        Code of pixels outside all polygons; its type is that of the codes.

    Raises
    ------
    DataError
        If polygons cannot be read or reprojected to the grid.
    """
    rows = rows or max(1, _PIXELS // grid.width)
    several = 0
    flat: set[bytes] = set()  # a shape may meet several strips
    for row in range(0, grid.height, rows):
        window = Window(row=row, col=0, height=min(rows, grid.height - row), width=grid.width)
        codes, contested = filled(
            _shapes_of(source, grid, window, flat).ordered(overlap), grid, window, nodata
        )
        several += int(contested.sum())
        if overlap == "ignore":
            codes[contested] = nodata
        yield codes
    if flat:
        words = "are lines, points or polygons without an area, which cover no pixel, and were left out"
        _log.warning("%s: %d %s", source.name, len(flat), words)
    if several:
        words = overlap_words(overlap)
        _log.info("%s: %d px lie in polygons of several classes; %s", source.name, several, words)


def filled(drawn: Drawn, grid: Grid, window: Window, nodata: NoData = BYTE_NODATA) -> tuple[Codes, Bools]:
    """Rasterize polygons in a window; of several at a pixel, the last one applies.

    Parameters
    ----------
    drawn : Drawn
        Polygons in the CRS of the grid.
    grid : Grid
        Grid of the map.
    window : Window
        Window of the map.
    nodata : uint8 or uint16
        Code of pixels outside all polygons.

    Returns
    -------
    ndarray of the type of `nodata`, shape (row, col)
    ndarray of bool, shape (row, col)
        True for pixels in polygons of different codes.
    """
    import shapely

    rings, owner = shapely.get_rings(drawn.geometry, return_index=True)
    corner = corners_in_pixels(shapely.get_coordinates(rings), grid) - (window.col, window.row)
    first = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(rings))]).astype(np.int64)
    ring_first = np.searchsorted(owner, np.arange(len(drawn.code) + 1)).astype(np.int64)
    codes: Codes = np.full(window.shape, nodata)
    contested = np.zeros(window.shape, np.bool_)
    _fill(corner, (first, ring_first), drawn.code.astype(codes.dtype), (codes, contested), nodata)
    return codes, contested


def _fill(
    corner: Floats, rings: tuple[Longs, Longs], code: Codes, filled: tuple[Codes, Bools], nodata: NoData
) -> None:
    """Fill polygons between pairs of their crossings with the horizontal lines through pixel centres."""
    height, width = filled[0].shape
    rows = np.clip(np.ceil(corner[:, 1] - 0.5), 0, height)
    # An upper bound, because the steps from ring to ring are counted, too.
    crossing = np.empty(int(np.abs(np.diff(rows)).sum()), np.int64)
    count = _cross(corner, *rings, height, width, crossing)
    crossing = np.sort(crossing[:count])
    _paint(crossing, code, *filled, nodata)


@kernel
def _cross(corner: Floats, first: Longs, ring_first: Longs, height: int, width: int, crossing: Longs) -> int:
    """List the crossings of polygons with the lines through pixel centres as position numbers; return their count.

    The spots of a polygon, a row's followed by one behind it, are numbered behind those of the polygon before.
    """
    count = 0
    for polygon in range(len(ring_first) - 1):
        origin = polygon * height * (width + 1)
        for ring in range(ring_first[polygon], ring_first[polygon + 1]):
            for i in range(first[ring], first[ring + 1] - 1):
                # Upper end first: both sides of a border compute the same crossings.
                upper, lower = (i, i + 1) if corner[i, 1] < corner[i + 1, 1] else (i + 1, i)
                x, y = corner[upper, 0], corner[upper, 1]
                down = corner[lower, 1] - y
                begin = max(0.0, np.ceil(y - 0.5))
                stop = min(float(height), np.ceil(corner[lower, 1] - 0.5))
                for row in range(int(begin), int(stop)):
                    at = x + (corner[lower, 0] - x) * ((row + 0.5 - y) / down)
                    col = int(min(max(np.ceil(at - 0.5), 0.0), float(width)))
                    crossing[count] = origin + row * (width + 1) + col
                    count += 1
    return count


@kernel
def _paint(crossing: Longs, code: Codes, codes: Codes, contested: Bools, nodata: NoData) -> None:
    """Fill between pairs of consecutive crossings: a polygon crosses each line an even number of times."""
    height, width = codes.shape
    size = height * (width + 1)
    for pair in range(0, len(crossing) - 1, 2):
        polygon, place = crossing[pair] // size, crossing[pair] % size
        row, col = place // (width + 1), place % (width + 1)
        for spot in range(col, col + crossing[pair + 1] - crossing[pair]):
            if codes[row, spot] != nodata and codes[row, spot] != code[polygon]:
                contested[row, spot] = True
            codes[row, spot] = code[polygon]


def _shapes_of(source: PolygonSource, grid: Grid, window: Window, flat: set[bytes]) -> Drawn:
    """Read the polygons that meet a window, in the CRS of the grid and in their order; add others to `flat`."""
    import shapely

    place = grid.cropped(window)
    way = Reprojection.between(source.crs, place, path=source.path, name=source.name, whole=grid)
    found = source.near(
        _around(place) if grid.crs is None else way.bounds_in_file(margin=0, extent=source.bounds)
    )
    assert found.values is not None
    known = _known(found.values)
    shapes = shapely.from_wkb(found.geometry[known], on_invalid="fix")
    drawn = parts_of(*present(shapes, found.values[known].astype(float).astype(np.uint16)))
    # The area of coordinates such as 1e308 is not finite; such shapes are left out below.
    with np.errstate(over="ignore", invalid="ignore"):
        without = ~(drawn.area > 0) & np.isfinite(shapely.bounds(drawn.geometry)).all(axis=1)
        # The halves of a bow tie cancel.
        drawn.area[without] = shapely.area(shapely.make_valid(drawn.geometry[without]))
    without &= ~(drawn.area > 0)
    flat.update(shapely.to_wkb(drawn.geometry[without]).tolist())
    drawn = drawn.at(~without)
    drawn = reprojected(drawn, way)
    whole = shapely.get_type_id(drawn.geometry) == shapely.GeometryType.POLYGON
    whole &= np.isfinite(shapely.bounds(drawn.geometry)).all(axis=1)  # False if not reprojectable
    return drawn.at(whole)


def _known(code: npt.NDArray[Any]) -> Bools:
    """Tell which polygons have a code."""
    if code.dtype.kind in "iu":
        return np.ones(len(code), np.bool_)
    if code.dtype.kind == "f":
        finite: Bools = np.isfinite(code)
        return finite
    return np.array([whole_code(value, "") is not None for value in code], np.bool_)


def _around(grid: Grid) -> tuple[float, float, float, float]:
    west, south, east, north = grid.bounds
    margin = 2 * max(map(abs, (grid.transform.a, grid.transform.b, grid.transform.d, grid.transform.e)))
    return west - margin, south - margin, east + margin, north + margin
