"""Boundaries of a band redrawn, before they are rings and arcs: smoothed, simplified, or both.

A boundary between two regions is two chains of vertices in opposite directions, one in a ring of either region.
Here each of its corners knows its mate in the other chain, so that what happens to one side happens to the other:
the polygons stay a coverage. What has no mate is fixed: corners where three or more regions meet, and those on
the border of the map and of no data.

Bands are redrawn each by itself. The edges that run from one band into the next are fixed at both ends, and no
other vertex that is there or may vanish lies between bands: so no band needs to know another. The rows of a band
then show in the polygons, and so they must depend on the map alone (`band_rows`), not on who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.ground_cells import areas_of_squares
from geoseg.kernels.kernel import kernel
from geoseg.vector.amounts import Amount
from geoseg.vector.bands import rows_of_band
from geoseg.vector.rings import Corners
from geoseg.vector.runs import Ints, Runs, index_dtype
from geoseg.vector.simplify import simplify
from geoseg.vector.smooth import count_cut, cut_corners

Longs = npt.NDArray[np.int64]

_LEAST_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """How boundaries are drawn.

    Parameters
    ----------
    limit : int
        Vertices go whose triangle with their neighbours has at most this area, in halves of a square of the
        lattice.
    smooth : bool
        Whether lines run through the midpoints of pixel edges; the lattice is that of half pixels then.
    places : (row, col) int64, optional
        The same area where it differs from place to place, by squares of the lattice; then `limit` is the largest.
    shift : int
        Edge of these squares, as a power of two.
    """

    limit: int
    smooth: bool
    places: Longs | None = None
    shift: int = 0

    @property
    def limits(self) -> tuple[Longs, int]:
        """Largest areas by squares of the lattice, and the power of two that is a square's edge."""
        return (np.full((1, 1), self.limit), 62) if self.places is None else (self.places, self.shift)

    @property
    def scale(self) -> int:
        """Steps of the lattice to a pixel."""
        return 2 if self.smooth else 1

    @classmethod
    def of(cls, tolerance: str | None, *, smooth: bool, grid: Grid) -> Outline | None:
        """Read ``1px`` or ``5m``: the square root of the area of the largest triangle that goes.

        Returns
        -------
        Outline or None
            None where boundaries stay as the pixels are.

        Raises
        ------
        OptionError
            If the grid does not say how many metres a pixel has.
        """
        if tolerance is None:
            return cls(limit=0, smooth=smooth) if smooth else None
        amount, scale = parse_tolerance(tolerance), 2 if smooth else 1
        squares = None if amount.square_metres is None else areas_of_squares(grid)
        if squares is None:
            # 5 m are one pixel of 5 m, whatever the last bit of its size.
            pixels, nearly = np.array([[amount.pixels(grid)]]), 1e-12
        else:
            with np.errstate(divide="ignore"):
                pixels, nearly = (amount.square_metres or 0.0) / squares.areas, _NEARLY
            pixels[~np.isfinite(pixels)] = 0.0  # outside of the projection
        if (pixels[pixels > 0] > _LARGEST**2).all() and pixels.any():
            raise OptionError(f"the tolerance is {tolerance}, expected at most {_LARGEST:,} px of this grid")
        limits = np.floor(2 * np.minimum(pixels, _LARGEST**2) * scale**2 * (1 + nearly)).astype(np.int64)
        if squares is None:
            return cls(limit=int(limits[0, 0]), smooth=smooth)
        shift = (squares.edge * scale).bit_length() - 1
        return cls(limit=int(limits.max()), smooth=smooth, places=limits, shift=shift)


def parse_tolerance(text: str) -> Amount:
    """Read a tolerance as an area, that of a square.

    Raises
    ------
    OptionError
    """
    length = Amount.parse(text, ("px", "m"), what="the tolerance", example="1px or 5m")
    if length.unit == "px" and length.amount > _LARGEST:
        raise OptionError(f"the tolerance is {text}, expected at most {_LARGEST:,} px")
    return Amount(amount=length.amount**2, unit="px" if length.unit == "px" else "m2", what="the tolerance")


_LARGEST = 1000
_NEARLY = 5e-3  # a pixel of 10 m in UTM has 99.9 to 100.2 m² of ground, and 10 m are to be one pixel


def band_rows(width: int) -> int:
    """Rows of the bands that are redrawn: a property of the map."""
    return max(_LEAST_ROWS, rows_of_band(width))


