"""Points on long edges, and what polygons measure."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from geoseg.mapping.plane import Plane, with_points
from geoseg.mapping.ragged import Ragged
from tests.mapping.zones import LONLAT, UTM32


@given(st.integers(0, 2**32 - 1))
def test_an_edge_gets_the_same_points_in_both_directions(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(-5e3, 5e3, (3, 2))
    corners[1, seed % 2] = corners[0, seed % 2]  # one edge is horizontal or vertical
    found = []
    for ring in (corners, corners[::-1]):
        polygons = Ragged.of(np.array([shapely.polygons(ring)]))
        fine = with_points(polygons, 640.0)
        lengths = np.hypot(*np.diff(fine.xy, axis=0).T)
        assert lengths.max() <= 640.001
        assert lengths.sum() == pytest.approx(np.hypot(*np.diff(polygons.xy, axis=0).T).sum())
        found.append({tuple(point) for point in fine.xy.tolist()})
    assert found[0] == found[1]


@pytest.mark.parametrize("south", [-80.0, 0.0, 48.0, 84.0])
@pytest.mark.parametrize("size", [1e-3, 1e-2, 1.0])
def test_areas_and_perimeters_are_geodesic(south: float, size: float) -> None:
    shell, hole = [(0, 0), (1, 0), (1, 1), (0.2, 2)], [(0.5, 0.25), (0.8, 0.5), (0.8, 0.25)]
    shape = shapely.transform(shapely.Polygon(shell, [hole]), lambda xy: xy * size + (11.9, south))
    area, perimeter = Plane(wkt=LONLAT).measured(Ragged.of(np.array([shape, shape])))
    fine = shapely.segmentize(shape, size / 500)
    geod = Geod(ellps="WGS84")
    assert area == pytest.approx(np.full(2, abs(geod.geometry_area_perimeter(fine)[0])), rel=2e-6)
    assert perimeter == pytest.approx(np.full(2, geod.geometry_length(fine.boundary)), rel=1e-6)


def test_squares_of_utm_are_as_large_as_its_scale_says() -> None:
    shape = shapely.box(499_000, 5_000_000, 501_000, 5_002_000)
    area, perimeter = Plane(wkt=UTM32).measured(Ragged.of(np.array([shape])))
    assert area == pytest.approx([4e6 / 0.9996**2], rel=1e-7)
    assert perimeter == pytest.approx([8000 / 0.9996], rel=1e-7)


def test_without_a_body_there_is_no_ground() -> None:
    crs = CRS.from_wkt(
        'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    )
    area, perimeter = Plane(wkt=crs.to_wkt()).measured(Ragged.of(np.array([shapely.box(0, 0, 1, 1)])))
    assert np.isnan([area, perimeter]).all()
