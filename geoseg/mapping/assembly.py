"""Put finished cells together: the rows of a zone as one map, and its polygons in the order of the cells.

Cells that touch form an island; each is read row by row and traced as one map, so a region is one polygon however many
cells and scenes it crosses. Memory holds a few rows of one island and the polygons that end in one row of its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.grid.window import Window
from geoseg.mapping.cell_work import NOBODY
from geoseg.mapping.lattice import Lattice
from geoseg.mapping.parts import ROWS, read_block
from geoseg.mapping.plan import whole_grid
from geoseg.mapping.task import CellTask
from geoseg.polygons.features import Features
from geoseg.polygons.origins import Origin
from geoseg.polygons.stream import Wanted, nothing_of, polygonize_strips
from geoseg.polygons.strips import MapRows, rows_of_band

Told = Callable[[int], object]
"""Called with the number of cells whose rows have all been read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Island:
    """Cells of a zone that touch each other, also at corners.

    Parameters
    ----------
    tasks : tuple of CellTask
        The cells, by row and column.
    window : Window
        The smallest window around them, on the lattice of the zone.
    grid : Grid
        Its grid.
    edge : int
        Edge of a cell, px.
    """

    tasks: tuple[CellTask, ...]
    window: Window
    grid: Grid
    edge: int

    def rows(self, told: Told | None = None) -> Iterator[MapRows]:
        """Yield the rows of the island from top to bottom.

        Parameters
        ----------
        told : callable, optional
            Called as cells are finished.
        """
        lines: dict[int, list[CellTask]] = {}
        for task in self.tasks:
            lines.setdefault(task.cell.row, []).append(task)
        row = self.window.row
        for line, tasks in sorted(lines.items()):
            top, stop = (
                max(line * self.edge, self.window.row),
                min((line + 1) * self.edge, self.window.row_stop),
            )
            yield from self._empty(top - row)
            yield from self._line(tasks, (top, stop))
            row = stop
            if told is not None:
                told(len(tasks))
        yield from self._empty(self.window.row_stop - row)

    def _empty(self, rows: int) -> Iterator[MapRows]:
        """Yield rows without cells between others."""
        step = rows_of_band(self.window.width)
        for first in range(0, rows, step):
            yield self._strip(min(step, rows - first))

    def _strip(self, rows: int) -> MapRows:
        shape = rows, self.window.width
        codes, confidence = np.full((2, *shape), NODATA, np.uint8)
        return MapRows(
            codes=codes, valid=np.zeros(shape, bool), confidence=confidence, origin=np.zeros(shape, np.uint32)
        )

    def _line(self, tasks: Sequence[CellTask], rows: tuple[int, int]) -> Iterator[MapRows]:
        """Yield the rows of the cells in one row of cells."""
        step = min(ROWS, rows_of_band(self.window.width))
        readers = [_Reader(task) for task in tasks]
        for first in range(rows[0], rows[1], step):
            stop = min(first + step, rows[1])
            strip = self._strip(stop - first)
            for reader in readers:
                reader.fill(strip, first, self.window.col)
            yield replace(strip, valid=strip.codes != NODATA)


class _Reader:
    """The rows of one cell, a block at a time."""

    def __init__(self, task: CellTask) -> None:
        self._task, self._block = task, -1
        self._planes: dict[str, npt.NDArray[Any]] = {}
        self._origins = np.zeros(NOBODY + 1, np.uint32)
        for place, each in enumerate(task.cell.candidates):
            self._origins[place] = each.scene

    def fill(self, strip: MapRows, first: int, col: int) -> None:
        """Write the cell's rows into a strip that begins at row `first` and column `col` of the lattice."""
        window = self._task.cell.window
        row, stop = max(first, window.row), min(first + len(strip.codes), window.row_stop)
        cols = slice(window.col - col, window.col_stop - col)
        while row < stop:
            block = (row - window.row) // ROWS
            begin = window.row + block * ROWS
            end = min(stop, begin + ROWS)
            planes = self._read(block)
            theirs, ours = slice(row - begin, end - begin), slice(row - first, end - first)
            _put(strip, (ours, cols), {name: plane[theirs] for name, plane in planes.items()}, self._origins)
            row = end

    def _read(self, block: int) -> dict[str, npt.NDArray[Any]]:
        if block != self._block:
            self._planes, self._block = read_block(self._task.part, block), block
        return self._planes


def _put(
    strip: MapRows,
    place: tuple[slice, slice],
    planes: Mapping[str, npt.NDArray[Any]],
    origins: npt.NDArray[np.uint32],
) -> None:
    """Write pixels into a strip: a zone's own ones always, those of a fringe where nothing is yet."""
    codes = strip.codes[place]
    put = (planes["codes"] != NODATA) & (planes["inside"] | (codes == NODATA))
    assert strip.confidence is not None
    assert strip.origin is not None
    codes[put] = planes["codes"][put]
    # Confidence and scenes are those of the zone's own pixels, of which its fringe has none.
    strip.confidence[place][put] = np.where(planes["inside"], planes["confidence"], NODATA)[put]
    strip.origin[place][put] = origins[planes["origin"]][put]


def islands_of(tasks: Sequence[CellTask], lattice: Lattice, edge: int) -> list[Island]:
    """Group the cells of one zone into islands, in the order of their first cells.

    Parameters
    ----------
    tasks : sequence of CellTask
        Cells of the zone that have pixels, by row and column.
    lattice : Lattice
        Lattice of the zone.
    edge : int
        Edge of a cell, px.
    """
    left = {(task.cell.row, task.cell.col): task for task in tasks}
    found = []
    while left:
        start = next(iter(left))
        reached, todo = {start: left.pop(start)}, [start]
        while todo:
            row, col = todo.pop()
            for place in [(row + down, col + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]:
                if place in left:
                    reached[place] = left.pop(place)
                    todo.append(place)
        members = tuple(reached[place] for place in sorted(reached))
        window, grid = whole_grid(lattice, [task.cell.window for task in members])
        found.append(Island(tasks=members, window=window, grid=grid, edge=edge))
    return found


def island_polygons(
    island: Island,
    origins: tuple[Origin, ...],
    legend: Legend,
    workers: int,
    told: Told | None = None,
) -> Iterator[Features]:
    """Yield the polygons of an island, sorted by the cell in which they end.

    Parameters
    ----------
    island : Island
        Its cells.
    origins : tuple of Origin
        Scenes of the list, in its order.
    legend : Legend
        Classes.
    workers : int
        Threads.
    told : callable, optional
        Called as cells are read.
    """
    wanted = Wanted(grid=island.grid, legend=legend, confidence=True, origins=origins)
    width, top = island.window.width, island.window.row
    waiting: list[Features] = []
    line: int | None = None
    for part in polygonize_strips(island.rows(told), wanted, workers=workers):
        rest = part
        while len(rest):
            assert rest.last is not None
            lines = (rest.last // width + top) // island.edge
            if line is not None and lines[0] != line:
                yield _by_cell(waiting, island)
                waiting = []
            line = int(lines[0])
            stop = int(np.searchsorted(lines, line, side="right"))
            waiting.append(rest[:stop])
            rest = rest[stop:]
    yield _by_cell(waiting, island) if waiting else nothing_of(wanted)


def _by_cell(parts: Sequence[Features], island: Island) -> Features:
    """Sort the polygons of one row of cells by the column of cells in which they end."""
    whole = Features.joined(parts)
    assert whole.last is not None
    cols = (whole.last % island.window.width + island.window.col) // island.edge
    return whole.at(np.argsort(cols, kind="stable"))
