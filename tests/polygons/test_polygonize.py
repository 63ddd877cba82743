"""Attributes of polygons, and frames made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.ground import area_texts, row_areas
from geoseg.grid.legend import Legend
from geoseg.polygons import features as features_module
from geoseg.polygons.polygonize import polygonize
from geoseg.polygons.stream import complete_legend
from geoseg.vector.summary import ClassTotals
from tests.strategies import Map, drawn, maps

LEGEND = Legend.parse("water,forest=#228B22,town")
UTM = CRS("EPSG:32632").to_wkt()
EQUAL_AREA = CRS("EPSG:6933").to_wkt()


def on_grid(m: Map, transform: Affine | None = None, crs: str | None = UTM) -> Grid:
    rows, cols = m.codes.shape
    return Grid(height=rows, width=cols, transform=transform or Affine(10, 0, 5e5, 0, -10, 54e5), crs=crs)


def test_a_frame_has_the_columns_of_the_file() -> None:
    m = drawn(("1122", "1.22", "3322"))
    confidence = np.array([[254, 127, 0, 0], [255, 9, 254, 254], [255, 255, 254, 254]], np.uint8)
    frame = polygonize(m.codes, m.valid, on_grid(m), legend=LEGEND, confidence=confidence).to_geodataframe()
    assert list(frame.columns) == [
        "class_code",
        "class_name",
        "area_m2",
        "pixels",
        "confidence",
        "perimeter_m",
        "geometry",
    ]
    assert frame["class_code"].tolist() == [1, 3, 2]
    assert frame["class_name"].tolist() == ["water", "town", "forest"]
    assert frame["pixels"].tolist() == [3, 2, 6]
    assert frame["confidence"].iloc[0] == (254 + 127) / 2 / 254  # the 255 does not count
    assert np.isnan(frame["confidence"].iloc[1])
    assert frame["confidence"].iloc[2] == pytest.approx(4 / 6)
    assert frame.crs == CRS("EPSG:32632")
    assert frame.geom_type.unique().tolist() == ["Polygon"]


def test_without_confidence_the_frame_has_no_such_column() -> None:
    m = drawn(("1",))
    frame = polygonize(m.codes, m.valid, on_grid(m), legend=LEGEND).to_geodataframe()
    assert "confidence" not in frame.columns


@given(maps(most=20))
def test_sums_are_those_of_the_pixels(m: Map) -> None:
    confidence = np.random.default_rng(0).integers(0, 256, m.codes.shape, dtype=np.uint8)
    degrees = on_grid(m, Affine(0.01, 0, 8, 0, -0.01, 50), CRS("EPSG:4326").to_wkt())
    features = polygonize(m.codes, m.valid, degrees, confidence=confidence)
    zones = row_areas(degrees)
    assert zones is not None
    ground = np.broadcast_to(zones[:, None], m.codes.shape)
    planar = polygonize(m.codes, m.valid, on_grid(m, Affine.identity())).to_geodataframe()
    for i, polygon in enumerate(planar.geometry):
        inside = rasterize([polygon], out_shape=m.codes.shape).astype(bool)
        assert features.pixels[i] == inside.sum()
        assert features.area_m2[i] == pytest.approx(ground[inside].sum(), rel=1e-12)
        known = confidence[inside & (confidence != 255)]
        assert features.confidence is not None
        np.testing.assert_allclose(features.confidence[i], known.mean() / 254 if known.size else np.nan)


@pytest.mark.parametrize("angle", [0, 30], ids=["north-up", "rotated"])
def test_areas_on_an_equal_area_grid_are_planar(angle: float) -> None:
    m = drawn(("1122", "1.22", "3322"))
    transform = Affine.translation(1e6, 4e6) @ Affine.rotation(angle) @ Affine.scale(30, -30)
    features = polygonize(m.codes, m.valid, on_grid(m, transform, EQUAL_AREA))
    np.testing.assert_allclose(features.area_m2, features.pixels * 900, rtol=1e-8)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632", "EPSG:25832"])
def test_perimeters_are_geodesic(crs: str) -> None:
    """Against geodesics between the ends of every pixel edge; along a parallel they differ by 1e-9 or so."""
    m = drawn(("1122", "1.22", "3322"))
    size = 0.001 if crs == "EPSG:4326" else 100.0
    origin = {"EPSG:4326": (8, 50), "EPSG:3857": (9e5, 64e5)}.get(crs, (5e5, 54e5))
    grid = on_grid(m, Affine(size, 0, origin[0], 0, -2 * size, origin[1]), CRS(crs).to_wkt())
    frame = polygonize(m.codes, m.valid, grid).to_geodataframe()
    geod = CRS(crs).get_geod()
    assert geod is not None
    dense = frame.geometry.segmentize(size).to_crs(CRS(crs).geodetic_crs)
    expected = [geod.geometry_area_perimeter(p)[1] for p in dense]
    np.testing.assert_allclose(frame["perimeter_m"], expected, rtol=1e-5)


def test_without_a_crs_areas_are_not_known() -> None:
    m = drawn(("12",))
    frame = polygonize(m.codes, m.valid, on_grid(m, crs=None)).to_geodataframe()
    assert frame["area_m2"].isna().all()
    assert frame["perimeter_m"].isna().all()
    assert frame.crs is None


def test_no_data_only_gives_an_empty_frame() -> None:
    m = drawn(("..",))
    frame = polygonize(m.codes, m.valid, on_grid(m), legend=LEGEND).to_geodataframe()
    assert len(frame) == 0
    assert list(frame.columns) == ["class_code", "class_name", "area_m2", "pixels", "perimeter_m", "geometry"]
    assert frame.crs == CRS("EPSG:32632")


def test_a_legend_is_completed_by_what_it_lacks() -> None:
    legend = Legend.made_up((1,), {1: "class 7"})
    completed = complete_legend(legend, [7, 1, -3])
    assert completed.codes == (-3, 1, 7)
    assert completed.names == ("class -3", "class 7", "class 7'")
    assert complete_legend(LEGEND, [1, 2]) is LEGEND
    assert complete_legend(None, [4]).codes == (4,)


def test_arrays_off_the_grid_are_refused() -> None:
    m = drawn(("12",))
    with pytest.raises(
        ClassMapError, match=r"confidence has shape \(1, 1\), expected that of the grid, \(1, 2\)"
    ):
        polygonize(m.codes, m.valid, on_grid(m), confidence=np.zeros((1, 1), np.uint8))


def test_polygons_reach_arrow_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 2 GB of polygons do not fit one Arrow array with 32-bit offsets."""
    m = drawn(("1212", "2121", "1112"))
    features = polygonize(m.codes, m.valid, on_grid(m), legend=LEGEND)
    whole = features.wkb.tolist()
    for limit in (1, 200, 10_000):
        monkeypatch.setattr(features_module, "_CHUNK_BYTES", limit)
        assert features.wkb_arrow().to_pylist() == whole
    assert features.wkb_arrow().num_chunks == 1


