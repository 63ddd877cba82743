"""Merging of small regions in their order, given the regions and the borders between them.

The rules are those of `geoseg.polygons.absorb`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.polygons.runs import Bools, Runs, RunTable

Longs = npt.NDArray[np.int64]

UNKNOWN = -1  # first pixel of a region, before it is looked for
_NONE = -1  # no neighbour; no further member of a group


class Neighbours(NamedTuple):
    """Whom regions touch.

    Parameters
    ----------
    first : (region + 1,) int64
        Where the list of each region begins; only that of unsure ones has entries.
    target : (entry,) int64
        The neighbour.
    across, down : (entry,) int64
        Edges that both share, along rows and along columns.
    """

    first: Longs
    target: Longs
    across: Longs
    down: Longs


class Regions(NamedTuple):
    """What is known of regions.

    Parameters
    ----------
    key : (region,) int64
        First pixel.
    unsure : (region,) bool
        Whether it is small, or may be.
    shaky : (region,) bool
        Whether it may turn out to have a lower first pixel.
    """

    key: Longs
    unsure: Bools
    shaky: Bools


class EdgeLengths(NamedTuple):
    """Lengths of the edges of a pixel, along rows and along columns."""

    across: float
    down: float


class Clusters(NamedTuple):
    """Unsure regions that hang together: by region the number of its cluster, and which clusters wait for more rows."""

    number: npt.NDArray[np.int32]
    late: Bools


class Groups(NamedTuple):
    """Regions that went to one another, by region; filled by `take_turns`.

    Parameters
    ----------
    parent : (region,) int64
        The region that it went to; in the end the one that its group ends in.
    following, tail : (region,) int64
        Members of a group, in a chain: the next one, and of the first one the last.
    touched, across, down : (region,) int64
        Room to work in: groups that a region touches, and the edges that it shares with each.
    """

    parent: Longs
    following: Longs
    tail: Longs
    touched: Longs
    across: Longs
    down: Longs


def carry_keys(runs: Runs, above: Longs, key: Longs) -> None:
    """Give regions that reach the row above their first pixels from there; regions that join get the lowest."""
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


def neighbours_of(a: Longs, b: Longs, edges: Longs, unsure: Bools, count: int) -> Neighbours:
    """Return adjacency lists of the regions that are small or undecided."""
    source, target = np.concatenate([a, b]), np.concatenate([b, a])
    both = np.concatenate([edges, edges])
    chosen = unsure[source] & (source != target)
    source, target, both = source[chosen], target[chosen], both[chosen]
    order = np.argsort(source, kind="stable")
    first = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=count), out=first[1:])
    across, down = np.ascontiguousarray(both[order].T)
    return Neighbours(first, target[order], across, down)


@kernel
def _measure(runs: RunTable, pixels: Longs, key: Longs) -> None:
    """Fill the pixels and the first pixel of each region; before they are 0 and not known."""
    first, start, region = runs.first, runs.start, runs.region
    for row in range(1 if runs.halo else 0, len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                own = region[run] - 1
                pixels[own] += start[run + 1] - start[run]
                if key[own] == UNKNOWN:
                    key[own] = np.int64(runs.row + row) * runs.width + start[run]


def describe(runs: Runs) -> tuple[Longs, Longs]:
    """Return the number of pixels and the first pixel of each region in the held rows."""
    pixels, key = np.zeros(runs.count, np.int64), np.full(runs.count, UNKNOWN, np.int64)
    _measure(runs.table, pixels, key)
    return pixels, key


def borders(runs: Runs, unsure: Bools) -> Longs:
    """Return adjoining pairs with an undecided or small region: (a, b, shared edges along rows, along columns)."""
    found = np.empty((_list_borders(runs.table, unsure, np.empty((0, 4), np.int64)), 4), np.int64)
    _list_borders(runs.table, unsure, found)
    if not len(found):
        return found
    order = np.lexsort((found[:, 1], found[:, 0]))
    found = found[order]
    begins = np.flatnonzero(np.r_[True, (found[1:, :2] != found[:-1, :2]).any(axis=1)])
    return np.column_stack([found[begins, :2], np.add.reduceat(found[:, 2:], begins, axis=0)])


@kernel
def _list_borders(runs: RunTable, unsure: Bools, found: Longs) -> int:
    """List each stretch of border, as `borders` has them, into rows of `found` if it has any; return how many."""
    first, start, region = runs.first, runs.start, runs.region
    write = len(found) > 0
    count = 0
    for row in range(1 if runs.halo else 0, len(first) - 1):
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
def take_turns(
    order: Longs,
    neighbours: Neighbours,
    regions: Regions,
    edge: EdgeLengths,
    clusters: Clusters,
    groups: Groups,
) -> None:
    """Merge small regions in their order into `groups`; mark clusters whose result is still uncertain as late."""
    key, unsure, shaky = regions
    cluster, late = clusters
    parent, following, tail, touched, across, down = groups
    for region in range(len(key)):
        parent[region] = tail[region] = region
        following[region] = _NONE
        across[region] = down[region] = 0
    for turn in range(len(order)):
        own = order[turn]
        if late[cluster[own]]:
            continue
        touches = _touch(own, neighbours, groups)
        best, longest, in_doubt = _NONE, 0.0, False
        for i in range(touches):
            group = touched[i]
            length = across[group] * edge.across + down[group] * edge.down
            across[group] = down[group] = 0
            if length > longest:
                best, longest, in_doubt = group, length, False
            elif length == longest:
                in_doubt = in_doubt or shaky[group] or shaky[best]
                best = group if key[group] < key[best] else best
        if best != _NONE:
            if in_doubt:
                late[cluster[own]] = True
                continue
            parent[own] = best
            if unsure[best]:
                following[tail[best]] = own
                tail[best] = tail[own]
    for region in range(len(key)):
        group = region
        while parent[group] != group:
            group = parent[group]
        parent[region] = group


@kernel
def _touch(own: int, neighbours: Neighbours, groups: Groups) -> int:
    """Sum what a region, with all that came to it, shares with each group around; return how many it touches."""
    parent, following, _, touched, across, down = groups
    touches = 0
    member = own
    while member != _NONE:
        for i in range(neighbours.first[member], neighbours.first[member + 1]):
            group = neighbours.target[i]
            while parent[group] != group:
                parent[group] = parent[parent[group]]
                group = parent[group]
            if group != own:
                if across[group] == 0 and down[group] == 0:
                    touched[touches] = group
                    touches += 1
                across[group] += neighbours.across[i]
                down[group] += neighbours.down[i]
        member = following[member]
    return touches
