"""Gaps, overlaps and the border, against GEOS by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.assessment.coverage.arrangement import Arrangement, arranged
from geoseg.assessment.coverage.cells import Cells
from geoseg.assessment.coverage.edges import Edges, Waiting, match
from geoseg.assessment.coverage.ground import Ground
from geoseg.assessment.coverage.regions import Faults, regions_of
from geoseg.assessment.coverage.singles import looked_at

Shapes = npt.NDArray[np.object_]
TOLERANCE = 1e-9
few = settings(max_examples=20)
box = shapely.box


def edges_of(polygons: Sequence[Any]) -> Edges:
    return looked_at(shapely.to_wkb(np.array(polygons, object)), 0, Ground(crs=None), 0.0).edges


def faults(polygons: Sequence[Any]) -> tuple[Faults, Arrangement]:
    found = arranged(match(edges_of(polygons)).left, TOLERANCE)
    return regions_of(found.edges), found


def brute_force(polygons: Sequence[Any]) -> tuple[Shapes, Shapes]:
    """Gaps: bounded faces outside the union; overlaps: what is common to two, the connected parts of it."""
    union = shapely.union_all(polygons)
    faces = shapely.get_parts(shapely.polygonize([shapely.node(union.boundary)]))
    gaps = faces[~shapely.contains(union, shapely.point_on_surface(faces))]
    common = [
        part
        for i, one in enumerate(polygons)
        for other in polygons[:i]
        for part in shapely.get_parts(shapely.intersection(one, other))
        if part.area
    ]
    return polygons_of(shapely.multipolygons(gaps)), polygons_of(shapely.union_all(common))


def polygons_of(shape: Any) -> Shapes:
    parts = shapely.get_parts(shape)
    return parts[shapely.area(parts) > 1e-9]


def agree(polygons: Sequence[Any]) -> None:
    found, _ = faults(polygons)
    for ours, theirs in zip((found.gaps, found.overlaps), brute_force(polygons), strict=True):
        shapes = ours.shape[shapely.area(ours.shape) > 1e-9]
        assert len(shapes) == len(theirs)
        assert np.sort(shapely.area(shapes)) == pytest.approx(np.sort(shapely.area(theirs)), abs=1e-6)
        moved = shapely.symmetric_difference(
            shapely.union_all(shapely.make_valid(shapes)), shapely.union_all(theirs)
        )
        assert moved.area == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "polygons",
    [
        [box(0, 0, 1, 1), box(1, 0, 2, 1)],
        [box(0, 0, 2, 1), box(0, 1, 1, 2), box(1, 1, 2, 2)],
        [box(0, 0, 2, 1), box(1.5, 0, 3, 1)],
        [box(0, 0, 2, 1), box(0, 0, 2, 1)],
        [box(0, 0, 2, 1), box(0, 0, 2, 1), box(2, 0, 3, 1)],
        [box(0, 0, 3, 3), box(1, 1, 2, 2)],
        [box(0, 0, 3, 3) - box(1, 1, 2, 2)],
        [box(0, 0, 5, 5) - box(1, 1, 4, 4), box(2, 2, 3, 3)],
        [box(0, 0, 3, 3), box(1, 1, 4, 4), box(2, 2, 5, 5)],
        [box(0, 0, 5, 5) - box(1, 1, 4, 4), box(0, 0, 5, 5) - box(1, 1, 4, 4)],
        [box(0, 0, 9, 9) - box(1, 1, 8, 8), box(2, 2, 7, 7) - box(3, 3, 6, 6), box(4, 4, 5, 5)],
        [box(0, 0, 1, 1), box(1, 1, 2, 2), box(0, 2, 1, 3), box(-1, 1, 0, 2)],
        [shapely.Polygon([(0, 0), (4, 1), (0, 2)]), shapely.Polygon([(2, -1), (3, 3), (2.5, 3), (1, -1)])],
    ],
)  # fmt: skip
def test_gaps_and_overlaps_are_those_of_geos(polygons: list[Any]) -> None:
    agree(polygons)


def test_who_lies_on_the_border_and_around_a_gap() -> None:
    ring = [box(0, 0, 3, 1), box(0, 1, 1, 2), box(2, 1, 3, 2), box(0, 2, 3, 3)]
    inside = [*ring, box(1, 1, 2, 2)]
    found, _ = faults(inside)
    assert found.border.tolist() == [0, 1, 2, 3]
    found, _ = faults(ring)
    assert found.gaps.owner.tolist() == [0, 1, 2, 3]


def test_a_vertex_on_an_edge_is_neither_gap_nor_overlap() -> None:
    """As GDAL makes polygons: the border between three of them has a vertex that one lacks."""
    found, arrangement = faults([box(0, 0, 2, 1), box(0, 1, 1, 2), box(1, 1, 2, 2)])
    assert not len(found.gaps.shape)
    assert not len(found.overlaps.shape)
    assert arrangement.missing.point.tolist() == [[1, 1]]
    assert arrangement.missing.owner.tolist() == [0, 1, 2]
    assert sorted(map(tuple, np.concatenate([m.pairs for m in arrangement.matched]).tolist())) == [
        (0, 1),
        (0, 2),
    ]


def test_a_vertex_off_by_less_than_the_tolerance_is_on_the_edge() -> None:
    turned = [
        shapely.affinity.rotate(each, 31.7, origin=(0, 0))
        for each in (box(0, 0, 2, 1), box(0, 1, 1, 2), box(1, 1, 2, 2))
    ]
    found, arrangement = faults(turned)
    assert len(found.gaps.shape) == len(found.overlaps.shape) == 0
    assert len(arrangement.missing.point) == 1


@st.composite
def coverages(draw: st.DrawFn, most: int = 12) -> list[Any]:
    """Cells of random points, merged at random: polygons of a valid coverage, some with holes."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = random.random((draw(st.integers(3, most)), 2))
    cells = shapely.get_parts(
        shapely.voronoi_polygons(shapely.multipoints(points), extend_to=box(0, 0, 1, 1), ordered=True)
    )
    group = random.integers(0, draw(st.integers(2, most)), len(cells))
    merged = [shapely.coverage_union_all(cells[group == each]) for each in np.unique(group)]
    return list(shapely.get_parts(merged))


