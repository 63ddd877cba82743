"""Our own products pass by construction, and those of others fail for what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio.features
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given, settings
from scipy.ndimage import gaussian_filter

import geoseg
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from tests.assessment.coverage.polygon_maps import (
    GRIDS,
    PLACE,
    UTM,
    checked,
    class_map,
    counts,
    gdal_polygons,
    landscape,
)
from tests.marks import few
from tests.strategies import Map, maps

OPTIONS: list[dict[str, Any]] = [
    {}, {"simplify": "1px"}, {"simplify": "3px"}, {"smooth": True}, {"min_area": "8px"},
    {"min_area": "1500m2", "smooth": True, "simplify": "1px"}, {"classes": [2, 3]},
]  # fmt: skip


@pytest.mark.parametrize("options", few(OPTIONS[::-1]), ids=str)
def test_what_vectorize_writes_passes(tmp_path: Path, options: dict[str, Any]) -> None:
    """With holes and bays of no data, too."""
    codes = landscape()
    valid = np.ones(codes.shape, np.bool_)
    valid[20:31, 12:40] = valid[:4, 50:] = valid[50, 50] = False
    geoseg.vectorize(class_map(codes, valid=valid), output=tmp_path / "map.gpkg", **options)
    found = geoseg.check(tmp_path / "map.gpkg")
    assert found.passed
    assert counts(found) == {}
    (layer,) = found.layers
    assert layer.survey.holes >= 2
    assert not layer.found[0].count


@pytest.mark.parametrize("place", GRIDS)
@pytest.mark.parametrize("options", [{}, {"smooth": True, "simplify": "1px"}], ids=["plain", "redrawn"])
def test_it_passes_on_every_grid(tmp_path: Path, place: str, options: dict[str, Any]) -> None:
    transform, crs = GRIDS[place]
    geoseg.vectorize(class_map(landscape(), transform, crs), output=tmp_path / "map.gpkg", **options)
    found = geoseg.check(tmp_path / "map.gpkg")
    assert counts(found) == {}, found


@settings(max_examples=15)
@given(maps(most=20))
def test_any_map_passes(tmp_path: Path, drawn: Map) -> None:
    path = tmp_path / "any.gpkg"
    geoseg.vectorize(class_map(drawn.codes, valid=drawn.valid), output=path, overwrite=True)
    assert counts(geoseg.check(path)) == {}


@pytest.mark.parametrize("ending", ["parquet", "fgb", "geojson"])
def test_other_formats_pass_without_holes(tmp_path: Path, ending: str) -> None:
    """GeoParquet states its coverage as a GeoPackage does; the others are right where there is no hole."""
    path = tmp_path / f"map.{ending}"
    geoseg.vectorize(class_map(landscape()), output=path)
    assert counts(geoseg.check(path)) == {}


def test_a_smallest_unit_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    """Small islands in no data lie on the border, which is exempt; of redrawn polygons the pixels count."""
    codes = landscape()
    valid = np.ones(codes.shape, np.bool_)
    valid[20:31, 12:40] = False
    valid[24, 20:22] = True
    rules = tmp_path / "rules.yaml"
    rules.write_text("unit: {units: [{area_m2: 2000}]}")
    for number, redrawn in enumerate(({}, {"smooth": True, "simplify": "2px"})):
        path = tmp_path / f"{number}.gpkg"
        geoseg.vectorize(class_map(codes, valid=valid), output=path, min_area="2000m2", **redrawn)
        assert counts(geoseg.check(path, profile=rules)) == {}
        whole = tmp_path / f"{number}-whole.gpkg"
        geoseg.vectorize(class_map(codes, valid=valid), output=whole, **redrawn)
        found = geoseg.check(whole, profile=rules)
        frame = pyogrio.read_dataframe(whole, layer="landcover")
        assert 0 < counts(found)["unit"] <= (frame["area_m2"] < 2000).sum()


def test_one_row_a_class_has_several_parts_and_is_sound_otherwise(tmp_path: Path) -> None:
    path, rules = tmp_path / "map.gpkg", tmp_path / "rules.yaml"
    geoseg.vectorize(class_map(landscape()), output=path, multipolygon=True, smooth=True)
    rules.write_text("parts: {severity: off}")
    assert counts(geoseg.check(path)) == {"parts": 4}
    assert counts(geoseg.check(path, profile=rules)) == {}


def test_layers_of_a_multilabel_map_pass(tmp_path: Path) -> None:
    codes = landscape()
    layers = np.stack([np.isin(codes, pair) for pair in ((1, 2), (2, 3))]).astype(np.uint8)
    from geoseg.raster.classmap import write_cog

    raster = tmp_path / "map.tif"
    legend = Legend.parse("a,b")
    grid = Grid(height=60, width=60, transform=PLACE, crs=UTM)
    write_cog(raster, [layers], grid, legend=legend, description=legend.names, tags={})
    geoseg.vectorize(raster, output=tmp_path / "map.gpkg")
    found = geoseg.check(tmp_path / "map.gpkg")
    assert found.passed
    assert [each.survey.layer.name for each in found.layers] == ["a", "b"]
    assert len(geoseg.check(tmp_path / "map.gpkg", layer="b").layers) == 1


# --- products of others


def test_gdal_s_polygons_lack_vertices_of_their_neighbours(tmp_path: Path) -> None:
    """They are valid and single, and have no gap and no overlap, but share no vertices where three of them meet."""
    frame = gdal_polygons(landscape())
    found = checked(frame, tmp_path)
    assert set(counts(found)) == {"vertices"}
    (layer,) = found.layers
    flagged = set(layer.survey.missing.owner.tolist())
    edges = shapely.coverage_invalid_edges(frame.geometry.to_numpy())
    assert flagged == set(np.flatnonzero(~shapely.is_empty(edges)).tolist())
    corners = shapely.union_all(shapely.boundary(frame.geometry.to_numpy()))
    assert counts(found)["vertices"] == t_junctions(frame.geometry.to_numpy())
    assert shapely.distance(shapely.multipoints(layer.survey.missing.point), corners) < 1e-6
    assert geoseg.check(tmp_path / "polygons.gpkg", profile="urban-atlas2018").passed is False


def t_junctions(shapes: npt.NDArray[np.object_]) -> int:
    """Vertices of some polygon that lie within an edge of another one, by brute force."""
    points = np.unique(shapely.get_coordinates(shapes), axis=0)
    touching = shapely.STRtree(shapes).query(shapely.points(points), predicate="intersects")
    own = [set(map(tuple, shapely.get_coordinates(shape).tolist())) for shape in shapes]
    lacking = {
        point for point, shape in touching.T.tolist() if tuple(points[point].tolist()) not in own[shape]
    }
    return len(lacking)


def brute_force(shapes: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Areas of gaps and of overlaps, with vertices on edges to a thousandth of a millimetre, as `check` sees them."""
    union = shapely.union_all(shapes, grid_size=1e-6)
    faces = shapely.get_parts(shapely.polygonize([shapely.node(union.boundary)]))
    gaps = faces[~shapely.contains(union, shapely.point_on_surface(faces))]
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    pairs = shapely.intersection(shapes[one[one < other]], shapes[other[one < other]])
    parts = shapely.get_parts(shapely.get_parts(pairs))
    overlaps = shapely.get_parts(shapely.union_all(parts[shapely.area(parts) > 0]))
    return tuple(np.sort(areas[areas > 1e-3]) for areas in (shapely.area(gaps), shapely.area(overlaps)))  # type: ignore[return-value]


