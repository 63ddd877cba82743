"""Where the pixels of each region come from, when a map is put together from several scenes.

Law: the origin of a region is the one that most of its pixels have, among equals the first; it depends neither on the
rows per strip nor on the regions around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.polygons.runs import Runs, RunTable

Longs = npt.NDArray[np.int64]
Origins = npt.NDArray[np.uint32]

_MANY = 2**32
"""More than there are origins; times the regions of a strip it still fits 64 bits."""


class Origin(NamedTuple):
    """A scene that pixels of a map come from.

    Parameters
    ----------
    scene : str
        Its name.
    date : str or None
        Its date, ``YYYY-MM-DD``, if it is known.
    """

    scene: str
    date: str | None


class Shares(NamedTuple):
    """Pixels of regions by their origin, a row for each pair that occurs.

    Parameters
    ----------
    region, origin, pixels : (pair,) int64
        Region from 0, index of the origin, and number of pixels.
    """

    region: Longs
    origin: Longs
    pixels: Longs


def count_origins(runs: Runs, origin: Origins) -> Shares:
    """Count the pixels of each region of a strip by origin.

    Parameters
    ----------
    runs : Runs
        Runs and regions of the strip.
    origin : (row, col) uint32
        Origin of the pixels of the strip's own rows, without the halo.
    """
    table = runs.table
    nothing = np.empty((0, 3), np.int64)
    pieces = np.empty((_pieces(table, origin, nothing), 3), np.int64)
    _pieces(table, origin, pieces)
    return _summed(pieces[:, 0], pieces[:, 1], pieces[:, 2])


def _summed(region: Longs, origin: Longs, pixels: Longs) -> Shares:
    """Add up the pixels of equal pairs; they become sorted."""
    pair, place = np.unique(region * _MANY + origin, return_inverse=True)
    total = np.zeros(len(pair), np.int64)
    np.add.at(total, place, pixels)
    return Shares(pair // _MANY, pair % _MANY, total)


@kernel
def _pieces(runs: RunTable, origin: Origins, pieces: Longs) -> int:
    """Write (region from 0, origin, pixels) of every run, cut where its origin changes; return how many there are."""
    first, start, region = runs.first, runs.start, runs.region
    skipped = 1 if runs.halo else 0
    count = 0
    for row in range(skipped, len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                begin = start[run]
                for col in range(start[run] + 1, start[run + 1] + 1):
                    if col == start[run + 1] or origin[row - skipped, col] != origin[row - skipped, begin]:
                        if len(pieces):
                            pieces[count, 0] = region[run] - 1
                            pieces[count, 1] = origin[row - skipped, begin]
                            pieces[count, 2] = col - begin
                        count += 1
                        begin = col
    return count


class OriginSeams:
    """Counts of the regions that are open between two strips, joined as `geoseg.polygons.seams` joins their rings."""

    def __init__(self) -> None:
        nothing = np.zeros(0, np.int64)
        self._open = Shares(nothing, nothing, nothing)
        self._last = nothing
        self._seam = nothing

    def join(self, runs: Runs, shares: Shares, last: Longs) -> Longs:
        """Add the next strip; return the origins of the regions that end in it, in the order of their last pixels.

        Parameters
        ----------
        runs : Runs
            Runs and regions of the strip.
        shares : Shares
            Pixels of its regions by origin.
        last : (region,) int64
            Last pixel of each region, -1 where it has none in the strip's own rows.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        before, count = len(self._last), runs.count
        above = np.zeros(0, np.int64)
        if runs.halo:
            above = runs.region[runs.first[0] : runs.first[1]].astype(np.int64)
        both = above > 0
        links = self._seam[both], above[both] + before - 1
        size = before + count
        graph = coo_array((np.ones(len(links[0]), np.int8), links), shape=(size, size))
        groups, group = connected_components(graph, directed=False)
        ends = np.full(groups, -1, np.int64)
        np.maximum.at(ends, group, np.concatenate([self._last, last]))
        found = _summed(
            group[np.concatenate([self._open.region, shares.region + before])].astype(np.int64),
            np.concatenate([self._open.origin, shares.origin]),
            np.concatenate([self._open.pixels, shares.pixels]),
        )
        bottom = runs.region[runs.first[-2] : runs.first[-1]].astype(np.int64)
        row = np.where(bottom > 0, np.append(group, -1)[before + bottom - 1], -1)
        still = np.zeros(groups, np.bool_)
        if not runs.last:
            still[row[row >= 0]] = True
        best = _most(found, groups)[~still]
        order = np.argsort(ends[~still])
        self._keep(found, ends, still, row)
        return best[order]

    def _keep(self, found: Shares, ends: Longs, still: npt.NDArray[np.bool_], row: Longs) -> None:
        """Keep the open regions, numbered anew, and the runs of the last row."""
        number = np.cumsum(still) - 1
        kept = still[found.region]
        self._open = Shares(number[found.region[kept]], found.origin[kept], found.pixels[kept])
        self._last = ends[still]
        self._seam = np.where(row >= 0, np.append(number, -1)[row], -1)


def _most(shares: Shares, count: int) -> Longs:
    """Return the origin with most pixels of each region, among equals the first."""
    order = np.lexsort((-shares.origin, shares.pixels, shares.region))
    best = np.zeros(count, np.int64)
    best[shares.region[order]] = shares.origin[order]  # the last one of each region stays
    return best
