"""Drawn geometries as pixels: made valid, single-part, in pixel coordinates and of limited size, then burned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.overlap import Drawn, Shapes
from geoseg.vectorfiles.reprojection import Reprojection

ShapeCodes = npt.NDArray[np.int16]

_LATTICE: Final = 4096
"""Fractions of a pixel to which corners are rounded, so that shapes drawn along pixels still follow them after any
transformation."""
_MOST_CORNERS: Final = 1024
_SMALLEST_CUT: Final = 64
"""Polygons with more corners than that, and at least this many px across, are split, because burning a window takes
time for all corners of the polygons that it meets."""

Numbers = npt.NDArray[np.signedinteger[Any]]


def present(shapes: Shapes, code: ShapeCodes) -> tuple[Shapes, ShapeCodes]:
    """Drop features without a geometry."""
    import shapely

    kept = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    return shapes[kept], code[kept]


def made_valid(shapes: Shapes) -> tuple[Shapes, int]:
    """Repair invalid geometries and count them."""
    import shapely

    wrong = ~shapely.is_valid(shapes)
    shapes = shapes.copy()
    shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return shapes, int(wrong.sum())


def counts_downwards(shapes: Shapes, grid: Grid) -> bool:
    """Tell whether shapes on an image without georeferencing lie below row 0, as drawn in QGIS."""
    import shapely

    if grid.crs is not None or not grid.transform.is_identity or not len(shapes):
        return False
    _, low, _, high = shapely.total_bounds(shapes)
    return bool(low < 0 and high <= 0)


def parts_of(shapes: Shapes, code: npt.NDArray[Any]) -> Drawn:
    """Split shapes into single polygons, lines and points, each with its own area."""
    import shapely

    single_shapes, index = single(shapes)
    with np.errstate(over="ignore", invalid="ignore"):  # for absurd coordinates
        area = shapely.area(single_shapes)
    return Drawn(geometry=single_shapes, code=code[index], area=area)


def in_pixels(drawn: Drawn, grid: Grid, buffer: float) -> tuple[Drawn, int]:
    """Convert single shapes from the CRS of an image to its pixel coordinates.

    Parameters
    ----------
    drawn : Drawn
        Shapes in the CRS of the image.
    grid : Grid
        Grid of the image.
    buffer : float
        Half the width of lines and points, in units of the CRS.

    Returns
    -------
    Drawn
        Shapes in (col, row), rounded to 1/4096 px.
    int
        Number of shapes dropped for coordinates that are not finite.
    """
    import shapely

    finite = np.isfinite(shapely.bounds(drawn.geometry)).all(axis=1)
    kept = drawn.at(finite)
    shapes = kept.geometry.copy()
    if buffer > 0:
        thin = shapely.get_dimensions(shapes) < 2
        shapes[thin] = shapely.buffer(shapes[thin], buffer)
    shapes = shapely.transform(shapes, lambda xy: corners_in_pixels(xy, grid))
    return replace(kept, geometry=shapes), int((~finite).sum())


def corners_in_pixels(xy: npt.NDArray[np.float64], grid: Grid) -> npt.NDArray[np.float64]:
    """Convert corners (corner, 2) from the CRS of an image to (col, row), rounded to 1/4096 px."""
    col, row = ~grid.transform @ (xy[:, 0], xy[:, 1])
    corners: npt.NDArray[np.float64] = np.rint(np.column_stack([col, row]) * _LATTICE) / _LATTICE
    return corners


def on_image(drawn: Drawn, grid: Grid) -> Drawn:
    """Keep the shapes that meet the image, splitting those with many corners."""
    import shapely

    height, width = grid.shape
    left, top, right, bottom = shapely.bounds(drawn.geometry).T
    drawn = drawn.at((right >= 0) & (bottom >= 0) & (left < width) & (top < height))
    shapes = drawn.geometry
    many = (shapely.get_num_coordinates(shapes) > _MOST_CORNERS) & (shapely.get_dimensions(shapes) == 2)
    if many.any():
        pieces = [cut_up(shape) if large else [shape] for shape, large in zip(shapes, many, strict=True)]
        drawn = drawn.at(np.repeat(np.arange(len(shapes)), [len(p) for p in pieces]))
        drawn = replace(drawn, geometry=np.array([shape for p in pieces for shape in p], dtype=object))
    return drawn


def single(shapes: Shapes) -> tuple[Shapes, npt.NDArray[np.intp]]:
    """Return the parts of multi-part geometries and collections that are not empty, with the index of their owner."""
    import shapely

    index = np.arange(len(shapes))
    while (shapely.get_type_id(shapes) > shapely.GeometryType.POLYGON).any():
        shapes, owner = shapely.get_parts(shapes, return_index=True)
        there = ~shapely.is_empty(shapes)
        shapes, index = shapes[there], index[owner[there]]
    return shapes.copy(), index


def reprojected(drawn: Drawn, way: Reprojection, margin: float = 0.0) -> Drawn:
    """Bring single shapes into the CRS of an image, where each may meet the image in several places."""
    shapes, index = single(way(drawn.geometry, margin))
    return replace(drawn.at(index), geometry=shapes)


def cut_up(polygon: Any) -> list[Any]:
    """Split a polygon with many corners along pixel borders; every pixel centre stays on the same side."""
    import shapely

    left, top, right, bottom = polygon.bounds
    if (
        shapely.get_num_coordinates(polygon) <= _MOST_CORNERS
        or max(right - left, bottom - top) < _SMALLEST_CUT
    ):
        return [polygon]
    if right - left >= bottom - top:
        middle = float(round((left + right) / 2))
        halves = [(left, top, middle, bottom), (middle, top, right, bottom)]
    else:
        middle = float(round((top + bottom) / 2))
        halves = [(left, top, right, middle), (left, middle, right, bottom)]
    cut = [shapely.intersection(polygon, shapely.box(*half)) for half in halves]
    whole, _ = single(np.array(cut, dtype=object))
    return [piece for part in whole if part.area > 0 for piece in cut_up(part)]


def burn(
    shapes: npt.NDArray[np.object_], values: Numbers, window: Window, *, fill: int, touched: bool
) -> Numbers:
    """Rasterize shapes in a window; pixels get the value of the last shape that covers them.

    For edges that run through pixel corners, the pixels that GDAL counts as touched depend on the origin of the
    window, so only windows of one fixed grid of blocks are consistent.

    Parameters
    ----------
    shapes : (shape,) object
        Single-part shapely geometries in (col, row), px.
    values : (shape,) int16 or int32
        Value of each shape.
    window : Window
        Window of the image.
    fill : int
        Value of pixels that no shape covers.
    touched : bool
        Whether shapes cover every pixel they touch; otherwise polygons cover pixels whose centre is inside.

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
    """Convert shapes to GeoJSON-like mappings for rasterio, faster than shapely's own interface."""
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
    """Return the coordinates of each line, ring or point."""
    import shapely

    corners = shapely.get_coordinates(lines).tolist()
    stops = np.cumsum(shapely.get_num_coordinates(lines)).tolist()
    return [corners[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
