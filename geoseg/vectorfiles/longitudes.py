"""Longitudes of shapes on an image in degrees: 181 and -179 are one meridian."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid

Objects = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]

_TURNS: Final = (0, -1, 1, -2, 2)
"""Turns by which shapes and image may differ: both may count from -180, from 0, or on beyond 180."""


@lru_cache(maxsize=64)
def turn_of(crs: str | None) -> float | None:
    """Return a full turn of a geographic CRS in its units, 360 for degrees; None for other CRSs and for none."""
    if crs is None:
        return None
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    factors = [axis.unit_conversion_factor for axis in known.axis_info if axis.direction in ("east", "west")]
    return round(math.tau / factors[0], 6) if known.is_geographic and factors and factors[0] > 0 else None


def turn_on(grid: Grid) -> float | None:
    """Return a full turn of a grid's longitudes; None if it is wider, so that a place would come twice."""
    turn = turn_of(grid.crs)
    west, _, east, _ = grid.bounds
    return turn if turn is not None and east - west <= turn * (1 + 1e-9) else None


def turned(shapes: Objects, turn: float, west: float, east: float) -> Objects:
    """Move shapes by whole turns to where they meet an image.

    Parameters
    ----------
    shapes : (shape,) object
        Shapes in longitude and latitude.
    turn : float
        A full turn, in the units of the longitudes.
    west, east : float
        Longitudes at the borders of the image.

    Returns
    -------
    (shape,) object
        Each shape where it meets the image, a collection if in several places; as it was if nowhere.
    """
    import shapely

    bounds = shapely.bounds(shapes)
    low, high = bounds[:, 0], bounds[:, 2]
    thin = low == high
    meets = {
        by: np.where(
            thin,
            (low + by * turn <= east) & (high + by * turn >= west),
            (low + by * turn < east) & (high + by * turn > west),
        )
        for by in _TURNS
    }
    moved = shapes.copy()
    for at in np.flatnonzero(np.logical_or.reduce([meets[by] for by in _TURNS if by])):
        copies = [_moved(shapes[at], by * turn) for by in _TURNS if meets[by][at]]
        moved[at] = copies[0] if len(copies) == 1 else shapely.GeometryCollection(copies)
    return moved


def meeting(box: Box, extent: Box, turn: float) -> Box:
    """Return the box around a box wherever it meets an extent after whole turns; as it is if nowhere."""
    west, south, east, north = box
    places = [
        by * turn for by in _TURNS if west + by * turn <= extent[2] and east + by * turn >= extent[0]
    ] or [0.0]
    return west + min(places), south, east + max(places), north


def parts_on_the_globe(shape: Any, turn: float) -> int:
    """Count the parts of a multipolygon in longitude and latitude, where those cut at 180 degrees are one.

    GeoJSON has no polygon over the antimeridian, but two parts that meet there (RFC 7946, section 3.1.9).

    Parameters
    ----------
    shape : MultiPolygon
        Valid parts.
    turn : float
        A full turn, in the units of the longitudes.
    """
    import shapely

    parts = shapely.get_parts(shape)
    west, _, east, _ = shapely.bounds(parts).T
    if not ((west == -turn / 2).any() and (east == turn / 2).any()):
        return len(parts)
    moved = [_moved(part, turn if at < 0 else 0.0) for part, at in zip(parts, west, strict=True)]
    return int(shapely.get_num_geometries(shapely.union_all(moved)))


def unrolled(shapes: Objects, turn: float, in_file: Objects, poles: Floats) -> Objects:
    """Make shapes continuous where their longitudes jump by a turn, as a transformation to degrees leaves them.

    Parameters
    ----------
    shapes : (shape,) object
        Single polygons, lines and points in longitude and latitude, with close corners.
    turn : float
        A full turn, in the units of the longitudes.
    in_file : (shape,) object
        The same shapes before they were transformed.
    poles : (2, 2) float64
        x and y there of the north and the south pole.

    Returns
    -------
    (shape,) object
        Shapes whose longitudes go on beyond 180 degrees. A polygon around a pole reaches over a whole turn.
    """
    import shapely

    bounds = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        wide = np.isfinite(bounds).all(axis=1) & (bounds[:, 2] - bounds[:, 0] > turn / 2)
    found = shapes.copy()
    for at in np.flatnonzero(wide):
        found[at] = _continuous(shapes[at], turn, in_file[at], poles)
    return found


def _continuous(shape: Any, turn: float, in_file: Any, poles: Floats) -> Any:
    import shapely

    if shapely.get_dimensions(shape) < 2:
        return shapely.set_coordinates(
            shapely.from_wkb(shapely.to_wkb(shape)), _without_jumps(_xy(shape), turn)
        )
    rings = [_xy(ring) for ring in shapely.get_rings(shape)]
    lines = [_without_jumps(ring, turn) for ring in rings]
    if all((line == ring).all() for line, ring in zip(lines, rings, strict=True)):
        return shape
    outlines = [_xy(ring) for ring in shapely.get_rings(in_file)]
    faces = [_face(line, turn, outline, poles) for line, outline in zip(lines, outlines, strict=True)]
    holes = [_moved(hole, by * turn) for hole in faces[1:] for by in _TURNS]
    return shapely.difference(faces[0], shapely.union_all(holes)) if holes else faces[0]


def _face(line: Floats, turn: float, outline: Floats, poles: Floats) -> Any:
    """Make a polygon of an unrolled ring, closed along the pole around which it runs."""
    import shapely

    if line[0, 0] != line[-1, 0]:
        plan = shapely.make_valid(shapely.Polygon(outline))
        north, south = (bool(np.isfinite(pole).all() and shapely.contains_xy(plan, *pole)) for pole in poles)
        up = north if north != south else line[:, 1].mean() > 0
        end = turn / 4 if up else -turn / 4
        line = np.vstack([line, [[line[-1, 0], end], [line[0, 0], end], line[0]]])
    return shapely.make_valid(shapely.Polygon(line))


def _without_jumps(line: Floats, turn: float) -> Floats:
    """Add whole turns to the longitudes of a line wherever they jump by more than half of one."""
    turns = np.cumsum(np.rint(np.diff(line[:, 0], prepend=line[0, 0]) / turn))
    return np.column_stack([line[:, 0] - turns * turn, line[:, 1]])


def _moved(shape: Any, by: float) -> Any:
    import shapely

    return shapely.transform(shape, lambda xy: xy + np.array([by, 0.0])) if by else shape


def _xy(shape: Any) -> Floats:
    import shapely

    found: Floats = shapely.get_coordinates(shape)
    return found
