"""Vertices of a lattice, a bit each, against a set of points that is searched one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from geoseg.polygons.occupied import Point, no_corners, put, take, take_if_alone

COLS, ROWS = 200, 12
points = st.tuples(st.integers(0, COLS - 1), st.integers(0, ROWS - 1))


def in_triangle(point: Point, corners: tuple[Point, Point, Point]) -> bool:
    """Say whether a point lies in a triangle or on its sides: never on both sides of them."""

    def side(a: Point, b: Point) -> int:
        return int(np.sign((b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])))

    a, b, c = corners
    sides = {side(a, b), side(b, c), side(c, a)}
    if sides == {0}:  # everything on one line
        return all(min(x) <= p <= max(x) for x, p in zip(zip(*corners, strict=True), point, strict=True))
    return not {1, -1} <= sides


@given(corners=st.tuples(points, points, points), others=st.sets(points, max_size=40))
@example(corners=((0, 0), (199, 1), (5, 11)), others={(130, 2)})  # in the third word of a row
@example(corners=((0, 0), (199, 1), (5, 11)), others={(199, 11)})
@example(corners=((10, 3), (90, 3), (170, 3)), others={(165, 3)})  # a triangle without area
@example(corners=((63, 0), (64, 1), (65, 0)), others=set())
def test_a_point_goes_if_its_triangle_holds_no_other(
    corners: tuple[Point, Point, Point], others: set[Point]
) -> None:
    point, one, two = (Point(*each) for each in corners)
    if len({point, one, two}) < 3:
        return
    there = no_corners(ROWS, COLS)
    others -= {point, one, two}
    for each in {*others, *corners}:
        put(there, Point(*each))
    before = there.copy()
    alone = take_if_alone(there, point, one, two)
    assert alone == (not any(in_triangle(each, corners) for each in others))
    if alone:
        take(before, point)
    np.testing.assert_array_equal(there, before)
