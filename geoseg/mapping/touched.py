"""Pixels of a lattice that outlines of scenes touch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import same_crs
from geoseg.grid.window import Window
from geoseg.mapping.footprints import cells_touched, outline_in, transformer
from geoseg.mapping.lattice import Lattice
from geoseg.mapping.plan import FRINGE
from geoseg.mapping.territory import Territory

Floats = npt.NDArray[np.float64]

_PIECES: Final = 64
"""Pieces of a ground cell's edge: its curve in another CRS lies within a hundredth of a pixel of them."""


def square_outline(lattice: Lattice, square: Window, crs: str | None) -> Any:
    """Return the outline of a cell with the fringe around it."""
    wider = Window(
        row=square.row - FRINGE,
        col=square.col - FRINGE,
        height=square.height + 2 * FRINGE,
        width=square.width + 2 * FRINGE,
    )
    return outline_in(lattice.grid(wider), crs)


def touched_pixels(lattice: Lattice, outline: Any) -> Window:
    """Return the pixels around an outline in the CRS of a lattice."""
    import shapely

    return _around(lattice, *shapely.get_coordinates(outline).T)


def _around(lattice: Lattice, x: Floats, y: Floats) -> Window:
    """Return the pixels around places in the CRS of a lattice."""
    cols, rows = ~lattice.transform @ (x, y)
    row, col = int(np.floor(rows.min())), int(np.floor(cols.min()))
    return Window(
        row=row,
        col=col,
        height=max(1, int(np.ceil(rows.max())) - row),
        width=max(1, int(np.ceil(cols.max())) - col),
    )


def spilled_pixels(lattice: Lattice, outline: Any, territory: Territory, zone: int) -> Window | None:
    """Return the pixels of a zone, with the fringe, on the ground that it owns and a scene of another zone covers."""
    import shapely

    dx, dy = territory.steps
    ground = [
        shapely.box(gx * dx, gy * dy, (gx + 1) * dx, (gy + 1) * dy)
        for gx, gy in cells_touched(outline, dx, dy)
        if territory.owner.get((gx, gy)) == zone
    ]
    if not ground:
        return None
    covered = shapely.intersection(shapely.union_all(ground), outline)
    x, y = shapely.get_coordinates(shapely.segmentize(covered, max(dx, dy) / _PIECES)).T
    if not same_crs(territory.crs, lattice.crs):
        assert lattice.crs is not None
        x, y = transformer(territory.crs, lattice.crs).transform(x, y)
    place = _around(lattice, x, y)
    return Window(
        row=place.row - FRINGE,
        col=place.col - FRINGE,
        height=place.height + 2 * FRINGE,
        width=place.width + 2 * FRINGE,
    )
