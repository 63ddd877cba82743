"""Small regions go to the neighbour with which they share the longest border.

A region is small when its pixels in the map as given are fewer than the least number, or cover less ground than the
least area. Small regions take their turn by (pixels, first pixel): each goes, with all that came to it before, to the
neighbour with the longest shared border, of equal ones to the one with the lower first pixel. A neighbour is a region
of the map as given with all that came to it; no data is none. So what becomes of a cluster of small regions that touch
each other depends on them and on the borders of the larger ones around, and on nothing else. A cluster alone in no data
becomes one region, of its last one's class.

GDAL's sieve is different: it asks for the largest neighbour, so a speck on a shore may join a distant sea through
one pixel edge instead of the field around it; and it lets small regions join small ones which then count as large
or not by what was merged first, so its result depends on the order of the scan.

Law: whatever the strips, the result is that of the whole map. Rows are held until all their regions are decided:

- a region that reaches the last row held and is still small may become large;
- two regions of one class that both reach that row may be one region, whose borders are to be added, and whose
  first pixel is the lower one: a cluster that has a border with both waits, and so does one where that pixel
  decides between equal borders.

A region that is known by its first pixel is the same one in every look at the rows. Rows are looked at anew when
they have doubled, so all looks together cost a few times one look at all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.kernels.kernel import kernel
from geoseg.vector.amounts import Amount
from geoseg.vector.areas import GROUND, NO_CONFIDENCE, Ground, sum_regions
from geoseg.vector.bands import Band, rows_of_band
from geoseg.vector.runs import Bools, Ints, Runs, find_regions

Longs = npt.NDArray[np.int64]

_LARGE, _SMALL, _UNDECIDED, _SETTLED = range(4)


def parse_min_area(text: str) -> Amount:
    """Read ``20px``, ``500m2``, ``0.5ha`` or ``2km2``.

    Raises
    ------
    OptionError
    """
    return Amount.parse(text, ("px", "m2", "ha", "km2"), what="the least area", example="20px or 500m2")


def least_size(min_area: str | None, grid: Grid) -> tuple[int, Ground | None]:
    """Fewest pixels of a polygon on a grid; or its least ground, as a fixed-point number of the `Ground` beside it.

    Raises
    ------
    OptionError
        If the grid does not say how many square metres a pixel has.
    """
    if min_area is None:
        return 0, None
    amount = parse_min_area(min_area)
    if amount.square_metres is not None:
        ground = Ground(grid)
        if ground.known:
            return ground.fixed(amount.square_metres * (1 - _ROUNDING)), ground
    # 500 m2 are 5 px of 100 m2, not 6.
    return math.ceil(amount.pixels(grid) * (1 - 1e-12)), None


_ROUNDING = 1e-7  # of areas on the ground: where all pixels have 100 m², 5 of them have 500


def absorbed(
    strips: Iterable[Band],
    grid: Grid,
    least: int,
    rows: int | None = None,
    merged: Callable[[int], None] | None = None,
    ground: Ground | None = None,
) -> Iterator[Band]:
    """Give the pixels of regions with fewer than `least` pixels, or less ground, to neighbours; see the module.

    Parameters
    ----------
    strips : iterable of Band
        Rows of a map from the first to the last, without halos.
    grid : Grid
        Of the whole map.
    least : int
    rows : int, optional
        Rows that are looked at together at least.
    merged : callable, optional
        Told how many regions more went to a neighbour; their sum does not depend on the strips.
    ground : Ground, optional
        With it `least` is ground, as a fixed-point number of it.

    Yields
    ------
    Band
        The same rows, cut elsewhere. Pixels of another class than before have no confidence; their
        probabilities stay.
    """
    look = _Look(grid, least, merged, ground)
    held: list[Band] = []
    count, due = 0, rows or rows_of_band(grid.width)
    for strip in strips:
        held.append(strip)
        count += len(strip.codes)
        look.seen += len(strip.codes)
        if count >= due and look.seen < grid.height:
            decided, rest = look.decide(_together(held))
            held, count = [rest], len(rest.codes)
            due = max(2 * count, rows or rows_of_band(grid.width))
            if len(decided.codes):
                yield decided
    if held:
        yield look.decide(_together(held))[0]


def _together(strips: list[Band]) -> Band:
    if len(strips) == 1:
        return strips[0]
    confidence = [s.confidence for s in strips if s.confidence is not None]
    probabilities = [s.probabilities for s in strips if s.probabilities is not None]
    return Band(
        codes=np.concatenate([s.codes for s in strips]),
        valid=np.concatenate([s.valid for s in strips]),
        confidence=np.concatenate(confidence) if confidence else None,
        probabilities=np.concatenate(probabilities, axis=1) if probabilities else None,
    )


class _Look:
    """What is known of the rows above those that are held."""

    def __init__(
        self, grid: Grid, least: int, merged: Callable[[int], None] | None, ground: Ground | None
    ) -> None:
        self._grid, self._least, self._merged, self._ground = grid, least, merged, ground
        t = grid.transform
        self._edges = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
        self.seen = 0  # rows
        self._row = 0  # first row held
        # Codes, validity and the first pixel of each pixel's region, in the row above.
        self._above: tuple[Ints, Bools, Longs] | None = None
        self._settled: dict[int, int] = {}  # code by first pixel, of regions that may reach rows held

    def decide(self, held: Band) -> tuple[Band, Band]:
        """Cut the rows held in two: those above the first undecided region, with their new codes, and the rest."""
        above = self._above
        codes, valid = held.codes, held.valid
        if above is not None:
            codes, valid = np.concatenate([above[0], codes]), np.concatenate([above[1], valid])
        halo = int(above is not None)
        runs = find_regions(codes, valid, row=self._row - halo, halo=bool(halo))
        pixels, key = _describe(runs)
        size = pixels if self._ground is None else sum_regions(runs, self._ground)[0][:, GROUND]
        if above is not None:
            _carry_keys(runs, above[2], key)
        final = self.seen == self._grid.height
        open_ = np.zeros(runs.count + 1, np.bool_)
        if not final:
            open_[runs.region[runs.first[-2] :]] = True
        open_[0] = False
        state = self._states(runs, size, key, open_[1:])
        fate, waiting = self._simulate(runs, pixels, key, state, open_[1:])
        known = fate[:, 1] > 0
        self._settled = dict(zip(key[known].tolist(), fate[known, 0].tolist(), strict=True))
        first_row = np.where(waiting, key // self._grid.width, self.seen)
        stop = int(first_row.min(initial=self.seen)) - self._row
        new = np.where(known, fate[:, 0], runs.code)
        return self._cut(held, runs, (new, key), stop)

    def _states(self, runs: Runs, size: Longs, key: Longs, open_: Bools) -> npt.NDArray[np.int8]:
        """Say of every region what it is."""
        state = np.where(size >= self._least, _LARGE, np.where(open_, _UNDECIDED, _SMALL)).astype(np.int8)
        if runs.halo:
            above = np.unique(runs.region[: runs.first[1]])
            state[above[above > 0] - 1] = _LARGE  # what is small and reaches up is settled
        if self._settled:
            known = np.fromiter(self._settled, np.int64, len(self._settled))
            state[np.isin(key, known)] = _SETTLED
        return state

    def _simulate(
        self, runs: Runs, pixels: Longs, key: Longs, state: npt.NDArray[np.int8], open_: Bools
    ) -> tuple[Longs, Bools]:
        """Let small regions take their turns; return new codes (code, 1 if known) and which regions wait."""
        count = runs.count
        fate = np.zeros((count, 2), np.int64)
        for i in np.flatnonzero(state == _SETTLED).tolist():
            fate[i] = self._settled[int(key[i])], 1
        unsure = (state == _SMALL) | (state == _UNDECIDED)
        waiting = np.zeros(count, np.bool_)
        if not unsure.any():
            return fate, waiting
        # Regions of one first pixel are one: the first of them stands for all.
        _, one, same = np.unique(key, return_index=True, return_inverse=True)
        node = one[same]
        is_open = np.zeros(count, np.bool_)
        np.logical_or.at(is_open, node, open_)
        pairs = _borders(runs, unsure)
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
        groups = np.empty((6, count), np.int64)
        _take_turns(
            order,
            _lists(a, b, pairs[:, 2:], unsure, count),
            (key, unsure, shaky),
            self._edges,
            (cluster, late),
            groups,
        )
        head = groups[0]
        known = (state == _SMALL) & ~late[cluster]
        fate[known, 0], fate[known, 1] = runs.code[head[known]], 1
        if self._merged is not None:
            self._merged(int((head[known] != np.flatnonzero(known)).sum()))
        return fate, unsure & ~known

    @staticmethod
    def _shaky(code: Longs, key: Longs, node: Longs, is_open: Bools) -> Bools:
        """Say which regions may turn out to have a lower first pixel: an open one of their class has it."""
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
        """Clusters with borders to two open regions of one class, which may be one region."""
        unsure, is_open = about
        a, b = (np.concatenate(each) for each in (pairs, pairs[::-1]))
        chosen = unsure[a] & ~unsure[b] & is_open[b]
        met = np.unique(np.stack([cluster[a[chosen]], code[b[chosen]], b[chosen]]), axis=1)
        again = (met[0, 1:] == met[0, :-1]) & (met[1, 1:] == met[1, :-1])
        return np.asarray(met[0, 1:][again], np.int64)

    def _cut(self, held: Band, runs: Runs, about: tuple[Longs, Longs], stop: int) -> tuple[Band, Band]:
        """Cut the rows held; what is decided gets its new codes."""
        new, key = about
        halo = int(runs.halo)
        rest = Band(
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
        keys = np.full(self._grid.width, -1, np.int64)
        line = halo + stop - 1
        for run in range(runs.first[line], runs.first[line + 1] - 1):
            if runs.region[run]:
                keys[runs.start[run] : runs.start[run + 1]] = key[runs.region[run] - 1]
        self._above = held.codes[stop - 1 : stop].copy(), held.valid[stop - 1 : stop].copy(), keys
        self._row += stop
        probabilities = None if held.probabilities is None else held.probabilities[:, :stop]
        return replace(
            held, codes=codes, valid=held.valid[:stop], confidence=confidence, probabilities=probabilities
        ), rest


def _carry_keys(runs: Runs, above: Longs, key: Longs) -> None:
    """Give regions that reach the row above the first pixels they have there; of regions that meet, the lowest."""
    parent: dict[int, int] = {}

    def root(k: int) -> int:
        while parent.setdefault(k, k) != k:
            k = parent[k]
        return k

    own: dict[int, int] = {}
    for run in range(runs.first[1] - 1):
        region = int(runs.region[run])
        if region:
            carried = root(int(above[runs.start[run]]))
            other = root(own.setdefault(region, carried))
            parent[max(carried, other)] = min(carried, other)
    for region, k in own.items():
        key[region - 1] = root(k)


def _lists(a: Longs, b: Longs, edges: Longs, unsure: Bools, count: int) -> tuple[Longs, Longs, Longs]:
    """Return the neighbours of each small region: where its list begins, whom it has, edges across and down."""
    source, target = np.concatenate([a, b]), np.concatenate([b, a])
    both = np.concatenate([edges, edges])
    chosen = unsure[source] & (source != target)
    source, target, both = source[chosen], target[chosen], both[chosen]
    order = np.argsort(source, kind="stable")
    first = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=count), out=first[1:])
    return first, target[order], both[order]


@kernel
def _measure(geometry: tuple[int, int, bool, Longs, Ints, Ints], pixels: Longs, key: Longs) -> None:
    width, row_of_raster, halo, first, start, region = geometry
    for row in range(1 if halo else 0, len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                own = region[run] - 1
                pixels[own] += start[run + 1] - start[run]
                if key[own] < 0:
                    key[own] = np.int64(row_of_raster + row) * width + start[run]


def _describe(runs: Runs) -> tuple[Longs, Longs]:
    """Pixels and first pixel of each region in the rows held."""
    pixels, key = np.zeros(runs.count, np.int64), np.full(runs.count, -1, np.int64)
    _measure((runs.width, runs.row, runs.halo, runs.first, runs.start, runs.region), pixels, key)
    return pixels, key


def _borders(runs: Runs, unsure: Bools) -> Longs:
    """Pairs of regions of which one is unsure, with the edges they share: (a, b, along rows, along columns)."""
    geometry = (runs.halo, runs.first, runs.start, runs.region)
    found = np.empty((_list_borders(geometry, unsure, np.empty((0, 4), np.int64)), 4), np.int64)
    _list_borders(geometry, unsure, found)
    if not len(found):
        return found
    order = np.lexsort((found[:, 1], found[:, 0]))
    found = found[order]
    begins = np.flatnonzero(np.r_[True, (found[1:, :2] != found[:-1, :2]).any(axis=1)])
    return np.column_stack([found[begins, :2], np.add.reduceat(found[:, 2:], begins, axis=0)])


@kernel
def _list_borders(geometry: tuple[bool, Longs, Ints, Ints], unsure: Bools, found: Longs) -> int:
    halo, first, start, region = geometry
    write = len(found) > 0
    count = 0
    for row in range(1 if halo else 0, len(first) - 1):
        for run in range(first[row] + 1, first[row + 1] - 1):
            a, b = region[run - 1], region[run]
            if a and b and a != b and (unsure[a - 1] or unsure[b - 1]):
                if write:
                    found[count, 0], found[count, 1] = min(a, b), max(a, b)
                    found[count, 2], found[count, 3] = 0, 1
                count += 1
        if row == 0:
            continue
        above, below = first[row - 1], first[row]
        above_end, below_end = first[row] - 1, first[row + 1] - 1
        while above < above_end and below < below_end:
            a, b = region[above], region[below]
            begin = max(start[above], start[below])
            above_stop, below_stop = start[above + 1], start[below + 1]
            if a and b and a != b and (unsure[a - 1] or unsure[b - 1]):
                if write:
                    found[count, 0], found[count, 1] = min(a, b), max(a, b)
                    found[count, 2], found[count, 3] = min(above_stop, below_stop) - begin, 0
                count += 1
            above += above_stop <= below_stop
            below += below_stop <= above_stop
    return count


@kernel
def _take_turns(
    order: Longs,
    lists: tuple[Longs, Longs, Longs],
    about: tuple[Longs, Bools, Bools],
    edge: tuple[float, float],
    clusters: tuple[npt.NDArray[np.int32], Bools],
    groups: Longs,
) -> None:
    """Merge regions in their order. Clusters in doubt are marked late.

    The first row of `groups` is filled with the region that each ends in; the five others are room to work in.
    """
    first, target, shared = lists
    key, unsure, shaky = about
    cluster, late = clusters
    count = len(key)
    parent, touched, across, down = groups[0], groups[1], groups[2], groups[3]
    following, tail = groups[4], groups[5]  # members of a group, in a chain
    for region in range(count):
        parent[region] = tail[region] = region
        following[region] = -1
        across[region] = down[region] = 0
    for turn in range(len(order)):
        own = order[turn]
        if late[cluster[own]]:
            continue
        touches = 0
        member = own
        while member >= 0:
            for i in range(first[member], first[member + 1]):
                group = target[i]
                while parent[group] != group:
                    parent[group] = parent[parent[group]]
                    group = parent[group]
                if group != own:
                    if across[group] == 0 and down[group] == 0:
                        touched[touches] = group
                        touches += 1
                    across[group] += shared[i, 0]
                    down[group] += shared[i, 1]
            member = following[member]
        best, longest, in_doubt = -1, 0.0, False
        for i in range(touches):
            group = touched[i]
            length = across[group] * edge[0] + down[group] * edge[1]
            across[group] = down[group] = 0
            if length > longest:
                best, longest, in_doubt = group, length, False
            elif length == longest:
                in_doubt = in_doubt or shaky[group] or shaky[best]
                best = group if key[group] < key[best] else best
        if best >= 0:
            if in_doubt:
                late[cluster[own]] = True
                continue
            parent[own] = best
            if unsure[best]:
                following[tail[best]] = own
                tail[best] = tail[own]
    for region in range(count):
        group = region
        while parent[group] != group:
            group = parent[group]
        parent[region] = group


@kernel
def _paint(first: Longs, start: Ints, region: Ints, new: Longs, codes: Ints, changed: Bools) -> None:
    """Write the new codes of regions, and where they differ from the old ones."""
    for row in range(len(codes)):
        for run in range(first[row], first[row + 1] - 1):
            if region[run] and codes[row, start[run]] != new[region[run] - 1]:
                for col in range(start[run], start[run + 1]):
                    codes[row, col] = new[region[run] - 1]
                    changed[row, col] = True
