"""What the pixels of each region sum to: count, ground area, perimeter, confidence, probabilities.

Sums are integers, so they do not depend on the order of summation: bands of rows are summed apart.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.ground import edge_lengths, ground_scales, row_areas
from geoseg.vector.rings import Rings
from geoseg.vector.runs import Ints, Runs
from geoseg.vector.scale_nodes import ScaleNodes

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Shares = npt.NDArray[np.uint8]

NO_CONFIDENCE = 255
"""Stored confidence of a pixel that has none; 0 to 254 are probabilities in steps of 1/254."""

# Columns of the sums: pixels; twice the columns of their centres (at .5); their rows; ground in fixed-point
# numbers; confidences and how many there are; vertices, before boundaries are redrawn; then for each class the
# probabilities and how many there are.
PIXELS, _COL, _ROW, _GROUND, _CONFIDENCE, _CONFIDENT, VERTICES, _CLASSES = range(8)


def columns(classes: int) -> int:
    """Count the numbers that are summed for a region, given the bands of probabilities."""
    return _CLASSES + 2 * classes


def sum_regions(
    runs: Runs, zones: Longs, confidence: Shares | None, probabilities: Shares | None
) -> tuple[Longs, Longs]:
    """Sum the pixels of each region in the rows that the band owns.

    Parameters
    ----------
    runs : Runs
    zones : (row of the raster,) int64
        `Ground.zones`.
    confidence : (row, col) uint8 or None
        Of the band's own rows.
    probabilities : (class, row, col) uint8 or None

    Returns
    -------
    sums : (region, column) int64
    last : (region,) int64
        Last pixel, row-major in the raster; -1 where the region has none in these rows.
    """
    sums = np.zeros((runs.count, columns(0 if probabilities is None else len(probabilities))), np.int64)
    last = np.full(runs.count, -1, np.int64)
    geometry = (runs.width, runs.row, runs.halo, runs.first, runs.start, runs.region)
    _sum_geometry(geometry, zones, sums, last)
    if confidence is not None:
        _sum_shares(geometry, confidence, sums, _CONFIDENCE)
    for i, share in enumerate(() if probabilities is None else probabilities):
        _sum_shares(geometry, share, sums, _CLASSES + 2 * i)
    return sums, last


class Ground:
    """Sums and rings to metres on the ground.

    On axis-aligned geographic grids the exact ellipsoidal area of every pixel and length of every edge is
    summed; elsewhere planar areas and lengths are scaled by the ground's share at the mean position of the
    region's pixels.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._edges = edge_lengths(grid)
        self._nodes = ScaleNodes.of(grid) if self._edges is None else None
        zones = row_areas(grid)
        self.exact = zones is not None
        self.zones = np.zeros(grid.height, np.int64)
        self._bits = 0
        if zones is not None:
            # Fixed-point numbers: the largest power of two with which the whole grid still fits 62 bits.
            self._bits = 62 - math.frexp(float(zones.sum()) * grid.width)[1]
            self.zones = np.rint(np.ldexp(zones, self._bits)).astype(np.int64)

    def measure(self, sums: Longs, rings: Rings, scale: int = 1) -> tuple[Floats, Floats]:
        """Area in m² and perimeter in m of each region; NaN where the CRS is not tied to the Earth.

        The area is that of the region's pixels, the perimeter that of the rings.

        Parameters
        ----------
        sums : (region, column) int64
        rings : Rings
        scale : int
            Steps of the rings' lattice to a pixel.
        """
        if self._edges is not None:
            ones, right_angle = np.ones(len(sums)), 0.0
            lengths = _lengths(rings, self._edges, (ones, ones), right_angle, scale)
            return np.ldexp(sums[:, _GROUND].astype(np.float64), -self._bits), lengths
        pixels = sums[:, PIXELS]
        scales = self._scales(sums[:, _COL] / (2 * pixels), sums[:, _ROW] / pixels + 0.5)
        if scales is None:
            unknown = np.full(len(sums), np.nan)
            return unknown, unknown
        area, across, down = scales
        t, rows = self._grid.transform, self._grid.height
        cosine = (t.a * t.b + t.d * t.e) / (math.hypot(t.a, t.d) * math.hypot(t.b, t.e))
        lengths = _lengths(rings, (np.ones(rows + 1), np.ones(rows)), (across, down), cosine, scale)
        return pixels * self._grid.pixel_area * area, lengths

    def _scales(self, col: Floats, row: Floats) -> tuple[Floats, Floats, Floats] | None:
        if self._nodes is None:
            return ground_scales(self._grid, col, row)
        scales = self._nodes.at(col, row)
        beside = ~np.isfinite(scales[0])  # of nodes that lie outside of the projection
        if beside.any():
            exact = ground_scales(self._grid, col[beside], row[beside])
            assert exact is not None
            for one, other in zip(scales, exact, strict=True):
                one[beside] = other
        return scales


