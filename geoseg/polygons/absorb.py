"""Merging of small regions into the neighbour with which they share the longest border.

A region is small if it has fewer pixels in the original map than the minimum, or covers less ground than the minimum
area. Small regions are processed in the order of (pixels, first pixel): each is merged, with all that was merged into
it before, into the neighbour with the longest shared border, among equals the one with the lower first pixel. A
neighbour is a region of the original map with all that was merged into it; no data is no neighbour. So the fate of a
cluster of adjoining small regions depends only on them and on their borders with larger regions. A cluster that is
surrounded by no data becomes one region, of the class of its last member.

GDAL's sieve differs: it merges into the largest neighbour, so a speck on a shore may join the sea through one pixel
edge instead of the field around it; and small regions that merge with each other may or may not count as large
afterwards, so its result depends on the order of the scan.

Law: whatever the strips, the result is that of the whole map. Rows are held until all their regions are decided:

- a region that reaches the last row held and is still small may become large;
- two regions of one class that both reach that row may turn out to be one, whose borders must be added and whose
  first pixel is the lower one: a cluster that borders on both waits, and so does one for which that pixel decides
  between equal borders.

A region is identified by its first pixel across passes over the rows. Held rows are processed again only when they
have doubled, so all passes together cost a few times one pass over the map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.kernels.kernel import kernel
from geoseg.polygons.areas import GROUND, NO_CONFIDENCE, Ground, sum_regions
from geoseg.polygons.merging import (
    UNKNOWN,
    Clusters,
    EdgeLengths,
    Groups,
    Regions,
    borders,
    carry_keys,
    describe,
    neighbours_of,
    take_turns,
)
from geoseg.polygons.runs import Bools, Ints, Runs, find_regions
from geoseg.polygons.strips import MapRows, joined, rows_of_band

Longs = npt.NDArray[np.int64]
# What a region of the rows held is.
_LARGE = 0  # it stays, and others may go to it
_SMALL = 1  # it goes to a neighbour
_UNDECIDED = 2  # small so far, and it reaches the last row held: rows to come may make it large
_SETTLED = 3  # what becomes of it was decided when the rows above were looked at


class _Above(NamedTuple):
    """The row above those that are held: by pixel code, validity, and the first pixel of its region."""

    codes: Ints
    valid: Bools
    key: Longs


class _Fates(NamedTuple):
    """By region: its new code, and whether that is known."""

    code: Longs
    known: Bools


def absorbed(
    strips: Iterable[MapRows],
    grid: Grid,
    least: int,
    rows: int | None = None,
    merged: Callable[[int], None] | None = None,
    ground: Ground | None = None,
) -> Iterator[MapRows]:
    """Merge regions smaller than `least` into their neighbours; the module's docstring has the rules.

    Parameters
    ----------
    strips : iterable of MapRows
        Rows of a map from the first to the last, without halos.
    grid : Grid
        Grid of the whole map.
    least : int
        Minimum size of a region, in pixels or in fixed-point units of `ground`.
    rows : int, optional
        Minimum number of rows that are processed together.
    merged : callable, optional
        Called with the number of regions newly merged; the sum does not depend on the strips.
    ground : Ground, optional
        Ground areas, if `least` is an area.

    Yields
    ------
    MapRows
        The same rows in other strips. Pixels whose class changed have no confidence; their probabilities are kept.
    """
    look = _Look(grid, least, merged, ground)
    held: list[MapRows] = []
    count, due = 0, rows or rows_of_band(grid.width)
    for strip in strips:
        held.append(strip)
        count += len(strip.codes)
        look.seen += len(strip.codes)
        if count >= due and look.seen < grid.height:
            decided, rest = look.decide(joined(held))
            held, count = [rest], len(rest.codes)
            due = max(2 * count, rows or rows_of_band(grid.width))
            if len(decided.codes):
                yield decided
    if held:
        yield look.decide(joined(held))[0]


class _Look:
    """State between passes: the rows that are held, and what is known of the rows above them."""

    def __init__(
        self, grid: Grid, least: int, merged: Callable[[int], None] | None, ground: Ground | None
    ) -> None:
        self._grid, self._least, self._merged, self._ground = grid, least, merged, ground
        t = grid.transform
        self._edges = EdgeLengths(math.hypot(t.a, t.d), math.hypot(t.b, t.e))
        self.seen = 0  # rows
        self._row = 0  # first row held
        self._above: _Above | None = None
        self._settled: dict[int, int] = {}  # code by first pixel, of regions that may reach rows held

    def decide(self, held: MapRows) -> tuple[MapRows, MapRows]:
        """Split the held rows: those above the first undecided region, with new codes, and the rest."""
        above = self._above
        codes, valid = held.codes, held.valid
        if above is not None:
            codes, valid = np.concatenate([above.codes, codes]), np.concatenate([above.valid, valid])
        halo = int(above is not None)
        runs = find_regions(codes, valid, row=self._row - halo, halo=bool(halo))
        pixels, key = describe(runs)
        size = pixels if self._ground is None else sum_regions(runs, self._ground)[0][:, GROUND]
        if above is not None:
            carry_keys(runs, above.key, key)
        final = self.seen == self._grid.height
        open_ = np.zeros(runs.count + 1, np.bool_)
        if not final:
            open_[runs.region[runs.first[-2] :]] = True
        open_[0] = False
        state = self._states(runs, size, key, open_[1:])
        fate, waiting = self._simulate(runs, pixels, key, state, open_[1:])
        known = fate.known
        self._settled = dict(zip(key[known].tolist(), fate.code[known].tolist(), strict=True))
        first_row = np.where(waiting, key // self._grid.width, self.seen)
        stop = int(first_row.min(initial=self.seen)) - self._row
        new = np.where(known, fate.code, runs.code)
        return self._cut(held, runs, (new, key), stop)

    def _states(self, runs: Runs, size: Longs, key: Longs, open_: Bools) -> npt.NDArray[np.int8]:
        """Classify every region as large, small, undecided or settled."""
        state = np.where(size >= self._least, _LARGE, np.where(open_, _UNDECIDED, _SMALL)).astype(np.int8)
        if runs.halo:
            above = np.unique(runs.region[: runs.first[1]])
            state[above[above > 0] - 1] = _LARGE  # small regions that reach up are settled below
        if self._settled:
            known = np.fromiter(self._settled, np.int64, len(self._settled))
            state[np.isin(key, known)] = _SETTLED
        return state

    def _simulate(
        self, runs: Runs, pixels: Longs, key: Longs, state: npt.NDArray[np.int8], open_: Bools
    ) -> tuple[_Fates, Bools]:
        """Merge small regions in their order; return their new codes, and which regions must wait."""
        count = runs.count
        fate = _Fates(np.zeros(count, np.int64), state == _SETTLED)
        for i in np.flatnonzero(fate.known).tolist():
            fate.code[i] = self._settled[int(key[i])]
        unsure = (state == _SMALL) | (state == _UNDECIDED)
        waiting = np.zeros(count, np.bool_)
        if not unsure.any():
            return fate, waiting
        # Regions with the same first pixel are one region, represented by the first of them.
        _, one, same = np.unique(key, return_index=True, return_inverse=True)
        node = one[same]
        is_open = np.zeros(count, np.bool_)
        np.logical_or.at(is_open, node, open_)
        pairs = borders(runs, unsure)
        a, b = node[pairs[:, 0] - 1], node[pairs[:, 1] - 1]
        both = unsure[a] & unsure[b]
        from scipy.sparse import coo_array  # here, because it takes long to import
        from scipy.sparse.csgraph import connected_components

        touching = coo_array((np.ones(both.sum()), (a[both], b[both])), shape=(count, count))
        _, cluster = connected_components(touching, directed=False)
        late = np.zeros(count, np.bool_)  # by cluster
        late[cluster[state == _UNDECIDED]] = True
        shaky = self._shaky(runs.code, key, node, is_open)
        late[self._doubtful(runs.code, (a, b), (unsure, is_open), cluster)] = True
        order = np.flatnonzero(state == _SMALL)
        order = order[np.lexsort((key[order], pixels[order]))]
        groups = Groups(*np.empty((6, count), np.int64))
        take_turns(
            order,
            neighbours_of(a, b, pairs[:, 2:], unsure, count),
            Regions(key, unsure, shaky),
            self._edges,
            Clusters(cluster, late),
            groups,
        )
        known = (state == _SMALL) & ~late[cluster]
        fate.code[known], fate.known[known] = runs.code[groups.parent[known]], True
        if self._merged is not None:
            self._merged(int((groups.parent[known] != np.flatnonzero(known)).sum()))
        return fate, unsure & ~known

    @staticmethod
    def _shaky(code: Longs, key: Longs, node: Longs, is_open: Bools) -> Bools:
        """Tell which regions may turn out to have a lower first pixel, that of an open region of their class."""
        shaky = np.zeros(len(code), np.bool_)
        chosen = np.flatnonzero(is_open)
        if len(chosen):
            _, group = np.unique(code[chosen], return_inverse=True)
            lowest = np.full(group.max() + 1, np.iinfo(np.int64).max)
            np.minimum.at(lowest, group, key[chosen])
            shaky[chosen] = key[chosen] > lowest[group]
        return shaky[node]

    @staticmethod
    def _doubtful(
        code: Longs, pairs: tuple[Longs, Longs], about: tuple[Bools, Bools], cluster: npt.NDArray[np.int32]
    ) -> Longs:
        """Return the clusters that border on two open regions of one class, which may be one region."""
        unsure, is_open = about
        a, b = (np.concatenate(each) for each in (pairs, pairs[::-1]))
        chosen = unsure[a] & ~unsure[b] & is_open[b]
        met = np.unique(np.stack([cluster[a[chosen]], code[b[chosen]], b[chosen]]), axis=1)
        again = (met[0, 1:] == met[0, :-1]) & (met[1, 1:] == met[1, :-1])
        return np.asarray(met[0, 1:][again], np.int64)

    def _cut(
        self, held: MapRows, runs: Runs, about: tuple[Longs, Longs], stop: int
    ) -> tuple[MapRows, MapRows]:
        """Split the held rows, with new codes for those that are decided."""
        new, key = about
        halo = int(runs.halo)
        rest = MapRows(
            codes=held.codes[stop:].copy(),
            valid=held.valid[stop:].copy(),
            confidence=None if held.confidence is None else held.confidence[stop:].copy(),
            probabilities=None if held.probabilities is None else held.probabilities[:, stop:].copy(),
        )
        if not stop:
            return replace(held, codes=held.codes[:0], valid=held.valid[:0]), rest
        codes = held.codes[:stop].copy()
        changed = np.zeros(codes.shape, np.bool_)
        _paint(runs.first[halo:], runs.start, runs.region, new, codes, changed)
        confidence = held.confidence
        if confidence is not None:
            confidence = np.where(changed, np.uint8(NO_CONFIDENCE), confidence[:stop])
        keys = np.full(self._grid.width, UNKNOWN, np.int64)
        line = halo + stop - 1
        for run in range(runs.first[line], runs.first[line + 1] - 1):
            if runs.region[run]:
                keys[runs.start[run] : runs.start[run + 1]] = key[runs.region[run] - 1]
        self._above = _Above(held.codes[stop - 1 : stop].copy(), held.valid[stop - 1 : stop].copy(), keys)
        self._row += stop
        probabilities = None if held.probabilities is None else held.probabilities[:, :stop]
        return replace(
            held, codes=codes, valid=held.valid[:stop], confidence=confidence, probabilities=probabilities
        ), rest


@kernel
def _paint(first: Longs, start: Ints, region: Ints, new: Longs, codes: Ints, changed: Bools) -> None:
    """Write the new codes of regions, and mark the pixels that changed."""
    for row in range(len(codes)):
        for run in range(first[row], first[row + 1] - 1):
            if region[run] and codes[row, start[run]] != new[region[run] - 1]:
                for col in range(start[run], start[run + 1]):
                    codes[row, col] = new[region[run] - 1]
                    changed[row, col] = True
