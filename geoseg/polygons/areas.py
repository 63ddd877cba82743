"""Sums over the pixels of each region: count, ground area, confidence, probabilities; perimeters of polygons.

Sums are integers, so they do not depend on the order of summation, and strips can be summed separately.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.ground import row_areas
from geoseg.grid.ground_cells import AREA, KNOWN, GroundCells
from geoseg.kernels.kernel import inlined, kernel
from geoseg.polygons.lengths import CellTree, Lengths, locate
from geoseg.polygons.rings import Rings
from geoseg.polygons.runs import Runs, RunTable

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Shares = npt.NDArray[np.uint8]

NO_CONFIDENCE = 255
"""Stored confidence of a pixel without one; 0 to 254 are probabilities in steps of 1/254."""

# Columns of the sums: pixels; ground area in fixed point, and the bound of its error; sum and count of confidences;
# vertices before boundaries are redrawn; then sum and count of the probabilities of each class.
PIXELS, GROUND, _DOUBT, _CONFIDENCE, _CONFIDENT, VERTICES, _CLASSES = range(7)


def columns(classes: int) -> int:
    """Return the number of columns of the sums, given the number of classes with probabilities."""
    return _CLASSES + 2 * classes


def sum_regions(
    runs: Runs, ground: Ground, confidence: Shares | None = None, probabilities: Shares | None = None
) -> tuple[Longs, Longs]:
    """Sum over the pixels of each region in a strip's own rows.

    Parameters
    ----------
    runs : Runs
        Runs and regions of the strip.
    ground : Ground
        Ground areas of the grid.
    confidence : (row, col) uint8, optional
        Stored confidence of the strip's own rows, without the halo.
    probabilities : (class, row, col) uint8, optional
        Stored probabilities of the strip's own rows.

    Returns
    -------
    sums : (region, column) int64
    last : (region,) int64
        Last pixel, row-major in the raster; -1 where the region has none in these rows.
    """
    sums = np.zeros((runs.count, columns(0 if probabilities is None else len(probabilities))), np.int64)
    last = np.full(runs.count, -1, np.int64)
    table = runs.table
    _sum_pixels(table, ground.zones, sums, last)
    if ground.cells is not None:
        _sum_cells(table, ground.cells, sums)
    if confidence is not None:
        _sum_shares(table, confidence, sums, _CONFIDENCE)
    for i, share in enumerate(() if probabilities is None else probabilities):
        _sum_shares(table, share, sums, _CLASSES + 2 * i)
    return sums, last


class CellAreas(NamedTuple):
    """Areas of pixels by the cells of a grid (`geoseg.grid.ground_cells`), in fixed point.

    Parameters
    ----------
    tree : CellTree
        Finds the cell of a pixel.
    areas : (cell, 4, 4) float64
        Coefficients of the polynomial that gives the area of a pixel.
    doubts : (cell,) int64
        Bound of the error of a pixel's area.
    """

    tree: CellTree
    areas: Floats
    doubts: Longs


class Ground:
    """Ground areas of pixels and ground lengths of boundaries on a grid.

    Every pixel counts with its own area: from the closed form on axis-aligned geographic grids, elsewhere from the
    integral of the cells' polynomials. Areas are fixed-point numbers, so that sums do not depend on the order.

    Attributes
    ----------
    zones : (row,) int64
        Fixed-point area of a pixel of each row; empty if areas change along the rows or are unknown.
    cells : CellAreas or None
        Areas by the cells of the grid, if they change along the rows.
    """

    def __init__(self, grid: Grid) -> None:
        zones = row_areas(grid)
        cells = GroundCells.of(grid) if zones is None else None
        self._lengths = Lengths(grid, cells)
        self.known = zones is not None or cells is not None
        self.zones = np.zeros(0, np.int64)
        self.cells: CellAreas | None = None
        # The largest power of two with which the whole grid still fits 62 bits.
        total = 0.0 if cells is None else cells.total
        if zones is not None:
            total = float(zones.sum()) * grid.width
        self._bits = 62 - math.frexp(total)[1]
        if zones is not None:
            self.zones = np.rint(np.ldexp(zones, self._bits)).astype(np.int64)
        if cells is not None:
            areas = np.ldexp(np.ascontiguousarray(cells.coef[:, AREA]), self._bits)
            doubts = np.ceil(np.ldexp(cells.doubt, self._bits)).astype(np.int64)
            self.cells = CellAreas(CellTree.of(cells), areas, doubts)

    def fixed(self, area_m2: float) -> int:
        """Convert an area to fixed point, limited to just above that of the whole grid."""
        return min(math.floor(math.ldexp(area_m2, self._bits)), 2**62)

    def measure(self, sums: Longs, rings: Rings, scale: int = 1) -> tuple[Floats, Floats]:
        """Return the area in m² and the perimeter in m of each region; NaN where unknown.

        The area is that of the region's pixels, the perimeter that of the rings.

        Parameters
        ----------
        sums : (region, column) int64
            Sums of the regions' pixels, from `sum_regions`.
        rings : Rings
            Polygons of the regions.
        scale : int
            Steps of the rings' lattice per pixel.
        """
        lengths = self._lengths.of(rings, scale)
        if not self.known:
            return np.full(len(sums), np.nan), lengths
        area = np.ldexp(sums[:, GROUND].astype(np.float64), -self._bits)
        doubt = np.ldexp(sums[:, _DOUBT].astype(np.float64), -self._bits)
        return np.where(doubt > KNOWN * area, np.nan, area), lengths


def mean_confidence(sums: Longs) -> Floats:
    """Return the mean confidence, 0 to 1, of each region's pixels that have one; NaN if none has."""
    return _mean(sums[:, _CONFIDENCE], sums[:, _CONFIDENT])