def _lengths(
    rings: Rings, edges: tuple[Floats, Floats], scales: tuple[Floats, Floats], cosine: float, scale: int
) -> Floats:
    length: Floats = _sum_edges(
        (rings.corner, rings.ring_first, rings.polygon_first), edges, scales, cosine, scale
    )
    return length


def mean_confidence(sums: Longs) -> Floats:
    """Mean probability of the class, 0 to 1, of each region's pixels that have one; NaN where none has."""
    return _mean(sums[:, _CONFIDENCE], sums[:, _CONFIDENT])


def second_class(sums: Longs, code: Longs, codes: Longs) -> tuple[Longs, Floats]:
    """Return the class that each region would be otherwise, and its mean probability.

    Parameters
    ----------
    sums : (region, column) int64
    code : (region,) int64
        The regions' own classes.
    codes : (class,) int64
        Classes of the probabilities, ascending; of equal ones the first is taken.

    Returns
    -------
    second : (region,) int64
    share : (region,) float64
        0 to 1; NaN where no pixel of the region has probabilities, or there is no other class.
    """
    shares = _mean(sums[:, _CLASSES::2], sums[:, _CLASSES + 1 :: 2])
    others = np.where((codes == code[:, None]) | np.isnan(shares), -1.0, shares)
    if not others.size:
        return np.zeros(len(code), np.int64), np.full(len(code), np.nan)
    best = others.argmax(axis=1)
    share = others[np.arange(len(code)), best]
    return codes[best], np.where(share < 0, np.nan, share)


def _mean(total: Longs, counted: Longs) -> Floats:
    mean = np.full(total.shape, np.nan)
    np.divide(total, 254 * counted, out=mean, where=counted > 0)
    return mean


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_geometry(
    geometry: tuple[int, int, bool, Longs, Ints, Ints], zones: Longs, sums: Longs, last: Longs
) -> None:
    width, row_of_raster, halo, first, start, region = geometry
    for row in range(1 if halo else 0, len(first) - 1):
        place = np.int64(row_of_raster + row)
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                own = region[run] - 1
                length = np.int64(start[run + 1] - start[run])
                sums[own, PIXELS] += length
                sums[own, _COL] += length * (np.int64(start[run]) + start[run + 1])
                sums[own, _ROW] += length * place
                sums[own, _GROUND] += length * zones[place]
                last[own] = place * width + start[run + 1] - 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_shares(
    geometry: tuple[int, int, bool, Longs, Ints, Ints], share: Shares, sums: Longs, column: int
) -> None:
    """Sum the stored probabilities, and count them in the next column."""
    _, _, halo, first, start, region = geometry
    skipped = 1 if halo else 0
    for row in range(skipped, len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                run_total = run_counted = np.int64(0)
                for col in range(start[run], start[run + 1]):
                    value = share[row - skipped, col]
                    present = value != NO_CONFIDENCE
                    run_total += np.int64(value) * present
                    run_counted += present
                sums[region[run] - 1, column] += run_total
                sums[region[run] - 1, column + 1] += run_counted


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_edges(
    rings: tuple[npt.NDArray[np.int32], Longs, Longs],
    edges: tuple[Floats, Floats],
    scales: tuple[Floats, Floats],
    cosine: float,
    scale: int,
) -> Floats:
    """Length of each polygon's boundary.

    Parameters
    ----------
    rings
        The arrays of `Rings`.
    edges
        Lengths of a pixel's edge along a row, by the row of corners it lies on, and along a column, by row.
    scales
        By polygon, what these are multiplied with.
    cosine : float
        Of the angle between rows and columns.
    scale : int
        Steps of the corners' lattice to a pixel.
    """
    corner, ring_first, polygon_first = rings
    across, down = edges
    upto = np.zeros(len(down) + 1)
    for row in range(len(down)):
        upto[row + 1] = upto[row] + down[row]
    length = np.zeros(len(polygon_first) - 1)
    for polygon in range(len(polygon_first) - 1):
        for ring in range(polygon_first[polygon], polygon_first[polygon + 1]):
            before = ring_first[ring + 1] - 1
            for vertex in range(ring_first[ring], ring_first[ring + 1]):
                col, row = corner[vertex, 0], corner[vertex, 1]
                other_col, other_row = corner[before, 0], corner[before, 1]
                before = vertex
                if row == other_row:
                    x = abs(col - other_col) / scale * _between(across, row, scale) * scales[0][polygon]
                    length[polygon] += x
                    continue
                y = (_between(upto, row, scale) - _between(upto, other_row, scale)) * scales[1][polygon]
                if col == other_col:
                    length[polygon] += abs(y)
                    continue
                x = (
                    (col - other_col)
                    / scale
                    * _between(across, row + other_row, 2 * scale)
                    * scales[0][polygon]
                )
                length[polygon] += math.sqrt(max(0.0, x * x + y * y + 2 * cosine * x * y))
    return length


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _between(values: Floats, place: int, scale: int) -> float:
    """Return the value at ``place / scale``, linear between two."""
    whole, rest = place // scale, place % scale
    if rest == 0:
        return float(values[whole])
    return float(values[whole] + (values[whole + 1] - values[whole]) * rest / scale)
