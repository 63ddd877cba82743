"""Smoothing and simplification of the boundaries in a strip, before they become rings and arcs.

A boundary between two regions consists of two chains of vertices in opposite directions, one in a ring of each region.
Each vertex knows its mate in the other chain, so that both sides change together and the polygons remain a coverage.
Vertices without a mate are fixed: those where three or more regions meet, and those on the border of the map and of
no data.

Strips are redrawn independently. Edges that cross from one strip to the next are fixed at both ends, and no other
vertex lies between strips, so a strip need not know its neighbours. The division into strips affects the polygons,
so it must depend on the map alone (`redrawn_rows`), not on how the map is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.ground_cells import areas_of_squares
from geoseg.kernels.kernel import kernel
from geoseg.polygons.amounts import Amount
from geoseg.polygons.chains import Chains, Counts, Links, Span, same_corner
from geoseg.polygons.rings import Corners
from geoseg.polygons.runs import Ints, Runs, index_dtype
from geoseg.polygons.simplify import Lattice, Limits, simplify
from geoseg.polygons.smooth import count_cut, cut_corners
from geoseg.polygons.strips import rows_of_band

Longs = npt.NDArray[np.int64]

_LEAST_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Settings of how boundaries are redrawn.

    Parameters
    ----------
    limit : int
        Vertices are removed if their triangle with their neighbours has at most this area, in half squares of the
        lattice.
    smooth : bool
        Whether lines run through the midpoints of pixel edges; the lattice then has half pixels.
    places : (row, col) int64, optional
        The same area by squares of the lattice, if it differs from place to place; `limit` is then the largest.
    shift : int
        Edge of these squares as an exponent of two.
    """

    limit: int
    smooth: bool
    places: Longs | None = None
    shift: int = 0

    @property
    def limits(self) -> Limits:
        """Largest areas by squares of the lattice, as kernels take them."""
        if self.places is None:
            return Limits(self.limit, np.full((1, 1), self.limit), 62)
        return Limits(self.limit, self.places, self.shift)

    @property
    def scale(self) -> int:
        """Steps of the lattice per pixel."""
        return 2 if self.smooth else 1

    @classmethod
    def of(cls, tolerance: str | None, *, smooth: bool, grid: Grid) -> Outline | None:
        """Parse a tolerance, ``1px`` or ``5m``: the square root of the largest triangle area that is removed.

        Returns
        -------
        Outline or None
            None if boundaries follow the pixels.

        Raises
        ------
        OptionError
            If the size of the grid's pixels in metres is unknown.
        """
        if tolerance is None:
            return cls(limit=0, smooth=smooth) if smooth else None
        amount, scale = parse_tolerance(tolerance), 2 if smooth else 1
        squares = None if amount.square_metres is None else areas_of_squares(grid)
        if squares is None:
            # 5 m must be one pixel of 5 m in spite of rounding.
            pixels, nearly = np.array([[amount.pixels(grid)]]), 1e-12
        else:
            with np.errstate(divide="ignore"):
                pixels, nearly = (amount.square_metres or 0.0) / squares.areas, _NEARLY
            pixels[~np.isfinite(pixels)] = 0.0  # outside the projection
        if (pixels[pixels > 0] > _LARGEST**2).all() and pixels.any():
            raise OptionError(f"the tolerance is {tolerance}, expected at most {_LARGEST:,} px of this grid")
        limits = np.floor(2 * np.minimum(pixels, _LARGEST**2) * scale**2 * (1 + nearly)).astype(np.int64)
        if squares is None:
            return cls(limit=int(limits[0, 0]), smooth=smooth)
        shift = (squares.edge * scale).bit_length() - 1
        return cls(limit=int(limits.max()), smooth=smooth, places=limits, shift=shift)