def second_class(sums: Longs, code: Longs, codes: Longs) -> tuple[Longs, Floats]:
    """Return the second most probable class of each region, and its mean probability.

    Parameters
    ----------
    sums : (region, column) int64
        Sums of the regions' pixels, from `sum_regions`.
    code : (region,) int64
        Class of each region.
    codes : (class,) int64
        Classes of the probabilities, ascending; among equally probable ones the first is taken.

    Returns
    -------
    second : (region,) int64
    share : (region,) float64
        Mean probability, 0 to 1; NaN if no pixel of the region has probabilities, or there is no other class.
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


@kernel
def _sum_pixels(runs: RunTable, zones: Longs, sums: Longs, last: Longs) -> None:
    first, start, region = runs.first, runs.start, runs.region
    for row in range(1 if runs.halo else 0, len(first) - 1):
        place = np.int64(runs.row + row)
        zone = zones[place] if len(zones) else np.int64(0)
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                own = region[run] - 1
                length = np.int64(start[run + 1] - start[run])
                sums[own, PIXELS] += length
                sums[own, GROUND] += length * zone
                last[own] = place * runs.width + start[run + 1] - 1


@kernel
def _sum_cells(runs: RunTable, cells: CellAreas, sums: Longs) -> None:
    """Sum ground areas of runs, as differences of the integral along each row."""
    first, start, region = runs.first, runs.start, runs.region
    areas, doubts = cells.areas, cells.doubts
    for row in range(1 if runs.halo else 0, len(first) - 1):
        place = np.int64(runs.row + row)
        run, end = first[row], first[row + 1] - 1
        col = 0
        upto = before = np.int64(0)  # the area of the row up to the cell, and up to the run
        while col < runs.width:
            cell, cell_row, _, rows, cols = locate(cells.tree, int(place), col)
            if doubts[cell]:
                at = run
                while at < end and start[at] < col + cols:
                    if region[at]:
                        overlap = min(start[at + 1], col + cols) - max(start[at], col)
                        sums[region[at] - 1, _DOUBT] += overlap * doubts[cell]
                    at += 1
            # Means over the row of the powers of its place, by Gauss's two points; then the integral along it.
            near, far = (place + _NEAR - cell_row) / rows, (place + _FAR - cell_row) / rows
            one = cols * _mean_of_row(areas[cell], 0, near, far)
            two = cols * _mean_of_row(areas[cell], 1, near, far) / 2
            three = cols * _mean_of_row(areas[cell], 2, near, far) / 3
            four = cols * _mean_of_row(areas[cell], 3, near, far) / 4
            step = 1 / cols
            while run < end and start[run + 1] <= col + cols:
                x = (start[run + 1] - col) * step
                here = upto + np.int64(np.rint(x * (one + x * (two + x * (three + x * four)))))
                if region[run]:
                    sums[region[run] - 1, GROUND] += here - before
                before = here
                run += 1
            upto += np.int64(np.rint(one + (two + (three + four))))
            col += cols


_NEAR, _FAR = 0.5 - math.sqrt(1 / 12), 0.5 + math.sqrt(1 / 12)


@inlined
def _mean_of_row(areas: Floats, power: int, near: float, far: float) -> float:
    one = areas[0, power] + near * (areas[1, power] + near * (areas[2, power] + near * areas[3, power]))
    other = areas[0, power] + far * (areas[1, power] + far * (areas[2, power] + far * areas[3, power]))
    return float((one + other) / 2)


@kernel
def _sum_shares(runs: RunTable, share: Shares, sums: Longs, column: int) -> None:
    """Sum stored probabilities, and count them in the next column."""
    first, start, region = runs.first, runs.start, runs.region
    skipped = 1 if runs.halo else 0
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
