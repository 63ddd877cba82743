"""Gaps, overlaps and the border of a coverage, from the edges that have no partner.

The edges divide the plane into faces. How many polygons cover a face is known for that around the whole, and changes
by one at every edge (`geoseg.assessment.coverage.edges` has the law). Faces that none covers and that are enclosed are
gaps; faces that two or more cover are overlaps; neighbouring ones count as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.edges import Edges, Floats, Longs, point_keys
from geoseg.assessment.coverage.faces import depths_of, halves_of, label_rings
from geoseg.kernels.kernel import kernel

Objects = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regions:
    """Regions of one kind.

    Parameters
    ----------
    shape : (region,) object
        Polygons of shapely, which may touch themselves in a point.
    region, owner : (entry,) int64
        Owners of the edges around each region, in order of the regions.
    """

    shape: Objects
    region: Longs
    owner: Longs

    @classmethod
    def none(cls) -> Regions:
        """Return no regions."""
        nothing = np.empty(0, np.int64)
        return cls(shape=np.empty(0, object), region=nothing, owner=nothing)

    def __getitem__(self, chosen: Bools) -> Regions:
        """Return some of the regions."""
        number = np.cumsum(chosen) - 1
        kept = chosen[self.region]
        return Regions(shape=self.shape[chosen], region=number[self.region[kept]], owner=self.owner[kept])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faults:
    """Result of `regions_of`.

    Parameters
    ----------
    gaps, overlaps : Regions
        Enclosed places that no polygon covers, and places that several cover.
    border : (owner,) int64
        Polygons with an edge on the outer border.
    """

    gaps: Regions
    overlaps: Regions
    border: Longs


def regions_of(edges: Edges) -> Faults:
    """Find gaps, overlaps and the border.

    Parameters
    ----------
    edges : Edges
        Edges without a partner, which meet at their ends only; those of one place and direction may be several.
    """
    if not len(edges):
        return Faults(gaps=Regions.none(), overlaps=Regions.none(), border=np.empty(0, np.int64))
    ends, owner, times, all_owners = _distinct(edges)
    start, stop = _vertices(ends)
    count = len(owner)
    halves = halves_of(ends, start, stop, np.ones(2 * count, np.bool_))
    depth = depths_of(halves, times)
    other = np.roll(depth, count)
    overlaps, _ = _outlined(ends, start, stop, (depth >= 2) & (other < 2), all_owners)
    gaps, outer = _outlined(ends, start, stop, (depth <= 0) & (other > 0), all_owners)
    return Faults(gaps=gaps, overlaps=overlaps, border=np.unique(outer))


def _distinct(edges: Edges) -> tuple[Floats, Longs, Longs, tuple[Longs, Longs]]:
    """Return directed edges, each once; an owner and the number of each; and all owners by edge."""
    x1, y1, x2, y2 = edges.ends.T
    with np.errstate(over="ignore"):
        key = point_keys(x1, y1) * np.uint64(3) + point_keys(x2, y2)
    _, first, which, times = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(which, kind="stable")
    owners = edges.owner[order].astype(np.int64)
    place = np.concatenate([[0], np.cumsum(times)]).astype(np.int64)
    return (
        np.ascontiguousarray(edges.ends[first]),
        owners[place[:-1]],
        times.astype(np.int64),
        (place, owners),
    )


def _vertices(ends: Floats) -> tuple[Longs, Longs]:
    """Return numbers of the vertices at which edges start and end."""
    points = ends.reshape(-1, 2)
    _, number = np.unique(point_keys(points[:, 0], points[:, 1]), return_inverse=True)
    number = number.astype(np.int64).reshape(-1, 2)
    return number[:, 0], number[:, 1]


def _outlined(
    ends: Floats, start: Longs, stop: Longs, chosen: Bools, owners: tuple[Longs, Longs]
) -> tuple[Regions, Longs]:
    """Return the regions that lie left of the chosen halves, and the owners of the outlines that enclose none."""
    import shapely

    halves = halves_of(ends, start, stop, chosen)
    ring = np.full(2 * halves.edges, -1, np.int64)
    rings = label_rings(halves.next, ring)
    length = np.bincount(ring[ring >= 0], minlength=rings)
    first = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    order = np.empty(first[-1], np.int64)
    _walk(halves.next, ring, first, order)
    both = np.concatenate([ends[:, :2], ends[:, 2:]])
    points, of_ring = both[order], np.repeat(np.arange(rings), length)
    x, y = (points - points[first[of_ring]]).T
    after = np.arange(1, len(order) + 1)
    after[first[1:] - 1] = first[:-1]
    twice = np.bincount(of_ring, x * y[after] - x[after] * y, rings).astype(np.float64)
    closed = np.insert(points, first[1:], points[first[:-1]], axis=0)
    lines = shapely.linearrings(closed, indices=np.insert(of_ring, first[1:], np.arange(rings)))
    is_shell = twice > 0
    shells, holes = np.flatnonzero(is_shell), np.flatnonzero(~is_shell)
    shapes = shapely.polygons(lines[shells])
    inside = _containing(
        shapes, twice[shells], points[first[holes]] if len(holes) else np.empty((0, 2)), twice[holes]
    )
    region = np.full(rings, -1, np.int64)
    region[shells] = np.arange(len(shells))
    region[holes] = inside
    for each in np.unique(inside[inside >= 0]):
        shapes[each] = shapely.polygons(lines[shells[each]], lines[holes[inside == each]])
    place, owner = owners
    edge = order % halves.edges
    times = place[edge + 1] - place[edge]
    entry = np.repeat(place[edge] - np.cumsum(times) + times, times) + np.arange(times.sum())
    pairs = np.stack([np.repeat(region[of_ring], times), owner[entry]], axis=1)
    pairs = np.unique(pairs, axis=0) if len(pairs) else pairs.reshape(0, 2)
    in_region = pairs[:, 0] >= 0
    found = Regions(shape=shapes, region=pairs[in_region, 0], owner=pairs[in_region, 1])
    return found, pairs[~in_region, 1]


@kernel
def _walk(following: Longs, ring: Longs, first: Longs, order: Longs) -> None:
    """Write the halves of each ring in their order."""
    done = np.int64(0)
    for half in range(len(following)):
        if ring[half] == done:
            at = np.int64(half)
            for place in range(first[done], first[done + 1]):
                order[place] = at
                at = following[at]
            done += 1


def _containing(shapes: Objects, twice: Floats, points: Floats, own: Floats) -> Longs:
    """Return the smallest region around each hole, larger than itself; -1 without one."""
    import shapely

    inside = np.full(len(points), -1, np.int64)
    if not len(points) or not len(shapes):
        return inside
    hole, shell = shapely.STRtree(shapes).query(shapely.points(points), predicate="intersects")
    fits = twice[shell] > -own[hole]
    hole, shell = hole[fits], shell[fits]
    order = np.lexsort((-twice[shell], hole))  # the smallest comes last, and stays
    inside[hole[order]] = shell[order]
    return inside
