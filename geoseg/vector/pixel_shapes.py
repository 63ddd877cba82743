"""Geometries as they are drawn, made fit to be burned: valid, single, in pixels, not too large."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.vector.overlap import Drawn, Shapes

ShapeCodes = npt.NDArray[np.int16]

_LATTICE: Final = 4096
"""Corners are rounded to this part of a pixel: what was drawn on pixels of the image is so again, whatever CRS
and affine it went through."""
_MOST_CORNERS: Final = 1024
_SMALLEST_CUT: Final = 64
"""Polygons of more corners than that, at least so many px across, are cut up: every window pays for all
corners of a polygon that it meets."""


def present(shapes: Shapes, code: ShapeCodes) -> tuple[Shapes, ShapeCodes]:
    """Leave out what has no geometry."""
    import shapely

    kept = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    return shapes[kept], code[kept]


def made_valid(shapes: Shapes) -> tuple[Shapes, int]:
    """Make invalid geometries valid, and count them."""
    import shapely

    wrong = ~shapely.is_valid(shapes)
    shapes = shapes.copy()
    shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return shapes, int(wrong.sum())


def counts_downwards(shapes: Shapes, grid: Grid) -> bool:
    """Whether shapes on an image without georeference lie below its first row, where QGIS shows such images."""
    import shapely

    if grid.crs is not None or not grid.transform.is_identity or not len(shapes):
        return False
    _, low, _, high = shapely.total_bounds(shapes)
    return bool(low < 0 and high <= 0)


def parts_of(shapes: Shapes, code: npt.NDArray[Any]) -> Drawn:
    """Take shapes apart into single polygons, lines and points, each with its own area."""
    import shapely

    single_shapes, index = single(shapes)
    with np.errstate(over="ignore", invalid="ignore"):  # of coordinates that no place has
        area = shapely.area(single_shapes)
    return Drawn(geometry=single_shapes, code=code[index], area=area)


def in_pixels(drawn: Drawn, grid: Grid, buffer: float) -> tuple[Drawn, int]:
    """Bring single shapes in the CRS of an image to its pixels.

    Parameters
    ----------
    drawn : Drawn
    grid : Grid
    buffer : float
        Half the width of lines and points, units of the CRS.

    Returns
    -------
    Drawn
        In (col, row), on a lattice of 1/4096 px.
    int
        How many had no finite place.
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
    """Bring corners in the CRS of an image, (corner, 2), to its pixels: (col, row), on a lattice of 1/4096 px."""
    col, row = ~grid.transform @ (xy[:, 0], xy[:, 1])
    corners: npt.NDArray[np.float64] = np.rint(np.column_stack([col, row]) * _LATTICE) / _LATTICE
    return corners


def on_image(drawn: Drawn, grid: Grid) -> Drawn:
    """Keep the shapes that meet the image; those of many corners in pieces."""
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
    """Members of multiple geometries and of collections, and whose members they are."""
    import shapely

    index = np.arange(len(shapes))
    while (shapely.get_type_id(shapes) > shapely.GeometryType.POLYGON).any():
        shapes, owner = shapely.get_parts(shapes, return_index=True)
        index = index[owner]
    return shapes.copy(), index


def cut_up(polygon: Any) -> list[Any]:
    """Cut a polygon of many corners along pixel borders; every pixel's centre keeps its side."""
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
