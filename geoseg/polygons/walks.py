"""Rings and arcs, taken out of linked vertices by walking along them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.polygons.chains import Chains, Counts
from geoseg.polygons.runs import Bools, Ints

Longs = npt.NDArray[np.int64]


class Arcs(NamedTuple):
    """Pieces of boundary of the open regions of a strip.

    Parameters
    ----------
    corner : (vertex, 2) int32
        Column and row, arc after arc; an arc that only passes through the strip has none.
    first : (arc + 1,) int64
        First vertex of each arc.
    region : (arc,)
        1-based region.
    head, tail : (arc,) int64
        Stubs, numbered without the vertices; -1 for both of an arc that is a ring.
    pinch : (pinch, 2)
        Regions of one class whose exits are exchanged if they are one region.
    """

    corner: npt.NDArray[np.int32]
    first: Longs
    region: Ints
    head: Longs
    tail: Longs
    pinch: Ints


class WalkedRings(NamedTuple):
    """Rings of complete regions as `walk` fills them in.

    Parameters
    ----------
    corner : (vertex, 2) int32
        In the order of regions, and of rings within them.
    owner : (ring,)
        In the order of first corners: 1-based number of its region among the complete ones.
    length : (ring,) int64
        Likewise: how many vertices it has.
    """

    corner: npt.NDArray[np.int32]
    owner: Ints
    length: Longs


class Complete(NamedTuple):
    """Which regions are complete.

    Parameters
    ----------
    complete : (1 + region,) bool
        By 1-based region whether it is.
    number : (1 + region,) int64
        Its number among the complete ones, from 1.
    place : (1 + complete,) int64
        By that number where its vertices begin; used up.
    """

    complete: Bools
    number: Longs
    place: Longs


@kernel
def count_vertices(owner: Ints, complete: Bools, number: Longs, place: Longs) -> int:
    """Fill `place` with the start of each complete region's vertices; return their total number."""
    for vertex in range(len(owner)):
        if complete[owner[vertex]]:
            place[number[owner[vertex]]] += 1
    total = 0
    for polygon in range(1, len(place)):
        total += place[polygon]
        place[polygon] = total - place[polygon]
    return total


@kernel
def _walk_arc(
    source: int, corner: npt.NDArray[np.int32], following: Ints, into: npt.NDArray[np.int32], to: int
) -> tuple[int, int]:
    """Write the vertices between two stubs; return where they end, and the second stub."""
    vertex = following[source]
    following[source] = -1
    while following[vertex] >= 0:
        into[to, 0], into[to, 1] = corner[vertex, 0], corner[vertex, 1]
        to += 1
        after = following[vertex]
        following[vertex] = -1  # visited
        vertex = after
    return to, vertex


@kernel
def walk(chains: Chains, regions: Complete, counts: Counts, done: WalkedRings, arcs: Arcs) -> tuple[int, int]:
    """Write the corners by region and ring, and by arc; return the numbers of rings and arcs.

    Parameters
    ----------
    chains : Chains
        As `geoseg.polygons.trace.visit_corners` filled them; used up.
    regions : Complete
        Which are complete.
    counts : Counts
        Of the ids.
    done : WalkedRings
        Filled with the rings of complete regions.
    arcs : Arcs
        Filled with the others; its pinches are not looked at.
    """
    corner, owner, following = chains
    complete, number, place = regions
    count = counts.vertices
    made = written = 0
    begin, stop = 2 * counts.top, 2 * counts.top + count
    for stub in range(len(owner) - count):
        source = stub if stub < begin else stub + count
        if following[source] < 0:
            continue
        written, sink = _walk_arc(source, corner, following, arcs.corner, written)
        arcs.region[made] = owner[source]
        arcs.head[made] = stub
        arcs.tail[made] = sink if sink < begin else sink - count
        made += 1
        arcs.first[made] = written
    rings = 0
    for origin in range(begin, stop):
        if following[origin] < 0:
            continue
        region = owner[origin]
        whole = complete[region]
        into = done.corner if whole else arcs.corner
        to = place[number[region]] if whole else written
        first = to
        vertex = origin
        while following[vertex] >= 0:
            into[to, 0], into[to, 1] = corner[vertex, 0], corner[vertex, 1]
            to += 1
            after = following[vertex]
            following[vertex] = -1  # visited
            vertex = after
        if whole:
            place[number[region]] = to
            done.owner[rings] = number[region]
            done.length[rings] = to - first
            rings += 1
        else:
            written = to
            arcs.region[made] = region
            made += 1
            arcs.first[made] = written
    return rings, made
