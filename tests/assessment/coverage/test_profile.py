"""Profiles: those of the agencies, a person's own, and areas and widths on the ground."""

from __future__ import annotations

import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import shapely.affinity
from pyproj import CRS, Geod

import geoseg
from geoseg.assessment.coverage.ground import Ground
from geoseg.assessment.coverage.profile import packaged_profiles, read_profile
from geoseg.errors import ConfigError
from tests.assessment.coverage.polygon_maps import GRIDS, UTM, checked, class_map, counts, landscape, sheet

# --- profiles


def test_urban_atlas(tmp_path: Path) -> None:
    """Its units by class, exempt roads, the border from 100 m², width, neighbours, the share of the area column."""
    frame = sheet(4, 4, 60.0)  # 3,600 m²
    frame["code_2018"] = [*["11100"] * 5, "31000", *["12220"] * 2, *["11210", "14100"] * 4]
    found = checked(frame, tmp_path, profile="urban-atlas2018")
    units = found.findings.query("check == 'unit'")
    assert units["polygons"].tolist() == ["6"]  # 31000 needs a hectare; that on the border does not
    assert units["limit"].tolist() == [10000]
    pairs = {row.polygons for row in found.findings.query("check == 'neighbours'").itertuples()}
    assert pairs == {"1, 2", "2, 3", "3, 4", "1, 5", "9, 13", "10, 14", "11, 15", "12, 16"}
    narrow = sheet(3, 3, 9.9)
    narrow["code_2018"] = [str(12200 + i) for i in range(9)]
    assert counts(checked(narrow, tmp_path, profile="urban-atlas2018")) == {"width": 1}
    narrow["code_2018"] = [str(11100 + i) for i in range(9)]  # 98 m²: the border may be cut, but not to this
    assert counts(checked(narrow, tmp_path, profile="urban-atlas2018")) == {"width": 1, "unit": 9}
    wide = sheet(3, 3, 10.1)
    wide["code_2018"] = [str(12200 + i) for i in range(9)]
    wide["area"] = 10.1**2 * np.array([1, 1.004, 1.006, *[1] * 6])
    assert counts(checked(wide, tmp_path, profile="urban-atlas2018")) == {"area": 1}


def test_corine(tmp_path: Path) -> None:
    """25 ha but for the border; 100 m of width is a warning; a gap counts from 0.1 m² or a centimetre on."""
    frame = sheet(3, 3, 490.0)
    frame["code_18"] = [str(100 + i) for i in range(9)]
    found = checked(frame, tmp_path, profile="clc2024")
    assert counts(found) == {"unit": 1}
    frame = sheet(3, 3, 510.0)
    frame["code_18"] = [str(100 + i) for i in range(9)]
    middle = frame.geometry[4]
    for radius, gaps in ((0.004, 0), (0.006, 1), (0.3, 1)):
        frame.loc[4, "geometry"] = middle - shapely.buffer(middle.centroid, radius)
        assert counts(checked(frame, tmp_path, profile="clc2024")).get("gaps", 0) == gaps
    narrow = shapely.box(middle.bounds[0], middle.bounds[1], middle.bounds[2] - 420, middle.bounds[3])
    rest = middle - narrow
    frame.loc[4, "geometry"] = rest
    frame = gpd.GeoDataFrame(
        {"code_18": [*frame["code_18"], "999"]}, geometry=[*frame.geometry, narrow], crs=UTM
    )
    found = checked(frame, tmp_path, profile="clc2024")
    assert set(counts(found)) == {"unit", "width", "vertices"}
    assert {each.check.name: each.severity for each in found.layers[0].found}["width"] == "warning"


@pytest.mark.parametrize("name", packaged_profiles())
def test_packaged_profiles_are_valid(name: str) -> None:
    assert read_profile(name).needs_metres


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gaps: {area: 1}", "gaps.area: is not a known key; remove it or correct its spelling"),
        ("width: {width_m: -1}", "width.width_m: input should be greater than or equal to 0, found -1"),
        ("validity: {severity: fatal}", "validity.severity: input should be 'error', 'warning' or 'off'"),
        ("unit: {units: [{classes: '1*'}]}", "unit.units.0.area_m2: is missing"),
        ("- a\n- b", "expected checks with their numbers"),
        ("a: [", "while parsing"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        geoseg.check(tmp_path / "none.gpkg", profile=path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_profile_can_switch_off_and_exempt(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    off = "vertices: {severity: off}\nvalidity: {severity: 'off'}\n"
    rules.write_text("gaps: {no_data_m2: 5000}\nneighbours: {exempt: ['2*']}\n" + off)
    frame = sheet().assign(class_code="21").drop(5)
    found = checked(frame, tmp_path, profile=rules)
    assert found.passed
    assert found.layers[0].survey.holes == 1
    assert not {"vertices", "validity"} & {each.check.name for each in found.layers[0].found}


# --- the ground


def test_areas_are_those_on_the_ellipsoid(tmp_path: Path) -> None:
    """Stated by geoseg to a part in 100,000, and compared with geodesics where polygons are large."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("area: {share: 0.00002}")
    for number, place in enumerate(("UTM", "degrees", "Web Mercator")):
        path = tmp_path / f"{number}.gpkg"
        geoseg.vectorize(class_map(landscape(), *GRIDS[place]), output=path)
        assert counts(geoseg.check(path, profile=rules)) == {}
    large = np.array(
        [shapely.box(-20, 30, 40, 70) - shapely.box(0, 40, 20, 50), shapely.box(10, 50, 10.1, 50.1)], object
    )
    found = Ground(crs=CRS.from_epsg(4326).to_wkt()).areas(large)
    fine = shapely.segmentize(large, [0.02, 0.001])
    wanted = [abs(Geod(ellps="WGS84").geometry_area_perimeter(each)[0]) for each in fine]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_widths_are_those_of_the_largest_circle() -> None:
    ground = Ground(crs=UTM)
    x, y = 332000, 5430000
    strip = shapely.affinity.rotate(shapely.box(x, y, x + 1000, y + 20), 30)
    necks = shapely.union_all([shapely.box(x, y, x + 60, y + 60), shapely.box(x + 60, y, x + 500, y + 2)])
    ring = shapely.buffer(shapely.Point(x, y), 100) - shapely.buffer(shapely.Point(x, y), 85)
    for shape, width in ((strip, 20.0), (necks, 60.0), (ring, 15.0)):
        shapes = np.array([shape], object)
        scale = math.sqrt(ground.areas(shapes)[0] / shape.area)
        for share, wanted in ((0.99, True), (1.01, False)):
            found = ground.are_wide(shapes, ground.areas(shapes), share * width * scale)
            assert found.tolist() == [wanted], (width, share)
