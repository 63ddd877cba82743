"""The grid of a raster: shape, affine transform and CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from affine import Affine

from geoseg.errors import OptionError
from geoseg.grid.window import Window

SAME_PIXEL: Final = 1e-3
"""Largest shift of a corner, px, at which two grids still count as the same: some writers round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Pixel grid of a raster: its shape, affine transform and CRS.

    Parameters
    ----------
    height, width : int
        Shape in px.
    transform : Affine
        From pixel corner (col, row) to world (x, y), float64; rotated, sheared and south-up grids are allowed.
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
        """Planar area of one pixel, in square CRS units."""
        return float(abs(self.transform.determinant))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Bounding box (west, south, east, north) of the raster, CRS units."""
        return self.window_bounds(Window(row=0, col=0, height=self.height, width=self.width))

    def differs_from(self, other: Grid) -> str:
        """Describe how this grid differs from another; return an empty string if their pixels coincide.

        A grid without a CRS is taken to have that of the other. Affines count as equal if no corner of the raster
        moves by more than a thousandth of a pixel, which rounding in files may cause.

        Parameters
        ----------
        other : Grid
            Grid that was expected.

        Returns
        -------
        str
            Words for a message, such as ``is 3 x 4 px, expected 3 x 5 px``.
        """
        if self.shape != other.shape:
            return f"is {self.height} x {self.width} px, expected {other.height} x {other.width} px"
        if not same_crs(self.crs, other.crs):
            from pyproj import CRS

            ours, theirs = (CRS.from_user_input(grid.crs).name for grid in (self, other))
            return f"its CRS is {ours}, expected {theirs}"
        if not all(max(abs(cols), abs(rows)) <= SAME_PIXEL for cols, rows in self._moves(other)):
            found, expected = (", ".join(f"{n:.10g}" for n in grid.transform[:6]) for grid in (self, other))
            return f"its affine is {found}, expected {expected}"
        return ""

    def offset_on(self, other: Grid) -> tuple[float, float] | None:
        """Return the offset in rows and columns to another grid, if it is the same for all pixels.

        Parameters
        ----------
        other : Grid
            Grid of any shape.

        Returns
        -------
        (float, float) or None
            Rows and columns from a pixel of the other grid to the pixel with the same indices in this one; None if
            they vary by more than a thousandth of a pixel: with another CRS, pixel size or orientation.
        """
        if not same_crs(self.crs, other.crs):
            return None
        moves = self._moves(other)
        spans = [max(along) - min(along) for along in zip(*moves, strict=True)]
        if not max(spans) <= SAME_PIXEL:
            return None
        cols, rows = (sum(along) / len(moves) for along in zip(*moves, strict=True))
        return rows, cols

    def _moves(self, other: Grid) -> list[tuple[float, float]]:
        """Return the offsets of the four corners from those of another grid, in its columns and rows."""
        onto = ~other.transform @ self.transform
        corners = [(col, row) for col in (0, self.width) for row in (0, self.height)]
        return [(x - col, y - row) for (col, row), (x, y) in ((at, onto @ at) for at in corners)]

    def window_bounds(self, window: Window) -> tuple[float, float, float, float]:
        """Return the bounding box (west, south, east, north) of a window, CRS units."""
        corners = [
            self.transform @ (col, row)
            for col in (window.col, window.col_stop)
            for row in (window.row, window.row_stop)
        ]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def cropped(self, window: Window) -> Grid:
        """Return the grid of a window: the same affine with its origin moved by whole pixels."""
        t = self.transform
        x, y = t @ (window.col, window.row)
        # A window at the origin keeps the affine bit for bit: t @ (0, 0) is (c, f) exactly.
        moved = Affine(t.a, t.b, x, t.d, t.e, y)
        return Grid(height=window.height, width=window.width, transform=moved, crs=self.crs)

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the window of pixels that a rectangle in world coordinates touches.

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
    """Round an interval outward to whole pixels, ignoring rounding errors of the affine."""
    tolerance = 1e-6  # px; float64 affines at UTM northings are good to 1e-8 px
    return math.floor(low + tolerance), math.ceil(high - tolerance)


@lru_cache(maxsize=64)
def same_crs(first: str | None, second: str | None) -> bool:
    """Tell whether two CRSs are the same; a missing one matches any.

    Parameters
    ----------
    first, second : str or None
        WKT, or any text that pyproj accepts. The order of axes is ignored: x comes first in all grids.

    Raises
    ------
    pyproj.exceptions.CRSError
        If one of them is not a CRS.
    """
    if first is None or second is None or first == second:
        return True
    from pyproj import CRS

    return CRS.from_user_input(first).equals(CRS.from_user_input(second), ignore_axis_order=True)


def crs_name(crs: str | None) -> str | None:
    """Return the authority code of a CRS, or its text if it has none."""
    if crs is None:
        return None
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    authority = known.to_authority()
    return f"{':'.join(authority)} {known.name}" if authority else str(known.name)
