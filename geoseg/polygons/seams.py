"""Joining of strips: regions that are open at a seam are carried over until they end.

Law: the polygons are those of the whole raster, ring by ring in the same order, however it is cut into strips.
Memory grows with the boundaries of the open regions, not with the raster.

Two neighbouring strips share one row: the last of the upper strip is the halo of the lower one. Regions of both strips
are the same if they contain the same run of that row (by union-find over `slot`), and an arc that leaves one strip
continues in the other at the same edge of that row.

A region is open as long as it has a run in the last row read. The lower strip shows which regions of the shared row
end there: these are closed, and their arcs are joined to rings. Only then is it known which regions are the same, and
how the four arcs of a pinch continue. A ring is rotated to start at its top-left-most corner, and the rings of a region
are ordered by it, the shell first, as in the tracing of a single strip.

Regions are emitted in the order of their last pixels. Those that are complete in a strip, or close at its upper seam,
have their last pixels in its halo or in its rows without the last one, where no region of another strip ends.

Arcs, slots and pinches are stored in tables whose free places are reused. Vertices are appended to one buffer, which is
compacted when more than half of it belongs to closed regions.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.polygons.rings import Rings, arranged
from geoseg.polygons.runs import Ints, Runs
from geoseg.polygons.walks import Arcs

Longs = npt.NDArray[np.int64]
_Number = TypeVar("_Number", bound=np.integer[Any])

# Columns of the tables.
_FIRST, _LENGTH, _NEXT, _SIBLING = range(4)  # of arcs
_PARENT, _ARCS, _LAST_ARC, _MEMBER, _LAST_MEMBER, _STAMP, _CODE, _LAST = range(8)  # of slots
_IN, _OTHER_IN, _SLOT, _OTHER_SLOT, _APART, _SIDES = range(6)  # of pinches
# Numbers of `_Pool.used`: places ever used and the first free one, of each table; vertices, and those alive.
_ARC, _FREE_ARC, _SLOTS, _FREE_SLOT, _PINCH, _FREE_PINCH, _VERTICES, _ALIVE = range(8)
_NONE = -1
_VACANT = -2  # length of a free arc
_LEAST = 1024


class _Pool(NamedTuple):
    """Tables of the open regions; the column names stand above."""

    used: Longs
    corner: npt.NDArray[np.int32]
    arc: Longs
    slot: Longs
    sums: Longs
    pinch: Longs


class _Seam(NamedTuple):
    """Last row of the strip above, by run: its slot, the arc that comes down on its right, the one up on its left."""

    slot: Longs
    down: Longs
    up: Longs


class _BandRegions(NamedTuple):
    """Regions of a strip: those of the runs of its first and its last row, and by 1-based region what `join` takes."""

    top: Ints
    bottom: Ints
    code: Longs
    last: Longs
    sums: Longs


class _Joined(NamedTuple):
    """Arrays that joining a strip fills.

    Parameters
    ----------
    stamp : int
        Number of the strip.
    closed : (run,) int64
        Slots of the regions that close.
    place : (region,) int64
        Slot of each region of the strip; -1 before.
    at_stub : (stub,) int64
        Arc at each stub; -1 before.
    """

    stamp: int
    closed: Longs
    place: Longs
    at_stub: Longs


class Closed(NamedTuple):
    """Regions that ended at a seam, in the order of their last pixels.

    Parameters
    ----------
    rings : Rings
        Their polygons.
    code, last : (region,) int64
        Class code, and last pixel in row-major order.
    sums : (region, n) int64
        Sums over their pixels.
    """

    rings: Rings
    code: Longs
    last: Longs
    sums: Longs


class Seams:
    """The open regions between two strips.

    Parameters
    ----------
    columns : int
        Number of sums per region.
    """

    def __init__(self, columns: int) -> None:
        used = np.zeros(8, np.int64)
        used[[_FREE_ARC, _FREE_SLOT, _FREE_PINCH]] = _NONE
        self._pool = _Pool(
            used=used,
            corner=np.empty((_LEAST, 2), np.int32),
            arc=np.empty((_LEAST, 4), np.int64),
            slot=np.empty((_LEAST, 8), np.int64),
            sums=np.empty((_LEAST, columns), np.int64),
            pinch=np.empty((_LEAST, 6), np.int64),
        )
        nothing = np.empty(0, np.int64)
        self._seam = _Seam(nothing, nothing, nothing)
        self._bands = 0

    @property
    def nbytes(self) -> int:
        """Memory in use, bytes."""
        return sum(array.nbytes for array in (*self._pool, *self._seam))

    @property
    def open_vertices(self) -> int:
        """Number of vertices on boundaries of open regions."""
        return int(self._pool.used[_ALIVE])

    def join(self, runs: Runs, arcs: Arcs, last: Longs, sums: Longs) -> Closed:
        """Add the open regions of the next strip; return the regions of the strips above that end.

        Parameters
        ----------
        runs : Runs
            Runs and regions of the strip.
        arcs : Arcs
            Boundaries of its open regions.
        last : (region,) int64
            Last pixel of each region in the strip's own rows, row-major; -1 if it has none there.
        sums : (region, n) int64
            Sums over each region's pixels in these rows.
        """
        self._bands += 1
        top = runs.region[: runs.first[1]] if runs.halo else runs.region[:0]
        bottom = runs.region[:0] if runs.last else runs.region[runs.first[-2] :]
        self._make_room(len(arcs.region), len(arcs.corner), len(top) + len(bottom), len(arcs.pinch))
        seam = _Seam(*(np.full(len(bottom), _NONE, np.int64) for _ in range(3)))
        closing = np.empty(len(top), np.int64)
        place = np.full(len(runs.code) + 1, _NONE, np.int64)
        at_stub = np.full(2 * len(top) + 2 * len(bottom) + 4 * len(arcs.pinch), _NONE, np.int64)
        count, rings, vertices = _join(
            self._pool,
            self._seam,
            seam,
            _BandRegions(top, bottom, runs.code, last, sums),
            arcs,
            _Joined(self._bands, closing, place, at_stub),
        )
        self._seam = seam
        closing = closing[:count]
        closing = closing[np.argsort(self._pool.slot[closing, _LAST])]
        # Copied, because their places may be reused.
        code, ends, totals = (
            self._pool.slot[closing, _CODE],
            self._pool.slot[closing, _LAST],
            self._pool.sums[closing],
        )
        found = self._string(closing, rings, vertices)
        self._pack()
        return Closed(found, code, ends, totals)

    def _string(self, closing: Longs, most_rings: int, vertices: int) -> Rings:
        """Assemble the rings of closed regions and free their places."""
        corner = np.empty((vertices, 2), np.int32)
        owner, length = np.empty(most_rings, np.int64), np.empty(most_rings, np.int64)
        count, written = _string_arcs(self._pool, closing, corner, owner, length)
        return arranged(corner[:written], owner[:count], length[:count], len(closing))

    def _make_room(self, arcs: int, vertices: int, slots: int, pinches: int) -> None:
        used = self._pool.used
        self._pool = self._pool._replace(
            corner=_grown(self._pool.corner, used[_VERTICES], vertices),
            arc=_grown(self._pool.arc, used[_ARC], arcs),
            slot=_grown(self._pool.slot, used[_SLOTS], slots),
            sums=_grown(self._pool.sums, used[_SLOTS], slots),
            pinch=_grown(self._pool.pinch, used[_PINCH], pinches),
        )

    def _pack(self) -> None:
        """Drop the vertices of closed regions if they outnumber those of open ones."""
        used = self._pool.used
        if used[_VERTICES] > max(2 * used[_ALIVE], _LEAST):
            packed = np.empty((max(int(used[_ALIVE]) * 3 // 2, _LEAST), 2), np.int32)
            _copy_alive(self._pool, packed)
            self._pool = self._pool._replace(corner=packed)


def _grown(array: npt.NDArray[_Number], used: int, more: int) -> npt.NDArray[_Number]:
    if used + more <= len(array):
        return array
    larger = np.empty((max(used + more, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger


@kernel
def _take(table: Longs, used: Longs, ever: int, free: int) -> int:
    """Take a place in a table, preferably a free one; free places are chained through their first column."""
    place = used[free]
    if place == _NONE:
        place = used[ever]
        used[ever] += 1
    else:
        used[free] = table[place, 0]
    return int(place)


@kernel
def _give_back(table: Longs, used: Longs, free: int, place: int) -> None:
    table[place, 0] = used[free]
    used[free] = place


@kernel
def _root(slot: Longs, place: int) -> int:
    while slot[place, _PARENT] != place:
        slot[place, _PARENT] = slot[slot[place, _PARENT], _PARENT]
        place = slot[place, _PARENT]
    return place


@kernel
def _unite(pool: _Pool, one: int, other: int) -> int:
    """Join two slots to one region; return its root."""
    slot = pool.slot
    one, other = _root(slot, one), _root(slot, other)
    if one == other:
        return one
    slot[other, _PARENT] = one
    if slot[other, _ARCS] != _NONE:
        if slot[one, _ARCS] == _NONE:
            slot[one, _ARCS] = slot[other, _ARCS]
        else:
            pool.arc[slot[one, _LAST_ARC], _SIBLING] = slot[other, _ARCS]
        slot[one, _LAST_ARC] = slot[other, _LAST_ARC]
    # A region's slots are chained, to be freed together: pinches may name any of them.
    slot[slot[one, _LAST_MEMBER], _MEMBER] = other
    slot[one, _LAST_MEMBER] = slot[other, _LAST_MEMBER]
    slot[one, _LAST] = max(slot[one, _LAST], slot[other, _LAST])
    for column in range(pool.sums.shape[1]):
        pool.sums[one, column] += pool.sums[other, column]
    return one


@kernel
def _join(
    pool: _Pool, above: _Seam, below: _Seam, regions: _BandRegions, arcs: Arcs, joined: _Joined
) -> tuple[int, int, int]:
    """Join a strip; return the number of regions that close, an upper bound of their rings, and of their vertices."""
    top, bottom, code, last, sums = regions
    used, slot, arc = pool.used, pool.slot, pool.arc
    stamp, closed, place, at_stub = joined
    for run in range(len(top)):
        if top[run]:
            mine = above.slot[run] if place[top[run]] == _NONE else place[top[run]]
            place[top[run]] = _unite(pool, above.slot[run], mine)
    for run in range(len(bottom)):
        region = bottom[run]
        if region and place[region] == _NONE:
            new = _take(slot, used, _SLOTS, _FREE_SLOT)
            slot[new, _PARENT] = slot[new, _LAST_MEMBER] = new
            slot[new, _ARCS] = slot[new, _LAST_ARC] = slot[new, _MEMBER] = slot[new, _STAMP] = _NONE
            slot[new, _CODE], slot[new, _LAST] = code[region - 1], _NONE
            pool.sums[new] = 0
            place[region] = new
    for region in range(1, len(place)):
        if place[region] != _NONE:
            root = _root(slot, place[region])
            place[region] = root
            slot[root, _LAST] = max(slot[root, _LAST], last[region - 1])
            for column in range(sums.shape[1]):
                pool.sums[root, column] += sums[region - 1, column]

    _add_arcs(pool, arcs, place, 2 * (len(top) + len(bottom)), at_stub)
    for run in range(len(top)):
        if above.down[run] != _NONE:
            arc[above.down[run], _NEXT] = at_stub[2 * run]
        if above.up[run] != _NONE:
            arc[at_stub[2 * run + 1], _NEXT] = above.up[run]
    for run in range(len(bottom)):
        if bottom[run]:
            below.slot[run] = place[bottom[run]]
            slot[place[bottom[run]], _STAMP] = stamp
        stub = 2 * (len(top) + run)
        below.down[run], below.up[run] = at_stub[stub], at_stub[stub + 1]

    count = rings = vertices = 0
    for run in range(len(top)):
        if not top[run]:
            continue
        root = _root(slot, above.slot[run])
        if slot[root, _STAMP] == stamp:
            continue
        slot[root, _STAMP] = stamp
        closed[count] = root
        count += 1
        piece = slot[root, _ARCS]
        mine = 0
        while piece != _NONE:
            mine += arc[piece, _LENGTH]
            piece = arc[piece, _SIBLING]
        vertices += mine
        rings += mine // 3  # no ring has fewer than three corners
    return count, rings, vertices


@kernel
def _add_arcs(pool: _Pool, arcs: Arcs, place: Longs, pinch_stubs: int, at_stub: Longs) -> None:
    """Copy the arcs of a strip and link its pinches; fill the arc at each stub."""
    corner, first, owner, head, tail, pinched = arcs
    used, slot, arc, pinch = pool.used, pool.slot, pool.arc, pool.pinch
    begin = used[_VERTICES]
    for vertex in range(len(corner)):
        pool.corner[begin + vertex, 0], pool.corner[begin + vertex, 1] = corner[vertex, 0], corner[vertex, 1]
    used[_VERTICES] += len(corner)
    used[_ALIVE] += len(corner)
    for i in range(len(owner)):
        new = _take(arc, used, _ARC, _FREE_ARC)
        arc[new, _FIRST], arc[new, _LENGTH] = begin + first[i], first[i + 1] - first[i]
        arc[new, _NEXT], arc[new, _SIBLING] = new, _NONE
        if head[i] != _NONE:
            arc[new, _NEXT] = _NONE
            at_stub[head[i]] = at_stub[tail[i]] = new
        root = place[owner[i]]
        if slot[root, _ARCS] == _NONE:
            slot[root, _ARCS] = new
        else:
            arc[slot[root, _LAST_ARC], _SIBLING] = new
        slot[root, _LAST_ARC] = new
    for i in range(len(pinched)):
        new = _take(pinch, used, _PINCH, _FREE_PINCH)
        stub = pinch_stubs + 4 * i
        pinch[new, _IN], pinch[new, _OTHER_IN] = at_stub[stub + 1], at_stub[stub + 3]
        pinch[new, _SLOT], pinch[new, _OTHER_SLOT] = place[pinched[i, 0]], place[pinched[i, 1]]
        pinch[new, _APART], pinch[new, _SIDES] = 0, 2
        arc[at_stub[stub], _NEXT] = -2 - 2 * new
        arc[at_stub[stub + 2], _NEXT] = -3 - 2 * new


@kernel
def _after(pool: _Pool, piece: int) -> int:
    """Return the arc that follows one of a closed region, resolving the pinch between them."""
    following = pool.arc[piece, _NEXT]
    if following >= 0:
        return int(following)
    pinch = pool.pinch
    number, side = (-2 - following) // 2, (-2 - following) % 2
    if not pinch[number, _APART]:
        one, other = _root(pool.slot, pinch[number, _SLOT]), _root(pool.slot, pinch[number, _OTHER_SLOT])
        # For good: one of them is closed, and its place may go to others.
        pinch[number, _APART] = one != other
    following = pinch[number, _IN + (side if pinch[number, _APART] else 1 - side)]
    pinch[number, _SIDES] -= 1
    if pinch[number, _SIDES] == 0:
        _give_back(pinch, pool.used, _FREE_PINCH, number)
    return int(following)


@kernel
def _string_arcs(
    pool: _Pool, closing: Longs, corner: npt.NDArray[np.int32], owner: Longs, length: Longs
) -> tuple[int, int]:
    """Write the rings of closed regions one after the other; return the numbers of rings and of vertices.

    Two arcs that meet in the middle of a seam's row both have the vertex there, where lines are smoothed.

    Parameters
    ----------
    owner, length
        Out: by ring the place of its region in `closing`, and how many vertices it has.
    """
    arc, slot, used = pool.arc, pool.slot, pool.used
    count = written = 0
    for i in range(len(closing)):
        origin = slot[closing[i], _ARCS]
        while origin != _NONE:
            sibling = arc[origin, _SIBLING]
            if arc[origin, _LENGTH] != _VACANT:
                start = written
                piece = origin
                while arc[piece, _LENGTH] != _VACANT:
                    first = arc[piece, _FIRST]
                    used[_ALIVE] -= arc[piece, _LENGTH]
                    for vertex in range(first, first + arc[piece, _LENGTH]):
                        col, row = pool.corner[vertex, 0], pool.corner[vertex, 1]
                        if (
                            written > start
                            and corner[written - 1, 0] == col
                            and corner[written - 1, 1] == row
                        ):
                            continue
                        corner[written, 0], corner[written, 1] = col, row
                        written += 1
                    arc[piece, _LENGTH] = _VACANT
                    piece = _after(pool, piece)
                last = written - 1
                if corner[last, 0] == corner[start, 0] and corner[last, 1] == corner[start, 1]:
                    written = last
                owner[count], length[count] = i, written - start
                count += 1
            origin = sibling
        # Freed when all are strung: until then they are told apart by their lengths.
        origin = slot[closing[i], _ARCS]
        while origin != _NONE:
            sibling = arc[origin, _SIBLING]
            _give_back(arc, used, _FREE_ARC, origin)
            origin = sibling
    for i in range(len(closing)):  # pinches compare slots of several closing regions
        member = closing[i]
        while member != _NONE:
            following = slot[member, _MEMBER]
            _give_back(slot, used, _FREE_SLOT, member)
            member = following
    return count, written


@kernel
def _copy_alive(pool: _Pool, packed: npt.NDArray[np.int32]) -> None:
    arc, used = pool.arc, pool.used
    written = 0
    for piece in range(used[_ARC]):
        if arc[piece, _LENGTH] >= 0:
            first, length = arc[piece, _FIRST], arc[piece, _LENGTH]
            for vertex in range(length):
                packed[written + vertex, 0] = pool.corner[first + vertex, 0]
                packed[written + vertex, 1] = pool.corner[first + vertex, 1]
            arc[piece, _FIRST] = written
            written += length
    used[_VERTICES] = written
