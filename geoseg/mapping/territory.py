"""Which zone owns which ground: rectangles of the plan's CRS, and the lines between those of different owners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

_NOBODY = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Territory:
    """Ground cells ``[gx dx, (gx + 1) dx) x [gy dy, (gy + 1) dy)``, gx and gy whole numbers, each owned by one zone.

    Corners are ``gx * dx`` and ``gy * dy`` in float64, so cells side by side have the same ones bit for bit.

    Parameters
    ----------
    crs : str
        CRS of the plan as WKT; x comes first.
    dx, dy : float
        Width and height of a cell, in units of the CRS.
    owner : mapping of (int, int) to int
        By cell (gx, gy), the index of the zone that owns it; cells of nobody are absent.
    """

    crs: str
    dx: float
    dy: float
    owner: Mapping[tuple[int, int], int]

    @property
    def steps(self) -> tuple[float, float]:
        """Width and height of a cell."""
        return self.dx, self.dy

    def owners_at(self, x: Floats, y: Floats) -> Longs:
        """Return which zone owns each of some places, -1 where none does.

        Parameters
        ----------
        x, y : (place,) float64
            Coordinates in the plan's CRS; what is not finite is nobody's.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        known = np.isfinite(x) & np.isfinite(y)
        owners = np.full(x.shape, _NOBODY, np.int64)
        owners[known] = self.owners(cell_of(x[known], self.dx), cell_of(y[known], self.dy))
        return owners

    def owners(self, gx: Longs, gy: Longs) -> Longs:
        """Return which zone owns each of some cells, -1 where none does."""
        table = self._cells
        if not len(table.key):
            return np.full(np.shape(gx), _NOBODY, np.int64)
        place = np.minimum(np.searchsorted(table.key, table.keys(gx, gy)), len(table.key) - 1)
        hit = (table.gx[place] == gx) & (table.gy[place] == gy)
        return np.where(hit, table.zone[place], _NOBODY)

    def cells_of(self, zone: int) -> tuple[Longs, Longs]:
        """Return the cells of a zone, gx and gy, row by row."""
        table = self._tables.get(zone)
        none = np.zeros(0, np.int64)
        return (none, none) if table is None else (table.gx, table.gy)

    def count_in(self, zone: int, ranges: Longs) -> Longs:
        """Return how many cells of a zone lie in each of some rectangles of cells.

        Parameters
        ----------
        zone : int
            Index of the zone.
        ranges : (rectangle, 4) int64
            First gx, first gy, last gx, last gy.
        """
        table = self._tables.get(zone)
        if table is None or not len(ranges):
            return np.zeros(len(ranges), np.int64)
        west, south = np.maximum(ranges[:, 0], table.west), np.maximum(ranges[:, 1], table.south)
        east, north = np.minimum(ranges[:, 2], table.east), np.minimum(ranges[:, 3], table.north)
        rows = np.where(east >= west, np.maximum(north - south + 1, 0), 0)
        owner, gy = spread(south, rows)
        found = np.searchsorted(table.key, table.keys(east[owner], gy), side="right")
        found -= np.searchsorted(table.key, table.keys(west[owner], gy), side="left")
        return np.bincount(owner, weights=found, minlength=len(ranges)).astype(np.int64)

    def part_of(self, zone: int, range_: tuple[int, int, int, int]) -> Any:
        """Return the ground of a zone within a rectangle of cells as a shapely geometry.

        Parameters
        ----------
        zone : int
            Index of the zone.
        range_ : tuple of int
            First gx, first gy, last gx, last gy.
        """
        import shapely

        west, south, east, north = range_
        gx, gy = self.cells_of(zone)
        rows = slice(*np.searchsorted(gy, (south, north + 1)).tolist())
        gx, gy = gx[rows], gy[rows]
        inside = (gx >= west) & (gx <= east)
        gx, gy = gx[inside], gy[inside]
        # Runs of cells of a row are one rectangle: a large territory has few of them.
        new = np.ones(len(gx), np.bool_)
        new[1:] = (np.diff(gx) != 1) | (np.diff(gy) != 0)
        begins = np.flatnonzero(new)
        stops = np.append(begins[1:], len(gx))[: len(begins)]
        boxes = shapely.box(
            gx[begins] * self.dx,
            gy[begins] * self.dy,
            (gx[stops - 1] + 1) * self.dx,
            (gy[begins] + 1) * self.dy,
        )
        return shapely.union_all(boxes)

    def of_zone(self, zone: int) -> Any:
        """Return all ground of a zone as a shapely geometry, empty if it has none."""
        gx, gy = self.cells_of(zone)
        if not len(gx):
            return self.part_of(zone, (0, 0, -1, -1))
        return self.part_of(zone, (int(gx.min()), int(gy.min()), int(gx.max()), int(gy.max())))

    def borders(self) -> Floats:
        """Return the lines between cells of different owners and around all cells, a piece for each side of a cell.

        Returns
        -------
        (segment, 4) float64
            x and y of the one end, x and y of the other.
        """
        table = self._cells
        gx, gy = table.gx, table.gy
        sides = []
        for right, up in ((1, 0), (0, 1), (-1, 0), (0, -1)):
            beyond = self.owners(gx + right, gy + up)
            # A side between two owners is seen from both cells, and kept from the one on the left or below.
            seen = (beyond != table.zone) if right + up > 0 else (beyond == _NOBODY)
            x, y = gx[seen] + (right > 0), gy[seen] + (up > 0)
            sides.append(np.stack([x, y, x + abs(up), y + abs(right)], axis=1))
        corners = np.concatenate(sides)
        return np.asarray(corners * np.array([self.dx, self.dy, self.dx, self.dy]))

    def is_border(self, zone: int, axis: int, line: Longs, along: Floats, near: float) -> Bools:
        """Tell which places of grid lines lie on the border of a zone: it owns the one side and not the other.

        Parameters
        ----------
        zone : int
            Index of the zone.
        axis : int
            0 for places on the lines ``x = line * dx``, 1 for places on ``y = line * dy``.
        line : (place,) int64
            Number of the line.
        along : (place,) float64
            The other coordinate.
        near : float
            How far from the end of a piece of border a place still counts as on it.
        """
        found = np.zeros(len(line), np.bool_)
        for shift in (-near, near):
            beside = cell_of(along + shift, self.steps[1 - axis])
            sides = [
                self.owners(*((line - back, beside) if axis == 0 else (beside, line - back)))
                for back in (0, 1)
            ]
            found |= (sides[0] == zone) != (sides[1] == zone)
        return found

    @cached_property
    def _cells(self) -> _Cells:
        cells = np.array(list(self.owner), np.int64).reshape(-1, 2)
        zone = np.fromiter(self.owner.values(), np.int64, len(cells))
        return _Cells.of(cells[:, 0], cells[:, 1], zone)

    @cached_property
    def _tables(self) -> dict[int, _Cells]:
        table = self._cells
        of = {zone: table.zone == zone for zone in np.unique(table.zone).tolist()}
        return {z: _Cells.of(table.gx[kept], table.gy[kept], table.zone[kept]) for z, kept in of.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Cells row by row, with keys in that order."""

    gx: Longs
    gy: Longs
    zone: Longs
    key: Longs
    west: int
    south: int
    east: int
    north: int

    @classmethod
    def of(cls, gx: Longs, gy: Longs, zone: Longs) -> _Cells:
        """Sort cells."""
        order = np.lexsort((gx, gy))
        gx, gy, zone = gx[order], gy[order], zone[order]
        if not len(gx):
            return cls(gx, gy, zone, gx, 0, 0, -1, -1)
        bounds = int(gx.min()), int(gy.min()), int(gx.max()), int(gy.max())
        sorted_ = cls(gx, gy, zone, gx, *bounds)
        return cls(gx, gy, zone, sorted_.keys(gx, gy), *bounds)

    def keys(self, gx: Longs, gy: Longs) -> Longs:
        """Return numbers that order cells row by row; columns far off stay in their row."""
        width = self.east - self.west + 3
        return (gy - self.south) * width + np.clip(gx - self.west, -1, width - 2)


def cell_of(places: Floats, step: float) -> Longs:
    """Return in which of the intervals ``[n step, (n + 1) step)`` places lie, with bounds as float64 has them."""
    n = np.floor(places / step)
    n += places >= (n + 1) * step
    n -= places < n * step
    return n.astype(np.int64)


def spread(first: Longs, count: Longs) -> tuple[Longs, Longs]:
    """Return all numbers of some ranges, one range after the other, with the index of the range before them.

    Parameters
    ----------
    first : (range,) int64
        First number of each range.
    count : (range,) int64
        How many numbers each range has.
    """
    owner = np.repeat(np.arange(len(count)), count)
    begin = np.cumsum(count) - count
    return owner, first[owner] + np.arange(len(owner)) - begin[owner]
