"""Lattices: the endless pixel grids on which scenes lie, with absolute row and column numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from affine import Affine

from geoseg.grid.grid import SAME_PIXEL, Grid, same_crs
from geoseg.grid.window import Window

_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """A CRS, and pixels of one size and orientation that cover it without an end.

    Rows and columns count from the pixel nearest to the origin of the CRS, so they do not depend on which scenes are
    there.

    Parameters
    ----------
    anchor : Grid
        Grid of one scene on the lattice.
    row, col : int
        Its first pixel.
    """

    anchor: Grid
    row: int
    col: int

    @classmethod
    def of(cls, grid: Grid) -> Lattice:
        """Return the lattice of a grid."""
        row, col = _position(grid)
        return cls(anchor=grid, row=round(row), col=round(col))

    @property
    def crs(self) -> str | None:
        """CRS as WKT."""
        return self.anchor.crs

    def window_of(self, grid: Grid) -> Window | None:
        """Return the pixels of a grid; None if it lies on another lattice.

        Two lattices are the same if pixels of the grid lie within a thousandth of a pixel of this one's.
        """
        theirs, ours = grid.transform, self.anchor.transform
        if not same_crs(grid.crs, self.crs):
            return None
        edge = max(math.hypot(ours.a, ours.d), math.hypot(ours.b, ours.e))
        steps = max(abs(x - y) for x, y in zip(_linear(theirs), _linear(ours), strict=True)) / edge
        if steps * max(grid.shape) > SAME_PIXEL:
            return None
        col, row = ~ours @ (theirs.c, theirs.f)
        if max(abs(row - round(row)), abs(col - round(col))) > SAME_PIXEL:
            return None
        return Window(
            row=self.row + round(row), col=self.col + round(col), height=grid.height, width=grid.width
        )

    def grid(self, window: Window) -> Grid:
        """Return the grid of a window; that of the anchor's own window is its grid, bit for bit."""
        return self.anchor.cropped(window.shifted(-self.row, -self.col))

    @property
    def transform(self) -> Affine:
        """From pixel corner (col, row) to world (x, y)."""
        return self.anchor.transform @ Affine.translation(-self.col, -self.row)

    @property
    def pixel(self) -> float:
        """Edge of a pixel: the root of its area in units of the CRS, in metres at the equator for degrees."""
        edge = math.sqrt(self.anchor.pixel_area)
        return edge * _METRES_PER_DEGREE if is_geographic(self.crs) else edge * metres_per_unit(self.crs)


def lattices_of(grids: list[Grid]) -> tuple[list[Lattice], list[tuple[int, Window]]]:
    """Group grids by lattice.

    Returns
    -------
    list of Lattice
        In the order in which they occur.
    list of (int, Window)
        Lattice of each grid, and its pixels there.
    """
    found: list[Lattice] = []
    places = []
    for grid in grids:
        known = ((index, lattice.window_of(grid)) for index, lattice in enumerate(found))
        place = next(((index, window) for index, window in known if window is not None), None)
        if place is None:
            lattice = Lattice.of(grid)
            found.append(lattice)
            own = Window(row=lattice.row, col=lattice.col, height=grid.height, width=grid.width)
            place = len(found) - 1, own
        places.append(place)
    return found, places


def lattice_of_resolution(crs: str, resolution: float) -> Lattice:
    """Return the north-up lattice of a CRS whose pixel corners lie at multiples of their edge, in units of the CRS."""
    return Lattice.of(Grid(height=1, width=1, transform=Affine(resolution, 0, 0, 0, -resolution, 0), crs=crs))


def is_geographic(crs: str | None) -> bool:
    """Tell whether coordinates of a CRS are degrees."""
    if crs is None:
        return False
    from pyproj import CRS

    return bool(CRS.from_user_input(crs).is_geographic)


def metres_per_unit(crs: str | None) -> float:
    """Return the length of the unit of a projected CRS in metres; 1 without a CRS."""
    if crs is None:
        return 1.0
    from pyproj import CRS

    return float(CRS.from_user_input(crs).axis_info[0].unit_conversion_factor)


def _linear(transform: Affine) -> tuple[float, float, float, float]:
    return transform.a, transform.b, transform.d, transform.e


def _position(grid: Grid) -> tuple[float, float]:
    """Return row and column of a grid's first corner, counted in its pixels from the origin of the CRS."""
    t = grid.transform
    linear = Affine(t.a, t.b, 0, t.d, t.e, 0)
    col, row = ~linear @ (t.c, t.f)
    return row, col
