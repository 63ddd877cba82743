"""Made-up truths that are seen on several grids, each polygonized where it owns ground and a little beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import CRS, Transformer
from scipy.ndimage import binary_dilation

from geoseg.grid.grid import Grid
from geoseg.mapping.borders import ZonePolygons
from geoseg.mapping.territory import Territory
from geoseg.polygons.features import Features
from geoseg.polygons.stream import Wanted, polygonize_strips
from geoseg.polygons.strips import MapRows

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Truth = Callable[[Floats, Floats], Codes]

LONLAT = CRS.from_epsg(4326).to_wkt()
UTM32, UTM33 = (CRS.from_epsg(32600 + zone).to_wkt() for zone in (32, 33))
FRINGE = 2


def smooth(x: Floats, y: Floats) -> npt.NDArray[np.uint8]:
    """Four classes in patches of some kilometres, of places in degrees."""
    rough = np.sin(170 * x + 40 * y) + np.cos(210 * y - 60 * x) + np.sin(350 * x) * np.sin(290 * y)
    return np.digitize(rough, [-1.0, 0.1, 0.9]).astype(np.uint8) + 1


def grid_of(crs: str, size: float, bounds: tuple[float, float, float, float], phase: float = 0.0) -> Grid:
    """Grid of square pixels that covers bounds in its CRS; its corners are at `phase` and multiples of the size."""
    west, south, east, north = bounds
    col, row = np.floor((west - phase) / size), np.ceil((north - phase) / size)
    width, height = int(np.ceil((east - west) / size)) + 2, int(np.ceil((north - south) / size)) + 2
    transform = Affine(size, 0, col * size + phase, 0, -size, row * size + phase)
    return Grid(height=height, width=width, transform=transform, crs=crs)


def around(crs: str, territory: Territory, zone: int, size: float, phase: float = 0.0) -> Grid:
    """Grid that covers the territory of a zone and its fringe."""
    gx, gy = territory.cells_of(zone)
    dx, dy = territory.steps
    box = gx.min() * dx, gy.min() * dy, (gx.max() + 1) * dx, (gy.max() + 1) * dy
    there = Transformer.from_crs(territory.crs, crs, always_xy=True).transform_bounds(*box, densify_pts=51)
    room = 3 * FRINGE * size
    return grid_of(crs, size, (there[0] - room, there[1] - room, there[2] + room, there[3] + room), phase)


def seen(
    grid: Grid, territory: Territory, zone: int, truth: Truth
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Class map of a zone, valid at pixels whose centre it owns, and around them."""
    rows, cols = np.indices(grid.shape) + 0.5
    x, y = grid.transform @ (cols.ravel(), rows.ravel())
    x, y = Transformer.from_crs(grid.crs, territory.crs, always_xy=True).transform(x, y)
    mine = (territory.owners_at(x, y) == zone).reshape(grid.shape)
    valid = binary_dilation(mine, np.ones((3, 3)), iterations=FRINGE)
    return truth(x, y).reshape(grid.shape), valid


def polygonized(
    grid: Grid,
    codes: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    rows: int | None = None,
    **more: object,
) -> list[Features]:
    """Polygons of a map in parts of some rows."""
    strip = MapRows(codes=codes, valid=valid, **more)
    wanted = Wanted(grid=grid, confidence=strip.confidence is not None)
    return list(polygonize_strips([strip], wanted, rows=rows))


def zones_of(
    territory: Territory, grids: list[Grid], truth: Truth, rows: int | None = None
) -> list[ZonePolygons]:
    """Zones that see one truth on grids of their own."""
    return [
        ZonePolygons(grid=grid, parts=polygonized(grid, *seen(grid, territory, zone, truth), rows))
        for zone, grid in enumerate(grids)
    ]


def rebatched(parts: list[Features], size: int) -> Iterator[Features]:
    """The same features, so many at a time."""
    whole = Features.joined(parts)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