class Chains(NamedTuple):
    """Vertices and stubs of a band (`geoseg.vector.trace`), and which follows which.

    Parameters
    ----------
    corner : (id, 2) int32
    owner : (id,)
        1-based region, 0 for none.
    following : (id,)
        -1 after the last one of an arc.
    """

    corner: Corners
    owner: Ints
    following: Ints


def redraw(
    chains: Chains, sizes: tuple[int, int, int], runs: Runs, outline: Outline
) -> tuple[Chains, tuple[int, int, int]]:
    """Redraw the boundaries of a band.

    Parameters
    ----------
    chains : Chains
        In steps of a pixel; used up.
    sizes
        Edges of the top, vertices, edges of the bottom.
    runs : Runs
    outline : Outline

    Returns
    -------
    chains : Chains
        In steps of the outline's lattice. Vertices that are gone belong to region 0, and nothing follows them.
    sizes
    """
    corner, owner, following = chains
    top, count, bottom = sizes
    inside = (2 * top, 2 * top + count)
    _place_seam_stubs(runs, corner, inside, bottom)
    before = np.empty_like(following)
    mate = np.empty_like(following)
    _link_back(following, before)
    _place_pinches(corner, before, inside[1] + 2 * bottom)
    _find_mates(corner, following, before, mate, inside)
    if outline.smooth:
        more = count_cut(corner, before, mate, inside)
        size = len(owner) + more
        index = index_dtype(size)
        new = Chains(np.empty((size, 2), np.int32), np.zeros(size, owner.dtype), np.full(size, -1, index))
        mates = np.full(size, -1, index)
        enters = np.empty(len(owner) + 1, index)
        cut_corners((corner, owner, following), (before, mate), new, mates, inside, enters)
        (corner, owner, following), mate = new, mates
        before = np.empty_like(following)
        _link_back(following, before)
        count += more
        inside = (2 * top, 2 * top + count)
    scale, rows = outline.scale, len(runs.first) - 1
    upper = scale * runs.row + 1 if outline.smooth and runs.halo else -1
    lower = scale * (runs.row + rows) - 1 if outline.smooth and not runs.last else -1
    lattice = (scale * runs.row, scale * rows + 1, scale * runs.width + 1, upper, lower)
    simplify((corner, owner, following), (before, mate), inside, lattice, (outline.limit, *outline.limits))
    return Chains(corner, owner, following), (top, count, bottom)


def _place_seam_stubs(runs: Runs, corner: Corners, inside: tuple[int, int], bottom: int) -> None:
    """Give stubs of the seams a place on their edge, beyond the band."""
    begin, stop = inside
    corner[0:begin:2, 0] = corner[1:begin:2, 0] = runs.start[: begin // 2]
    corner[:begin, 1] = runs.row
    last = runs.start[len(runs.start) - bottom :]
    corner[stop : stop + 2 * bottom : 2, 0] = corner[stop + 1 : stop + 2 * bottom : 2, 0] = last
    corner[stop : stop + 2 * bottom, 1] = runs.row + len(runs.first) - 1


@kernel
def _link_back(following: Ints, before: Ints) -> None:
    before[:] = -1
    for vertex in range(len(following)):
        if following[vertex] >= 0:
            before[following[vertex]] = vertex


@kernel
def _place_pinches(corner: Corners, before: Ints, first: int) -> None:
    """Give the stubs of pinches the place of their corner."""
    for stub in range(first, len(before), 2):
        for axis in range(2):
            corner[stub, axis] = corner[stub + 1, axis] = corner[before[stub], axis]


@kernel
def _find_mates(corner: Corners, following: Ints, before: Ints, mate: Ints, inside: tuple[int, int]) -> None:
    """Fill `mate`: of two vertices at a corner where just two regions meet, the other one; elsewhere -1."""
    begin, stop = inside
    mate[:] = -1
    vertex = begin
    while vertex < stop:
        after = vertex + 1
        while after < stop and _same(corner, vertex, after):
            after += 1
        other = vertex + 1
        if (
            after == vertex + 2
            and _same(corner, following[vertex], before[other])
            and _same(corner, before[vertex], following[other])
        ):
            mate[vertex], mate[other] = other, vertex
        vertex = after


@kernel
def _same(corner: Corners, one: int, other: int) -> bool:
    return bool(corner[one, 0] == corner[other, 0] and corner[one, 1] == corner[other, 1])
