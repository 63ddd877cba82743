"""Find images that overlap on the ground, from their footprints, across coordinate systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from pyproj.exceptions import CRSError, ProjError

from geoseg.grid.grid import Grid, same_crs

_SAME = 0.5
"""Minimum overlap in pixels (of the finer image) that counts, since touching edges are subject to rounding."""
_POINTS = 32  # points per edge, since edges become curves in another CRS

_Polygons = npt.NDArray[np.object_]
_Numbers = npt.NDArray[np.intp]


def overlapping(grids: Mapping[str, Grid]) -> list[tuple[str, str]]:
    """Return all pairs of images whose footprints overlap; a shared edge is not an overlap.

    Images with the same CRS are compared in it, others in longitude and latitude. Images without a
    CRS, or with one that has no position on the earth, overlap with none.

    Parameters
    ----------
    grids : mapping of str to Grid
        Grid of each image, by key.

    Returns
    -------
    list of (str, str)
        Keys in the order of `grids`, sorted; found in O(n log n) plus the number of pairs.
    """
    keys = [key for key, grid in grids.items() if grid.crs is not None]
    placed = [grids[key] for key in keys]
    systems = np.array(_systems([str(grid.crs) for grid in placed]), dtype=np.intp)
    pixels = np.array([float(math.prod(grid.shape)) for grid in placed])
    found: set[tuple[int, int]] = set()
    for members in _by_system(systems):
        outlines = _outlines([placed[i] for i in members.tolist()], 1)
        found |= _pairs(shapely.polygons(outlines), members, pixels, np.arange(len(placed)))
    if len(set(systems.tolist())) > 1:
        polygons, owners = _on_earth(placed, systems)
        found |= _pairs(polygons, owners, pixels, systems)
    return [(keys[a], keys[b]) for a, b in sorted(found)]


def _pairs(
    polygons: _Polygons, owners: _Numbers, pixels: npt.NDArray[np.float64], kinds: _Numbers
) -> set[tuple[int, int]]:
    """Return pairs (smaller first) of owners of different kinds whose polygons share at least `_SAME` pixels of
    either.
    """
    left, right = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    wanted = (owners[left] < owners[right]) & (kinds[owners[left]] != kinds[owners[right]])
    left, right = left[wanted], right[wanted]
    shared = shapely.area(shapely.intersection(polygons[left], polygons[right]))
    pixel = shapely.area(polygons) / pixels[owners]
    enough = shared >= _SAME * np.minimum(pixel[left], pixel[right])
    return set(zip(owners[left[enough]].tolist(), owners[right[enough]].tolist(), strict=True))


def _systems(texts: Sequence[str]) -> list[int]:
    """Return a number for each coordinate system; equivalent ones get the same number, whatever their WKT."""
    known: list[str] = []
    number_of: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        number_of[text] = next((i for i, one in enumerate(known) if same_crs(text, one)), len(known))
        if number_of[text] == len(known):
            known.append(text)
    return [number_of[text] for text in texts]


def _outlines(grids: Sequence[Grid], points: int) -> npt.NDArray[np.float64]:
    """Return outlines (grid, point, xy) in CRS units, each edge divided into `points`."""
    step, ones, zeros = np.arange(points) / points, np.ones(points), np.zeros(points)
    across = np.concatenate([step, ones, 1 - step, zeros])
    down = np.concatenate([zeros, step, ones, 1 - step])
    heights, widths = (np.array(edge)[:, None] for edge in zip(*(grid.shape for grid in grids), strict=True))
    cols, rows = across * widths, down * heights
    a, b, c, d, e, f = (
        np.array(term)[:, None] for term in zip(*(g.transform[:6] for g in grids), strict=True)
    )
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=2)


def _by_system(systems: _Numbers) -> list[_Numbers]:
    """Return the indices of the grids of each coordinate system."""
    return [np.flatnonzero(systems == system) for system in np.unique(systems)]


def _on_earth(grids: Sequence[Grid], systems: _Numbers) -> tuple[_Polygons, _Numbers]:
    """Return footprints in longitude and latitude with their grids' indices; none for a CRS without a position
    on the earth.

    A footprint that crosses the 180th meridian is repeated, shifted by 360 degrees.
    """
    polygons, owners = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.intp)]
    for members in _by_system(systems):
        outlines = _geographic([grids[i] for i in members.tolist()])
        there = np.isfinite(outlines).all(axis=(1, 2))
        outlines, members = outlines[there], members[there]
        west, east = outlines[:, :, 0].min(axis=1), outlines[:, :, 0].max(axis=1)
        for turn, crosses in ((0, np.ones(len(members), dtype=bool)), (-360, east > 180), (360, west < -180)):
            turned = shapely.polygons(outlines[crosses] + (turn, 0))
            polygons.append(np.atleast_1d(shapely.make_valid(turned)))
            owners.append(members[crosses])
    return np.concatenate(polygons), np.concatenate(owners)


def _geographic(grids: Sequence[Grid]) -> npt.NDArray[np.float64]:
    """Return outlines (grid, point, lon lat) of grids with one CRS, each in one piece; not finite if undefined."""
    outlines = _outlines(grids, _POINTS)
    try:
        crs = pyproj.CRS.from_wkt(str(grids[0].crs))
        transformer = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    except (CRSError, ProjError):
        return np.full_like(outlines, np.nan)
    lon, lat = transformer.transform(outlines[..., 0], outlines[..., 1])
    lon = np.unwrap(np.where(np.isfinite(lon), lon, 0), period=360, axis=1) + np.where(
        np.isfinite(lon), 0, np.nan
    )
    return np.stack([lon, lat], axis=2)