def parse_tolerance(text: str) -> Amount:
    """Parse a tolerance and return its square, an area.

    Raises
    ------
    OptionError
        If it is not a length in px or m, or too large.
    """
    length = Amount.parse(text, ("px", "m"), what="the tolerance", example="1px or 5m")
    if length.unit == "px" and length.amount > _LARGEST:
        raise OptionError(f"the tolerance is {text}, expected at most {_LARGEST:,} px")
    return Amount(amount=length.amount**2, unit="px" if length.unit == "px" else "m2", what="the tolerance")


_LARGEST = 1000
_NEARLY = 5e-3  # pixels of 10 m in UTM have 99.9 to 100.2 m² of ground, but 10 m must count as one pixel


def redrawn_rows(width: int) -> int:
    """Return the rows of the strips in which boundaries are redrawn, which depend on the map alone."""
    return max(_LEAST_ROWS, rows_of_band(width))


def redraw(chains: Chains, counts: Counts, runs: Runs, outline: Outline) -> tuple[Chains, Counts]:
    """Redraw the boundaries of a strip.

    Parameters
    ----------
    chains : Chains
        Chains in pixels; overwritten.
    counts : Counts
        Numbers of edges at the top, of vertices, and of edges at the bottom.
    runs : Runs
        Runs and regions of the strip.
    outline : Outline
        How to redraw.

    Returns
    -------
    chains : Chains
        Chains in steps of the outline's lattice. Removed vertices have region 0 and no following vertex.
    counts : Counts
        Numbers of their edges and vertices.
    """
    _place_seam_stubs(runs, chains.corner, counts)
    links = Links(np.empty_like(chains.following), np.empty_like(chains.following))
    _link_back(chains.following, links.before)
    _place_pinches(chains.corner, links.before, counts.inside.stop + 2 * counts.bottom)
    _find_mates(chains, links, counts.inside)
    if outline.smooth:
        chains, links, counts = _cut(chains, links, counts)
    scale, rows = outline.scale, len(runs.first) - 1
    upper = scale * runs.row + 1 if outline.smooth and runs.halo else -1
    lower = scale * (runs.row + rows) - 1 if outline.smooth and not runs.last else -1
    lattice = Lattice(scale * runs.row, scale * rows + 1, scale * runs.width + 1, upper, lower)
    simplify(chains, links, counts.inside, lattice, outline.limits)
    return chains, counts


def _cut(chains: Chains, links: Links, counts: Counts) -> tuple[Chains, Links, Counts]:
    """Cut the corners where boundaries turn; return the new chains in half pixels."""
    inside = counts.inside
    more = count_cut(chains.corner, links.before, links.mate, inside)
    size = len(chains.owner) + more
    index = index_dtype(size)
    new = Chains(np.empty((size, 2), np.int32), np.zeros(size, chains.owner.dtype), np.full(size, -1, index))
    mate = np.full(size, -1, index)
    cut_corners(chains, links, new, mate, inside, np.empty(len(chains.owner) + 1, index))
    before = np.empty_like(new.following)
    _link_back(new.following, before)
    return new, Links(before, mate), counts._replace(vertices=counts.vertices + more)


def _place_seam_stubs(runs: Runs, corner: Corners, counts: Counts) -> None:
    """Place the stubs of the seams on their edges, outside the strip."""
    (begin, stop), bottom = counts.inside, counts.bottom
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
    """Place the stubs of pinches at their corner."""
    for stub in range(first, len(before), 2):
        for axis in range(2):
            corner[stub, axis] = corner[stub + 1, axis] = corner[before[stub], axis]


@kernel
def _find_mates(chains: Chains, links: Links, inside: Span) -> None:
    """Fill `mate`: the other of two vertices at a corner where exactly two regions meet, elsewhere -1."""
    corner, _, following = chains
    before, mate = links
    begin, stop = inside
    mate[:] = -1
    vertex = begin
    while vertex < stop:
        after = vertex + 1
        while after < stop and same_corner(corner, vertex, after):
            after += 1
        other = vertex + 1
        if (
            after == vertex + 2
            and same_corner(corner, following[vertex], before[other])
            and same_corner(corner, before[vertex], following[other])
        ):
            mate[vertex], mate[other] = other, vertex
        vertex = after
