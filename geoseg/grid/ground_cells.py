"""Ground areas and lengths of all pixels of a grid, from polynomials in adaptively sized cells.

The ground size of a pixel changes by parts per million over kilometres, so the coordinate transformations behind
`geoseg.grid.ground.pixel_metric` are needed at few positions only. A cell has a bicubic polynomial for each
quantity, fitted at 4 x 4 positions and compared with the transformation at 9 others. An inaccurate cell is halved,
down to single pixels, along the axis with the larger curvature. A single pixel that is still inaccurate, as at the
edge of a projection, keeps a bound of its error. The cells depend on the grid alone, so sums do not depend on the
part of the grid that is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.ground import pixel_metric, plane, row_areas

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

AREA, ACROSS, DOWN, COSINE = range(4)
"""Quantities of a cell: a pixel's area, m², its lengths along rows and columns, m, and the cosine of their angle."""

# Fitting positions: the zeros of the Chebyshev polynomial T4; test positions: its extremes, where a cubic errs most.
_NAILS = np.array([0.03806023374435663, 0.30865828381745514, 0.6913417161825449, 0.9619397662556434])
_PROBES = np.array([0.0, 0.5, 1.0])
_FIT = np.linalg.inv(np.vander(_NAILS, 4, increasing=True))
_PROBE_POWERS = np.vander(_PROBES, 4, increasing=True)
_TOLERANCE = np.array([2e-6, 1e-5, 1e-5, 1e-5]).reshape(4, 1, 1)
_KNOWN_LENGTH = 5e-5  # relative error of a pixel's lengths above which they count as unknown
KNOWN = 5e-6
"""Largest relative error of an area that still counts as known."""
_LINEAR = 5e-6  # relative error that is allowed where lengths are taken for linear
_SQUARES = 2**18
_CELLS = 10_000  # limit on the number of cells of small grids; large grids get more
_PIXELS_OF_CELL = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroundCells:
    """Binary tree of cells over a grid: the root covers all of it, and a cell is halved or has polynomials.

    The edges of a cell are powers of two, cropped to the grid. Positions in a cell run from 0 to 1:
    ``(col - first col) / cols``, and likewise for rows.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    child : (cell,) int32
        Index of the half with the lower rows or columns, which the other half follows; -1 if a cell is not halved.
    axis : (cell,) int8
        Axis along which a cell is halved: 0 for rows, 1 for columns.
    coef : (cell, quantity, 4, 4) float64
        Coefficients by powers of the row's and the column's position. Those of unknown lengths are NaN.
    reach : (cell,) float64
        Distance, px, within which lengths may be taken for linear, around any position of the cell.
    doubt : (cell,) float64
        Bound of the error of each pixel's area, m²: 0 for an accurate cell, the whole area for an unknown one.
    """

    shape: tuple[int, int]
    child: npt.NDArray[np.int32]
    axis: npt.NDArray[np.int8]
    coef: Floats
    reach: Floats
    doubt: Floats

    @classmethod
    def of(cls, grid: Grid) -> GroundCells | None:
        """Build the cells of a grid; return None if its CRS is not tied to a body."""
        if (size := plane(grid)) is None:
            return None
        most = max(_CELLS, grid.height * grid.width // _PIXELS_OF_CELL)
        origins, edges, count = np.zeros((1, 2), np.int64), np.array([_powers_of_two(grid.shape)]), 1
        levels: list[tuple[Any, ...]] = []
        while len(origins):
            extents = np.clip(np.array(grid.shape) - origins, 0, edges)
            inside = extents.min(axis=1) > 0  # halves beyond the grid are never looked at
            cells = _Cells.of(grid, origins[inside], extents[inside], size)
            cut = np.zeros(len(origins), np.bool_)
            cut[inside] = cells.off & (extents[inside].max(axis=1) > 1)
            if count + 2 * np.count_nonzero(cut) > most:
                cut[:] = False
            axis = _spread(cells.axis, inside).astype(np.int8)
            child = np.full(len(origins), -1, np.int32)
            child[cut] = count + 2 * np.arange(np.count_nonzero(cut))
            levels.append((child, axis, *(_spread(each, inside) for each in cells.kept(size[0]))))
            origins, edges = _halved(origins[cut], edges[cut], axis[cut])
            count += len(origins)
        child, axis, coef, reach, doubt = (np.concatenate(each) for each in zip(*levels, strict=True))
        return cls(shape=grid.shape, child=child, axis=axis, coef=coef, reach=reach, doubt=doubt)

    def leaves(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the leaf cells that meet a range of rows: index, row, col, and their rows and cols on the grid."""
        height, width = self.shape
        stop = height if stop is None else stop
        waiting = [(0, 0, 0, *self.top)]
        while waiting:
            cell, row, col, tall, wide = waiting.pop()
            rows, cols = min(tall, height - row), min(wide, width - col)
            if rows <= 0 or cols <= 0 or row >= stop or row + rows <= first:
                continue
            child = int(self.child[cell])
            if child < 0:
                yield cell, row, col, rows, cols
            elif self.axis[cell] == 0:
                waiting += [
                    (child, row, col, tall // 2, wide),
                    (child + 1, row + tall // 2, col, tall // 2, wide),
                ]
            else:
                waiting += [
                    (child, row, col, tall, wide // 2),
                    (child + 1, row, col + wide // 2, tall, wide // 2),
                ]

    @property
    def top(self) -> tuple[int, int]:
        """Edges of the root cell, px: rows and columns."""
        return _powers_of_two(self.shape)

    @property
    def total(self) -> float:
        """Ground area of the grid plus the bounds of its errors, m²."""
        means = 1 / np.arange(1, 5)
        return sum(
            rows * cols * (float(means @ self.coef[cell, AREA] @ means) + float(self.doubt[cell]))
            for cell, _, _, rows, cols in self.leaves()
        )

    def at(self, quantity: int, rows: Floats, cols: Floats) -> Floats:
        """Evaluate a quantity at all pairs of row and column positions, px, both ascending: (row, col)."""
        found = np.empty((len(rows), len(cols)))
        for cell, row, col, height, width in self.leaves():
            i = slice(*np.searchsorted(rows, (row, row + height)).tolist())
            j = slice(*np.searchsorted(cols, (col, col + width)).tolist())
            down = np.vander((rows[i] - row) / height, 4, increasing=True)
            across = np.vander((cols[j] - col) / width, 4, increasing=True)
            found[i, j] = down @ self.coef[cell, quantity] @ across.T
        return found


class PixelAreas:
    """Ground areas of pixels, row by row, computed by numpy.

    Areas are whole multiples of a small unit, and the whole grid has fewer than 2**53 of them, so sums are exact and
    do not depend on the order.
    """

    def __init__(self, grid: Grid) -> None:
        self._width = grid.width
        self._zones = row_areas(grid)
        self._cells = GroundCells.of(grid) if self._zones is None else None
        total = 0.0 if self._cells is None else self._cells.total
        if self._zones is not None:
            total = float(self._zones.sum()) * grid.width
        self._unit = 2.0 ** (math.frexp(total)[1] - 52)

    @property
    def known(self) -> bool:
        """Whether the CRS is tied to a body."""
        return self._zones is not None or self._cells is not None

    def rows(self, first: int, stop: int) -> tuple[Floats, Floats | None]:
        """Return areas of the pixels of some rows, and bounds of their errors (None if 0), (row, col) in units."""
        if self._zones is not None:
            areas = np.rint(self._zones[first:stop] / self._unit)
            return np.broadcast_to(areas[:, np.newaxis], (stop - first, self._width)), None
        assert self._cells is not None
        areas, doubts = np.empty((2, stop - first, self._width))
        for cell, row, col, height, width in self._cells.leaves(first, stop):
            begin, end = max(first, row), min(stop, row + height)
            down = _mean_powers((np.arange(begin, end + 1) - row) / height)
            across = _mean_powers(np.arange(width + 1) / width)
            here = slice(begin - first, end - first), slice(col, col + width)
            areas[here] = down @ (self._cells.coef[cell, AREA] / self._unit) @ across.T
            doubts[here] = self._cells.doubt[cell] / self._unit
        return np.rint(areas), np.ceil(doubts) if doubts.any() else None

    def square_metres(self, area: float, doubt: float) -> float | None:
        """Convert a sum of areas to square metres; return None if its error is too large."""
        return area * self._unit if self.known and doubt <= KNOWN * area else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Squares:
    """Areas of pixels sampled at the centres of the squares of a grid.

    Parameters
    ----------
    areas : (row, col) float64
        Areas, m², 0 where unknown; with one more row and column than squares, for the far edges of the grid.
    edge : int
        Edge of a square, px: a power of two.
    """

    areas: Floats
    edge: int


def areas_of_squares(grid: Grid) -> Squares | None:
    """Sample the ground area of pixels at fewer than a million places; None if the CRS has no body."""
    zones = row_areas(grid)
    cells = GroundCells.of(grid) if zones is None else None
    edge = 1
    while grid.height * grid.width > _SQUARES * edge**2:
        edge *= 2
    rows, cols = (np.minimum(np.arange(edge / 2, n + edge, edge), n - 0.5) for n in grid.shape)
    if zones is not None:
        return Squares(areas=np.repeat(zones[rows.astype(int)][:, np.newaxis], len(cols), axis=1), edge=edge)
    return None if cells is None else Squares(areas=cells.at(AREA, rows, cols), edge=edge)


def _powers_of_two(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest powers of two that are not below the rows and columns."""
    rows, cols = (1 << (n - 1).bit_length() for n in shape)
    return rows, cols


def _mean_powers(edges: Floats) -> Floats:
    """Average the powers 0 to 3 over each interval, (interval, power): two Gauss points are exact for cubics."""
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    near, far = middle - half / np.sqrt(3), middle + half / np.sqrt(3)
    powers: Floats = (np.vander(near, 4, increasing=True) + np.vander(far, 4, increasing=True)) / 2
    return powers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cells:
    """Cells while they are made: values at fit and test positions, (quantity, cell, 25), polynomials, their errors.

    `off` marks those whose polynomials are too inaccurate, `axis` the axis along which to halve such a cell.
    """

    exact: Floats
    coef: Floats
    error: Floats
    extents: Longs
    off: Bools
    axis: npt.NDArray[np.int8]

    @classmethod
    def of(cls, grid: Grid, origins: Longs, extents: Longs, size: tuple[float, float]) -> _Cells:
        """Fit the polynomials; `size` is the planar pixel edge and the radius of the body, m."""
        count = len(origins)
        rows, cols = (
            np.concatenate([np.repeat(_NAILS, 4), np.repeat(_PROBES, 3)]),
            np.concatenate([np.tile(_NAILS, 4), np.tile(_PROBES, 3)]),
        )
        rows, cols = (
            origins[:, i, np.newaxis] + extents[:, i, np.newaxis] * place
            for i, place in enumerate((rows, cols))
        )
        metric = pixel_metric(grid, cols.ravel(), rows.ravel())
        assert metric is not None
        exact = metric.reshape(4, count, 25)
        nailed, probed = exact[:, :, :16].reshape(4, count, 4, 4), exact[:, :, 16:]
        coef = np.einsum("ij,qcjk,lk->qcil", _FIT, nailed, _FIT)
        found = np.einsum("ij,qcjk,lk->qcil", _PROBE_POWERS, coef, _PROBE_POWERS).reshape(4, count, 9)
        size_of = np.abs(probed)
        size_of[COSINE] = 1.0
        error = np.abs(found - probed) / np.maximum(size_of, np.finfo(float).tiny)
        with np.errstate(invalid="ignore"):
            off = ~(error <= _TOLERANCE).all(axis=(0, 2))
        lengths = np.where(np.isnan(exact), 0, exact)[[DOWN, ACROSS]].max(axis=2) * extents.T
        large = lengths.max(axis=0) > size[1]  # too large for 25 positions to represent it
        nothing = np.isnan(exact[AREA]).all(axis=1)
        off = np.where(nothing, extents.max(axis=1) * size[0] > size[1] / 8, off | large)
        axis = np.where(large, lengths[1] > lengths[0], _bent(coef, extents)).astype(np.int8)
        axis[extents[:, 0] == 1] = 1
        axis[extents[:, 1] == 1] = 0
        return cls(exact=exact, coef=coef, error=error, extents=extents, off=off, axis=axis)

    def kept(self, pixel: float) -> tuple[Floats, Floats, Floats]:
        """Return `coef`, `reach` and `doubt` of `GroundCells`; for inaccurate cells, what is known of them."""
        coef = self.coef.transpose(1, 0, 2, 3).copy()
        reach = np.where(self.off, 0.0, _reach(self.coef, self.extents))
        known = ~np.isnan(self.exact[AREA])
        mean = np.where(known, self.exact[AREA], 0).mean(axis=1)
        single = self.extents.max(axis=1) == 1
        partly, rough = ~known.all(axis=1), self.off & known.all(axis=1)
        # If a pixel's centre lies inside the projection, the share of positions inside says how much of it does.
        there = partly & single & known[:, 16 + 4]
        coef[partly] = 0.0
        coef[there, AREA, 0, 0] = mean[there]
        doubt = np.where(partly, np.maximum(mean, pixel**2), 0.0)
        doubt[there] = mean[there] / 4
        doubt[rough] = (mean * np.where(single, self.error[AREA].max(axis=1), 1.0))[rough]
        unknown = partly | (rough & ~(self.error[ACROSS:].max(axis=(0, 2)) <= _KNOWN_LENGTH))
        coef[unknown, ACROSS:] = np.nan
        reach[unknown] = 0.0
        return coef, reach, doubt


def _halved(origins: Longs, edges: Longs, axis: npt.NDArray[np.int8]) -> tuple[Longs, Longs]:
    """Return origins and edges of the halves of cells, the two halves of each in turn."""
    along = np.arange(2) == axis[:, np.newaxis]
    edges = np.where(along, edges // 2, edges)
    origins = np.stack([origins, np.where(along, origins + edges, origins)], axis=1).reshape(-1, 2)
    return origins, np.repeat(edges, 2, axis=0)


def _bent(coef: Floats, extents: Longs) -> Bools:
    """Tell which cells are better halved along the columns than along the rows.

    These are the cells whose polynomials curve more from column to column: halving them there reduces the largest
    error. Where the polynomials are unknown, as beyond the edge of a projection, it is the cells wider than high.

    Parameters
    ----------
    coef : (quantity, cell, 4, 4) float64
        Coefficients of the polynomials, by powers of the row and of the column; NaN where unknown.
    extents : (cell, 2) int64
        Rows and columns of each cell that lie on the grid.

    Returns
    -------
    (cell,) bool
    """
    size = np.maximum(abs(coef[:, :, :1, :1]), np.finfo(float).tiny)
    size[COSINE] = 1.0
    powers = abs(coef / size)
    rows, cols = powers[:, :, 2:, :].sum(axis=(0, 2, 3)), powers[:, :, :, 2:].sum(axis=(0, 2, 3))
    return np.asarray(np.where(np.isnan(rows), extents[:, 1] > extents[:, 0], cols > rows))


def _reach(coef: Floats, extents: Longs) -> Floats:
    """Return the distance, px, within which lengths are linear, from bounds of their second derivatives."""
    rows, cols = extents.T.astype(np.float64)
    power = np.arange(4)
    curvature = np.zeros(len(rows))
    for quantity in (ACROSS, DOWN, COSINE):
        size = abs(coef[quantity])
        first = size[:, 0, 0]
        least = 1.0 if quantity == COSINE else np.maximum(2 * first - size.sum(axis=(1, 2)), 1e-3 * first)
        bent = (
            (size * (power * (power - 1))[:, np.newaxis]).sum(axis=(1, 2)) / rows**2
            + (size * (power * (power - 1))).sum(axis=(1, 2)) / cols**2
            + 2 * (size * np.outer(power, power)).sum(axis=(1, 2)) / (rows * cols)
        )
        curvature = np.maximum(curvature, bent / least)
    reach: Floats = np.minimum(np.sqrt(2 * _LINEAR / np.maximum(curvature, 1e-30)), extents.max(axis=1))
    return reach


def _spread(values: npt.NDArray[Any], inside: Bools) -> npt.NDArray[Any]:
    """Put the values of cells that lie on the grid among those of all cells, with zeros for the others."""
    whole = np.zeros((len(inside), *values.shape[1:]))
    whole[inside] = values
    return whole
