"""Square cells over the plane, in which edges find the points on them and the edges that they cross.

Only cells that an edge touches exist. Their size follows from the edges, so an edge touches few, wherever they lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined, kernel

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

_SPAN = 2**31
"""Cells in a row, more than there are: a cell's key is its column times this, plus its row."""


class Lattice(NamedTuple):
    """Where the cells are.

    Parameters
    ----------
    size : float
        Edge of a cell in units of the CRS.
    x, y : float
        Lower left corner of the first cell.
    tolerance : float
        Distance at which an edge still touches a cell, or a point an edge.
    """

    size: float
    x: float
    y: float
    tolerance: float


class Table(NamedTuple):
    """The edges that touch each cell.

    Parameters
    ----------
    ends : (edge, 4) float64
        The edges.
    key : (cell,) int64
        Keys of the cells, ascending.
    first : (cell + 1,) int64
        First entry of each cell, and the number of entries.
    edge : (entry,) int64
        Edges that touch the cell.
    """

    ends: Floats
    key: Longs
    first: Longs
    edge: Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Cells with the edges that touch them.

    Parameters
    ----------
    lattice : Lattice
        Where they are.
    table : Table
        Which edges touch them.
    """

    lattice: Lattice
    table: Table

    @classmethod
    def of(cls, ends: Floats, tolerance: float) -> Cells:
        """Sort edges into cells."""
        ends = np.ascontiguousarray(ends)
        west, south = ends.reshape(-1, 2).min(axis=0)
        extent = float((ends.reshape(-1, 2).max(axis=0) - (west, south)).max())
        reach = np.abs(ends[:, 2:] - ends[:, :2]).sum(axis=1)
        # Four cells or so per edge at most, and no more cells in a row than fit into a key.
        size = max(2 * float(np.median(reach)), float(reach.mean()) / 4, extent / (_SPAN / 4), 8 * tolerance)
        lattice = Lattice(size, float(west) - size / 2, float(south) - size / 2, float(tolerance))
        nothing = np.empty(0, np.int64)
        count = _touched(ends, lattice, nothing, nothing)
        keys, edge = np.empty(count, np.int64), np.empty(count, np.int64)
        _touched(ends, lattice, keys, edge)
        order = np.argsort(keys, kind="stable")
        key, first = np.unique(keys[order], return_index=True)
        first = np.append(first, count).astype(np.int64)
        return cls(lattice=lattice, table=Table(ends, key, first, edge[order]))

    def points_on_edges(self, points: Floats) -> tuple[Longs, Longs]:
        """Find the points that lie on an edge, between its ends.

        Parameters
        ----------
        points : (point, 2) float64
            The points.

        Returns
        -------
        edge, point : (hit,) int64
            Edges and the points on them.
        """
        points = np.ascontiguousarray(points)
        size, west, south, tolerance = self.lattice
        column, row = np.floor((points[:, 0] - west) / size), np.floor((points[:, 1] - south) / size)
        keys = (column * _SPAN + row).astype(np.int64)
        cell = np.searchsorted(self.table.key, keys)
        there = cell < len(self.table.key)
        there[there] = self.table.key[cell[there]] == keys[there]
        cell = np.where(there, cell, -1)
        nothing = np.empty(0, np.int64)
        count = _hits(points, cell, self.table, tolerance, nothing, nothing)
        edge, point = np.empty(count, np.int64), np.empty(count, np.int64)
        _hits(points, cell, self.table, tolerance, edge, point)
        return edge, point

    def crossings(self) -> tuple[Longs, Floats]:
        """Find the edges that cross each other, away from their ends.

        Returns
        -------
        edges : (crossing, 2) int64
        points : (crossing, 2) float64
            Where they cross.
        """
        count = _crossed(self.table, self.lattice, np.empty((0, 2), np.int64), np.empty((0, 2)))
        edges, points = np.empty((count, 2), np.int64), np.empty((count, 2))
        _crossed(self.table, self.lattice, edges, points)
        return edges, points


@kernel
def _touched(ends: Floats, lattice: Lattice, keys: Longs, edge: Longs) -> np.int64:
    """Fill in the cells that each edge touches, and return their number; arrays of no length are not filled."""
    size, x, y, margin = lattice
    count = np.int64(0)
    for i in range(len(ends)):
        x1, y1, x2, y2 = ends[i, 0] - x, ends[i, 1] - y, ends[i, 2] - x, ends[i, 3] - y
        if x1 > x2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        slope = (y2 - y1) / (x2 - x1) if x2 > x1 else 0.0
        steep = x2 - x1 <= 4 * margin  # the slope means nothing
        for column in range(
            np.int64(math.floor((x1 - margin) / size)), np.int64(math.floor((x2 + margin) / size)) + 1
        ):
            begin, stop = max(x1, column * size - margin), min(x2, (column + 1) * size + margin)
            low, high = y1 + slope * (begin - x1), y1 + slope * (stop - x1)
            if steep:
                low, high = y1, y2
            if low > high:
                low, high = high, low
            for row in range(
                np.int64(math.floor((low - 2 * margin) / size)),
                np.int64(math.floor((high + 2 * margin) / size)) + 1,
            ):
                if len(keys):
                    keys[count] = column * _SPAN + row
                    edge[count] = i
                count += 1
    return count


@inlined
def _near(x1: float, y1: float, x2: float, y2: float, distance: float) -> bool:
    return (x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1) <= distance * distance


@kernel
def _hits(
    points: Floats, cell: Longs, table: Table, tolerance: float, on_edge: Longs, on_point: Longs
) -> np.int64:
    ends, _, first, edge = table
    count = np.int64(0)
    for point in range(len(points)):
        if cell[point] < 0:
            continue
        x, y = points[point, 0], points[point, 1]
        for entry in range(first[cell[point]], first[cell[point] + 1]):
            i = edge[entry]
            x1, y1 = ends[i, 0], ends[i, 1]
            x2, y2 = ends[i, 2], ends[i, 3]
            dx, dy = x2 - x1, y2 - y1
            square = dx * dx + dy * dy
            along = ((x - x1) * dx + (y - y1) * dy) / square
            if along <= 0 or along >= 1:
                continue
            off = (x - x1) * dy - (y - y1) * dx
            if off * off > tolerance * tolerance * square:
                continue
            if _near(x, y, x1, y1, tolerance) or _near(x, y, x2, y2, tolerance):
                continue
            if len(on_edge):
                on_edge[count] = i
                on_point[count] = point
            count += 1
    return count


@kernel
def _crossed(table: Table, lattice: Lattice, edges: Longs, points: Floats) -> np.int64:
    """Fill in crossings, each in the cell in which it lies."""
    ends, key, first, edge = table
    size, x, y, tolerance = lattice
    count = np.int64(0)
    for cell in range(len(key)):
        for one in range(first[cell], first[cell + 1]):
            i = edge[one]
            ax, ay = ends[i, 0], ends[i, 1]
            bx, by = ends[i, 2] - ax, ends[i, 3] - ay
            for other in range(one + 1, first[cell + 1]):
                j = edge[other]
                cx, cy = ends[j, 0] - ax, ends[j, 1] - ay
                dx, dy = ends[j, 2] - ax, ends[j, 3] - ay
                from_one, to_one = bx * cy - by * cx, bx * dy - by * dx
                if (from_one > 0) == (to_one > 0) or from_one == 0 or to_one == 0:
                    continue
                ex, ey = dx - cx, dy - cy
                start, stop = ey * cx - ex * cy, ex * (by - cy) - ey * (bx - cx)
                if (start > 0) == (stop > 0) or start == 0 or stop == 0:
                    continue
                share = start / (start - stop)
                px, py = ax + share * bx, ay + share * by
                column, row = math.floor((px - x) / size), math.floor((py - y) / size)
                if np.int64(column) * _SPAN + np.int64(row) != key[cell]:
                    continue
                if (
                    _near(px, py, ax, ay, tolerance)
                    or _near(px, py, ax + bx, ay + by, tolerance)
                    or _near(px, py, ax + cx, ay + cy, tolerance)
                    or _near(px, py, ax + dx, ay + dy, tolerance)
                ):
                    continue
                if len(edges):
                    edges[count, 0], edges[count, 1] = i, j
                    points[count, 0], points[count, 1] = px, py
                count += 1
    return count
