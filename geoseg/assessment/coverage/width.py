"""Whether a circle fits into a polygon: cells of its box are halved until one shows it, or none can.

The search is that of the pole of inaccessibility (D. Garcia-Castellanos and U. Lombardo, 2007), with cells as in
Mapbox's polylabel: no point of a cell is farther from the border than its middle and half its diagonal together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined, kernel

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

_EXACT = 0.005
"""Share of the radius by which a circle may be too small: between is what a cell cannot decide."""
_DEEPEST = 400
"""Cells that wait, more than can: three for each halving."""


class _Rings(NamedTuple):
    points: Floats
    ring_first: Longs
    first_ring: Longs


def circle_fits(shapes: Objects, radius: float) -> Bools:
    """Tell into which polygons a circle fits, to half a percent of its radius.

    Parameters
    ----------
    shapes : (polygon,) object
        Polygons or multipolygons, of which one part has to be wide enough.
    radius : float
        Radius in units of the coordinates.
    """
    import shapely

    parts, owner = shapely.get_parts(shapes, return_index=True)
    found = np.zeros(len(shapes), np.bool_)
    if not len(parts):
        return found
    _, points, (ring_first, first_ring) = shapely.to_ragged_array(parts)
    rings = _Rings(np.ascontiguousarray(points), ring_first.astype(np.int64), first_ring.astype(np.int64))
    fits = np.zeros(len(parts), np.bool_)
    _search(rings, float(radius), np.empty((_DEEPEST, 3)), fits)
    np.logical_or.at(found, owner, fits)
    return found


@kernel
def _search(rings: _Rings, radius: float, waiting: Floats, fits: Bools) -> None:
    points, ring_first, first_ring = rings
    enough = radius * (1 - _EXACT)
    for polygon in range(len(fits)):
        begin, stop = ring_first[first_ring[polygon]], ring_first[first_ring[polygon] + 1]
        west = south = np.inf
        east = north = -np.inf
        for at in range(begin, stop):
            west, east = min(west, points[at, 0]), max(east, points[at, 0])
            south, north = min(south, points[at, 1]), max(north, points[at, 1])
        if min(east - west, north - south) < 2 * enough:
            continue
        waiting[0, 0], waiting[0, 1] = (west + east) / 2, (south + north) / 2
        waiting[0, 2] = max(east - west, north - south) / 2
        count = 1
        while count and not fits[polygon]:
            count -= 1
            x, y, half = waiting[count, 0], waiting[count, 1], waiting[count, 2]
            inside = _inside(rings, polygon, x, y)
            if inside >= enough:
                fits[polygon] = True
            elif inside + half * math.sqrt(2.0) >= radius and count + 4 <= len(waiting):
                half /= 2
                for corner in range(4):
                    waiting[count, 0] = x + half if corner % 2 else x - half
                    waiting[count, 1] = y + half if corner // 2 else y - half
                    waiting[count, 2] = half
                    count += 1


@inlined
def _inside(rings: _Rings, polygon: int, x: float, y: float) -> float:
    """Return the distance of a place from the border, negative outside."""
    points, ring_first, first_ring = rings
    nearest, inside = np.inf, False
    for ring in range(first_ring[polygon], first_ring[polygon + 1]):
        for at in range(ring_first[ring], ring_first[ring + 1] - 1):
            x1, y1 = points[at, 0] - x, points[at, 1] - y
            dx, dy = points[at + 1, 0] - points[at, 0], points[at + 1, 1] - points[at, 1]
            square = dx * dx + dy * dy
            share = min(max(-(x1 * dx + y1 * dy) / square, 0.0), 1.0) if square > 0 else 0.0
            off_x, off_y = x1 + share * dx, y1 + share * dy
            nearest = min(nearest, off_x * off_x + off_y * off_y)
            if (y1 <= 0) != (y1 + dy <= 0) and x1 - y1 / dy * dx > 0:
                inside = not inside
    return math.sqrt(nearest) if inside else -math.sqrt(nearest)
