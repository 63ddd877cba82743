"""Outlines of windows of a lattice in the CRS of a plan, and the cells of ground that they touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, SceneError
from geoseg.grid.grid import Grid, same_crs

if TYPE_CHECKING:
    from pyproj import Transformer

_PIECES = 16
"""Pieces of an edge: the outline of a scene of 100 km is wrong by less than a metre."""
_HALF_TURN = 180.0


def outline_in(grid: Grid, crs: str | None) -> Any:
    """Return the outline of a grid as a shapely polygon in another CRS.

    Raises
    ------
    SceneError
        If it crosses the antimeridian of longitudes, or cannot be transformed.
    """
    import shapely

    along = np.linspace(0, 1, _PIECES, endpoint=False)
    nothing = np.zeros_like(along)
    cols = grid.width * np.concatenate([along, nothing + 1, 1 - along, nothing])
    rows = grid.height * np.concatenate([nothing, along, nothing + 1, 1 - along])
    x, y = grid.transform @ (cols, rows)
    if crs is not None and not same_crs(grid.crs, crs):
        x, y = transformer(grid.crs, crs).transform(x, y)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise SceneError("cannot be brought into the CRS of the map", Message("pass another {grid}"))
        if np.ptp(x) > _HALF_TURN and np.abs(x).max() <= _HALF_TURN + 1:
            raise SceneError(
                "crosses the antimeridian, where longitudes jump; a map of such scenes needs one projected CRS",
                Message("pass {grid}"),
            )
    return shapely.Polygon(np.column_stack([x, y]))


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    """Return the transformation between two CRSs, x first in both."""
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)


def cells_touched(outline: Any, dx: float, dy: float) -> Iterator[tuple[int, int]]:
    """Yield the cells (gx, gy) of ground that an outline shares an area with."""
    import shapely

    west, south, east, north = shapely.bounds(outline)
    gx, gy = (axis.ravel() for axis in np.meshgrid(_range(west, east, dx), _range(south, north, dy)))
    boxes = shapely.box(gx * dx, gy * dy, (gx + 1) * dx, (gy + 1) * dy)
    shapely.prepare(outline)
    touched = shapely.intersects(outline, boxes) & ~shapely.touches(outline, boxes)
    yield from zip(gx[touched].tolist(), gy[touched].tolist(), strict=True)


def _range(low: float, high: float, step: float) -> npt.NDArray[np.int64]:
    return np.arange(int(np.floor(low / step)), int(np.floor(high / step)) + 1)


def near(outlines: Sequence[Any], places: Sequence[Any]) -> list[list[int]]:
    """Return, for each place, the indices of the outlines that share an area with it, ascending."""
    import shapely

    tree = shapely.STRtree(list(outlines))
    found: list[list[int]] = [[] for _ in places]
    if len(places):
        place, outline = tree.query(np.array(places, object), predicate="intersects")
        for i, k in sorted(zip(place.tolist(), outline.tolist(), strict=True)):
            found[i].append(k)
    return found
