"""Pixels of a map that a sample picks: by their rank in a stratum, or on a lattice, in one pass over the map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.population import Floats, Ints, ReadRows, kinds_of, together
from geoseg.grid.grid import Grid
from geoseg.grid.ground_cells import PixelAreas
from geoseg.progress import OnProgress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Pixels of a map, in row-major order.

    Parameters
    ----------
    row, col : (point,) int64
        Where they are.
    stratum, mapped : (point,) int64
        Codes of their stratum and class.
    area_m2 : (point,) float64
        Their ground areas, m²; 1 where unknown.
    """

    row: Ints
    col: Ints
    stratum: Ints
    mapped: Ints
    area_m2: Floats

    def at(self, order: Ints) -> Places:
        """Return the pixels in another order."""
        return Places(
            row=self.row[order], col=self.col[order], stratum=self.stratum[order],
            mapped=self.mapped[order], area_m2=self.area_m2[order],
        )  # fmt: skip


Choose = Callable[[int, Any, Any], npt.NDArray[np.intp]]
"""Takes the first row of a strip, its strata and its validity, (row, col), and returns flat indices in it."""


def pick(
    grid: Grid,
    reads: tuple[ReadRows, ReadRows | None],
    choose: Choose,
    progress: OnProgress | None = None,
) -> Places:
    """Pick pixels of a map, strip by strip, with what is known of them.

    Parameters
    ----------
    grid : Grid
        Grid of the map.
    reads : (callable, callable or None)
        Read the map and its strata, as `count` takes them.
    choose : callable
        Says which pixels.
    progress : callable, optional
        Called with (rows done, rows, what).
    """
    areas = PixelAreas(grid)
    parts: list[tuple[Any, ...]] = []
    for row, codes, valid, given in together(grid, *reads):
        strata = codes if given is None else given
        chosen = choose(row, strata, valid)
        rows, cols = np.divmod(chosen, grid.width)
        each = np.ones(len(chosen))
        for at in np.unique(rows).tolist() if areas.known else ():
            of_row, _ = areas.rows(row + at, row + at + 1)
            for i in np.flatnonzero(rows == at):
                each[i] = areas.square_metres(float(of_row[0, cols[i]]), 0.0) or 1.0
        parts.append((rows + row, cols, strata.ravel()[chosen], codes.ravel()[chosen], each))
        if progress is not None:
            progress(row + len(codes), grid.height, "draw")
    row_, col, stratum, mapped, area = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Places(
        row=row_.astype(np.int64), col=col.astype(np.int64), stratum=stratum.astype(np.int64),
        mapped=mapped.astype(np.int64), area_m2=area,
    )  # fmt: skip


def by_rank(ranks: dict[int, Ints]) -> Choose:
    """Return a function that chooses the valid pixels of given ranks in their strata, counted in row-major order.

    Parameters
    ----------
    ranks : dict of int to (rank,) int64
        Ranks from 0 by code of the stratum, in ascending order.
    """
    before: Counter[int] = Counter()
    nothing = np.empty(0, np.int64)

    def choose(row: int, strata: Any, valid: Any) -> npt.NDArray[np.intp]:  # noqa: ARG001
        kinds, place = kinds_of(strata[valid])
        counts = np.bincount(place, minlength=len(kinds))
        chosen = np.zeros(len(place), np.bool_)
        for kind, (code, number) in enumerate(zip(kinds.tolist(), counts.tolist(), strict=True)):
            wanted = ranks.get(code, nothing)
            first, stop = np.searchsorted(wanted, (before[code], before[code] + number))
            if first < stop:
                chosen[np.flatnonzero(place == kind)[wanted[first:stop] - before[code]]] = True
            before[code] += number
        return np.flatnonzero(valid)[chosen]

    return choose


def on_lattice(first: tuple[int, int], step: tuple[int, int]) -> Choose:
    """Return a function that chooses the valid pixels on a regular lattice of rows and columns."""

    def choose(row: int, strata: Any, valid: Any) -> npt.NDArray[np.intp]:  # noqa: ARG001
        rows, cols = np.indices(valid.shape, sparse=True)
        on = ((rows + row) % step[0] == first[0]) & (cols % step[1] == first[1])
        return np.flatnonzero(on & valid)

    return choose