@few
@given(coverages())
def test_a_valid_coverage_has_no_fault(polygons: list[Any]) -> None:
    assert shapely.coverage_is_valid(polygons)
    found, arrangement = faults(polygons)
    assert len(found.overlaps.shape) == len(arrangement.missing.point) == 0
    gaps, _ = brute_force(polygons)
    assert len(found.gaps.shape) == len(gaps) == 0


@few
@given(coverages(), st.data())
def test_dropped_doubled_and_moved_polygons_are_found(polygons: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(polygons) - 1))
    dropped = [each for i, each in enumerate(polygons) if i != at]
    if dropped:
        agree(dropped)
    agree([*polygons, polygons[at]])
    step = data.draw(st.tuples(st.floats(0.01, 0.3), st.floats(0.01, 0.3)))
    moved = [shapely.affinity.translate(each, *step) if i == at else each for i, each in enumerate(polygons)]
    agree(moved)


@few
@given(coverages(), st.data())
def test_one_vertex_moved_makes_one_gap_and_or_one_overlap(polygons: list[Any], data: st.DataObject) -> None:
    """Into its own polygon or out of it: the two triangles that it sweeps over are gap, overlap, or border."""
    at = data.draw(st.integers(0, len(polygons) - 1))
    ring = shapely.get_coordinates(polygons[at].exterior)[:-1]
    vertex = data.draw(st.integers(0, len(ring) - 1))
    middle = (ring[vertex - 1] + ring[(vertex + 1) % len(ring)]) / 2
    ring[vertex] += data.draw(st.sampled_from([0.2, -0.2])) * (middle - ring[vertex])
    holes = [shapely.get_coordinates(each) for each in polygons[at].interiors]
    changed = shapely.Polygon(ring, holes)
    if changed.is_valid and not shapely.equals_exact(changed, polygons[at], 1e-3):
        broken = [changed if i == at else each for i, each in enumerate(polygons)]
        agree(broken)
        found, _ = faults(broken)
        assert (shapely.area(found.gaps.shape) > 1e-9).sum() <= 1


