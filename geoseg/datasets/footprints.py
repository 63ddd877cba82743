"""Which images show the same ground: by their footprints, across coordinate systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from pyproj.exceptions import CRSError, ProjError

from geoseg.grid.grid import Grid

_SAME = 0.5
"""Ground that two images share counts from this many pixels on (of the finer one): edges that only touch are
rounded here and there."""
_POINTS = 32  # that an edge is divided into before it is bent by another CRS

_Polygons = npt.NDArray[np.object_]


def overlapping(grids: Mapping[str, Grid]) -> list[tuple[str, str]]:
    """Name every two images whose footprints overlap; sharing an edge is not overlapping.

    Images of one CRS are compared in it, those of different ones in longitude and latitude. Images without a
    CRS, or with one that has no place on the earth, overlap with none.

    Parameters
    ----------
    grids : mapping of str to Grid
        By key.

    Returns
    -------
    list of (str, str)
        Keys in the order of `grids`, sorted; found in O(n log n) plus the number of pairs.
    """
    keys = [key for key, grid in grids.items() if grid.crs is not None]
    systems = _systems([str(grids[key].crs) for key in keys])
    found: set[tuple[int, int]] = set()
    for system in sorted(set(systems)):
        members = np.flatnonzero(np.array(systems) == system)
        polygons = np.array([_footprint(grids[keys[i]], 1) for i in members], dtype=object)
        found |= {
            (int(members[a]), int(members[b])) for a, b in _pairs(polygons, _pixels(grids, keys, members))
        }
    if len(set(systems)) > 1:
        found |= {(a, b) for a, b in _on_earth(grids, keys) if systems[a] != systems[b]}
    return [(keys[a], keys[b]) for a, b in sorted(found)]


def _on_earth(grids: Mapping[str, Grid], keys: Sequence[str]) -> set[tuple[int, int]]:
    """Pairs that overlap in longitude and latitude."""
    polygons, owners = [], []
    for i, key in enumerate(keys):
        for polygon in _geographic(grids[key]):
            polygons.append(polygon)
            owners.append(i)
    pairs = _pairs(np.array(polygons, dtype=object), _pixels(grids, keys, owners))
    found = {(owners[a], owners[b]) for a, b in pairs}
    return {(min(pair), max(pair)) for pair in found if pair[0] != pair[1]}


def _pairs(polygons: _Polygons, pixels: npt.NDArray[np.float64]) -> set[tuple[int, int]]:
    """Pairs (smaller index first) of polygons of `pixels` pixels each that share at least `_SAME` of one."""
    if len(polygons) < 2:
        return set()
    left, right = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    left, right = left[left < right], right[left < right]
    shared = shapely.area(shapely.intersection(polygons[left], polygons[right]))
    pixel = shapely.area(polygons) / pixels
    enough = shared >= _SAME * np.minimum(pixel[left], pixel[right])
    return {(int(a), int(b)) for a, b in zip(left[enough], right[enough], strict=True)}


def _pixels(
    grids: Mapping[str, Grid], keys: Sequence[str], which: Sequence[int] | npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    return np.array([float(math.prod(grids[keys[i]].shape)) for i in which])


def _systems(texts: Sequence[str]) -> list[int]:
    """Give coordinate systems numbers: the same number where the same is meant, whatever the WKT says."""
    known: list[pyproj.CRS] = []
    number_of: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        crs = pyproj.CRS.from_wkt(text)
        same = [i for i, other in enumerate(known) if crs.equals(other, ignore_axis_order=True)]
        number_of[text] = same[0] if same else len(known)
        if not same:
            known.append(crs)
    return [number_of[text] for text in texts]


def _corners(grid: Grid, points: int) -> npt.NDArray[np.float64]:
    """(point, xy) of the outline, each edge divided into `points`; CRS units."""
    step = np.arange(points) / points
    height, width = grid.shape
    cols = np.concatenate([step * width, np.full(points, width), (1 - step) * width, np.zeros(points)])
    rows = np.concatenate([np.zeros(points), step * height, np.full(points, height), (1 - step) * height])
    t = grid.transform
    return np.stack([t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f], axis=1)


def _footprint(grid: Grid, points: int) -> shapely.Polygon:
    return shapely.Polygon(_corners(grid, points))


def _geographic(grid: Grid) -> list[shapely.Polygon]:
    """Bring a footprint to longitude and latitude: none where the CRS has no place on the earth.

    One that crosses the 180th meridian comes a second time, a turn further.
    """
    try:
        to_earth = pyproj.Transformer.from_crs(
            pyproj.CRS.from_wkt(str(grid.crs)), "OGC:CRS84", always_xy=True
        )
        outline = np.stack(to_earth.transform(*_corners(grid, _POINTS).T), axis=1)
    except (CRSError, ProjError):
        return []
    if not np.isfinite(outline).all():
        return []
    outline[:, 0] = np.unwrap(outline[:, 0], period=360)
    polygon = shapely.make_valid(shapely.Polygon(outline))
    west, _, east, _ = polygon.bounds
    turns = [
        turn
        for turn in (-360, 360)
        if west + turn < 180 and east + turn > -180 and (west < -180 or east > 180)
    ]
    return [
        polygon,
        *(shapely.transform(polygon, lambda xy, turn=turn: xy + np.array([turn, 0])) for turn in turns),
    ]
