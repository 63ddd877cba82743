"""Where pixels meet the world: shape, affine and CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from affine import Affine

from geoseg.errors import OptionError
from geoseg.grid.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The lattice of a raster.

    Parameters
    ----------
    height, width : int
        Shape in px.
    transform : Affine
        Pixel corner (col, row) to world (x, y), float64, any orientation.
    crs : str or None
        Coordinate reference system as WKT; None for a raster without one.
    """

    height: int
    width: int
    transform: Affine
    crs: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) in px."""
        return self.height, self.width

    @property
    def pixel_area(self) -> float:
        """Planar area of one pixel in square CRS units."""
        return float(abs(self.transform.determinant))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) of the four corners, CRS units."""
        return self.window_bounds(Window(row=0, col=0, height=self.height, width=self.width))

    def window_bounds(self, window: Window) -> tuple[float, float, float, float]:
        """(west, south, east, north) of a window's four corners, CRS units."""
        corners = [
            self.transform @ (col, row)
            for col in (window.col, window.col_stop)
            for row in (window.row, window.row_stop)
        ]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def cropped(self, window: Window) -> Grid:
        """Return the grid of a window: same affine, its origin moved by whole pixels."""
        t = self.transform
        x, y = t @ (window.col, window.row)
        # A window at the origin keeps the affine bit for bit: t @ (0, 0) is (c, f) exactly.
        moved = Affine(t.a, t.b, x, t.d, t.e, y)
        return Grid(height=window.height, width=window.width, transform=moved, crs=self.crs)

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the pixels of the raster that a world rectangle touches.

        Law: ``grid.window(grid.window_bounds(w)) == w`` for every window on the raster.

        Parameters
        ----------
        bounds : tuple of float
            (west, south, east, north) in CRS units.

        Raises
        ------
        OptionError
            If the rectangle is empty or lies outside the raster.
        """
        west, south, east, north = bounds
        if not (west < east and south < north):
            raise OptionError(
                f"bounds {west} {south} {east} {north} are empty, expected west < east, south < north"
            )
        inverse = ~self.transform
        corners = [inverse @ (x, y) for x in (west, east) for y in (south, north)]
        cols, rows = [c for c, _ in corners], [r for _, r in corners]
        first_row, last_row = _outward(min(rows), max(rows))
        first_col, last_col = _outward(min(cols), max(cols))
        touched = Window(
            row=first_row,
            col=first_col,
            height=max(1, last_row - first_row),
            width=max(1, last_col - first_col),
        ).within(self.shape)
        if touched is None:
            raise OptionError(
                f"bounds {west} {south} {east} {north} lie outside the scene "
                f"({' '.join(f'{v:.10g}' for v in self.bounds)})"
            )
        return touched


def _outward(low: float, high: float) -> tuple[int, int]:
    """Round an interval outward to whole pixels, forgiving the rounding of the affine itself."""
    tolerance = 1e-6  # px; float64 affines at UTM northings are good to 1e-8 px
    return math.floor(low + tolerance), math.ceil(high - tolerance)


@lru_cache(maxsize=64)
def same_crs(first: str | None, second: str | None) -> bool:
    """Whether two CRSs are one; a missing one is like the other."""
    if first is None or second is None or first == second:
        return True
    from pyproj import CRS

    return CRS.from_wkt(first).equals(CRS.from_wkt(second), ignore_axis_order=True)