@few
@given(st.lists(st.tuples(*[st.integers(0, 8)] * 4), min_size=1, max_size=12))
def test_any_rectangles_on_a_lattice(corners: list[tuple[int, int, int, int]]) -> None:
    """Edges that coincide, in part and several times, and corners that touch."""
    boxes = [box(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners]
    agree(boxes)


@few
@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 6), min_size=1, max_size=9))
def test_any_triangles(corners: list[tuple[float, ...]]) -> None:
    triangles = [shapely.Polygon(np.reshape(each, (3, 2))) for each in corners]
    triangles = [
        each for each in triangles if each.is_valid and each.area > 1e-2 and each.length**2 < 400 * each.area
    ]
    if triangles:
        union = shapely.union_all(triangles)
        found, _ = faults(triangles)
        gaps, overlaps = brute_force(triangles)
        assert shapely.area(found.gaps.shape).sum() == pytest.approx(shapely.area(gaps).sum(), abs=1e-6)
        assert shapely.area(found.overlaps.shape).sum() == pytest.approx(
            shapely.area(overlaps).sum(), abs=1e-6
        )
        assert union.area <= sum(each.area for each in triangles)


@few
@given(coverages(), st.integers(1, 5))
def test_edges_that_come_in_parts_cancel_as_they_do_together(polygons: list[Any], parts: int) -> None:
    edges = edges_of(polygons)
    waiting, seen = Waiting(), []
    for chosen in np.array_split(np.arange(len(edges)), parts):
        seen += waiting.add(edges[chosen])
    last = waiting.finish()
    whole = match(edges)
    rows = [np.unique(each.ends, axis=0) for each in (last.left, whole.left)]
    np.testing.assert_array_equal(*rows)
    pairs = np.concatenate([each.pairs for each in [*seen, last]])
    assert sorted(map(tuple, pairs.tolist())) == sorted(map(tuple, whole.pairs.tolist()))
    assert sum(each.lengths.sum() for each in [*seen, last]) == pytest.approx(whole.lengths.sum())


def test_negative_zero_is_zero() -> None:
    left = shapely.Polygon([(-1, 0), (-0.0, 0), (-0.0, 1), (-1, 1)])
    assert match(edges_of([left, box(0.0, 0, 1, 1)])).pairs.tolist() == [[0, 1]]


@few
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_points_and_crossings_are_those_of_every_pair(seed: int, count: int) -> None:
    """Short edges and long ones, which touch many cells."""
    random = np.random.default_rng(seed)
    begin = random.random((count, 2)) * 100
    ends = np.hstack(
        [begin, begin + random.normal(0, 1, (count, 2)) * random.choice([1, 30, 300], (count, 1))]
    )
    cells = Cells.of(ends, 1e-9)
    lines = shapely.linestrings(ends.reshape(-1, 2, 2))
    crossing, points = cells.crossings()
    wanted = {
        (i, j): shapely.intersection(lines[i], lines[j])
        for i in range(count)
        for j in range(i + 1, count)
        if shapely.crosses(lines[i], lines[j])
    }
    assert {tuple(sorted(pair)) for pair in crossing.tolist()} == set(wanted)
    for pair, point in zip(crossing.tolist(), points, strict=True):
        assert shapely.get_coordinates(wanted[min(pair), max(pair)])[0] == pytest.approx(point, abs=1e-6)
    share = random.random(count)[:, None]
    on_edges = ends[:, :2] + share * (ends[:, 2:] - ends[:, :2])
    edge, point = cells.points_on_edges(np.concatenate([on_edges, begin + 0.01]))
    assert {(i, i) for i in range(count)} <= set(zip(edge.tolist(), point.tolist(), strict=True))
    assert all(
        shapely.distance(lines[i], shapely.points(np.concatenate([on_edges, begin + 0.01])[p])) < 2e-9
        for i, p in zip(edge, point, strict=True)
    )