def test_the_summary_counts_classes_and_specks() -> None:
    m = drawn(("1111", "1121", "1111", "3311"))
    features = polygonize(m.codes, m.valid, on_grid(m, crs=EQUAL_AREA), legend=LEGEND)
    rows = ClassTotals.of(features).class_rows()
    assert [(r["code"], r["name"], r["pixels"], r["polygons"]) for r in rows] == [
        (1, "water", 13, 1),
        (2, "forest", 1, 1),
        (3, "town", 2, 1),
    ]
    assert rows[0]["area_m2"] == pytest.approx(1300, rel=1e-8)
    assert ClassTotals.of(features).speck_share == pytest.approx(2 / 3)
    assert ClassTotals.of(features).hints() == ["3 polygons"], "specks among a few polygons are no worry"
    empty = polygonize(m.codes, np.zeros_like(m.valid), on_grid(m, crs=None))
    assert ClassTotals.of(empty).class_rows() == []
    assert any("empty" in line for line in ClassTotals.of(empty).hints())
    assert any("no CRS" in line for line in ClassTotals.of(empty).hints())
    assert (
        ClassTotals.of(polygonize(m.codes, m.valid, on_grid(m, crs=None))).class_rows()[0]["area_m2"] is None
    )


def test_specks_and_maps_that_are_none_get_a_hint() -> None:
    checkers = np.indices((12, 12)).sum(axis=0) % 2
    every = np.arange(20 * 20).reshape(20, 20)
    grids = (Grid(height=n, width=n, transform=Affine(10, 0, 0, 0, -10, 0), crs=None) for n in (12, 20))
    specks, values = (
        polygonize(codes, np.ones(codes.shape, np.bool_), grid)
        for codes, grid in zip((checkers, every), grids, strict=True)
    )
    assert "100% of the polygons are specks" in str(ClassTotals.of(specks).hints()[-1])
    assert '; a better model calms the map, and min_area="5px"' in str(
        ClassTotals.of(specks).hints("a better model")[-1]
    )
    assert "calms" not in str(ClassTotals.of(specks).hints()[-1]), "a foreign map has no model"
    assert "400 classes: is it a class map?" in str(ClassTotals.of(values).hints()[-1])


def test_areas_of_a_table_are_in_one_unit_that_fits() -> None:
    assert area_texts([2.5e6, 1e3, None]) == ["2.500 km²", "0.001 km²", ""]
    assert area_texts([25_000, 0.0]) == ["2.500 ha", "0.000 ha"]
    assert area_texts([7.25]) == ["7.250 m²"]
    assert area_texts([0.0]) == ["0.000 m²"]
    assert area_texts([]) == []


def test_a_real_class_map(shared: Path) -> None:
    with rasterio.open(shared / "aberystwyth_sentinel2" / "classifier_output.tif") as file:
        # A part of it: GEOS checks coverages of many holes in quadratic time.
        window = Window(400, 300, 350, 300)
        codes, transform, crs = file.read(1, window=window), file.window_transform(window), file.crs.to_wkt()
    valid = codes != 0
    height, width = codes.shape
    grid = Grid(height=height, width=width, transform=transform, crs=crs)
    frame = polygonize(codes, valid, grid).to_geodataframe()
    shapes = zip(frame.geometry, frame["class_code"], strict=True)
    burnt = rasterize(shapes, out_shape=codes.shape, transform=transform, dtype=np.int32)
    np.testing.assert_array_equal(burnt, np.where(valid, codes, 0))
    geometry = frame.geometry.to_numpy()
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    assert shapely.area(geometry).sum() == pytest.approx(valid.sum() * grid.pixel_area, rel=1e-12)