def test_polygons_simplified_one_by_one_have_gaps_and_overlaps(tmp_path: Path) -> None:
    frame = gdal_polygons(landscape())
    frame.geometry = shapely.simplify(frame.geometry.to_numpy(), 12)
    frame = frame[~frame.geometry.is_empty]
    found = checked(frame, tmp_path)
    wanted = brute_force(frame.geometry.to_numpy())
    assert len(wanted[0]) > 20
    assert len(wanted[1]) > 20
    rows = found.findings
    for name, areas in zip(("gaps", "overlaps"), wanted, strict=True):
        ours = rows[rows["check"] == name]
        plane = np.sort(ours.geometry.area[ours.geometry.area > 1e-3])
        np.testing.assert_allclose(plane, areas, rtol=1e-6, atol=1e-3)
    assert not shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert not found.passed


def test_contours_of_each_class_have_gaps_and_overlaps(tmp_path: Path) -> None:
    """As Deepness makes polygons: the mask of each class is smoothed and traced without looking at the others."""
    codes = landscape(edge=40)
    shapes, classes = [], []
    for code in np.unique(codes):
        soft = gaussian_filter((codes == code).astype(np.float32).repeat(3, 0).repeat(3, 1), 2.0) > 0.5
        for shape, inside in rasterio.features.shapes(
            soft.astype(np.uint8), transform=PLACE @ Affine.scale(1 / 3)
        ):
            if inside:
                shapes.append(shapely.simplify(shapely.geometry.shape(shape), 2))
                classes.append(int(code))
    frame = gpd.GeoDataFrame({"class_code": classes}, geometry=shapes, crs=UTM)
    found = checked(frame, tmp_path)
    gaps, overlaps = brute_force(np.array(shapes, object))
    rows = found.findings
    assert counts(found)["gaps"] >= len(gaps) > 5
    assert counts(found)["overlaps"] >= len(overlaps) > 5
    for name, areas in (("gaps", gaps), ("overlaps", overlaps)):
        assert rows[rows["check"] == name].geometry.area.sum() == pytest.approx(areas.sum(), rel=1e-4)
