"""One row a class: the areas of all of its polygons, grown together across the seam of tiles that were appended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from geoseg.errors import LegendError, OptionError
from geoseg.grid.legend import Legend
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.rasterize import rasterize
from geoseg.vector.vectorize import vectorize
from tests.polygons.test_proof import multilabel, said
from tests.vector.test_vectorize import write_raster
from tests.vectorfiles.conftest import SOUTH, codes_of
from tests.vectorfiles.test_appending import LEGEND, WIDER, style_of

MULTI = {"multipolygon": True}


def test_a_class_is_one_row(tmp_path: Path, north: Path) -> None:
    single = vectorize(north, legend=LEGEND, confidence=np.full((30, 40), 0.5, np.float32))
    share = np.random.default_rng(3).random((30, 40)).astype(np.float32)
    rows = vectorize(north, legend=LEGEND, **MULTI, confidence=share)
    assert rows["class_code"].tolist() == [1, 2, 3]
    assert rows["class_name"].tolist() == ["water", "forest", "town"]
    sums = single.groupby("class_code")[["area_m2", "pixels", "perimeter_m"]].sum()
    np.testing.assert_allclose(rows[["area_m2", "pixels", "perimeter_m"]], sums, rtol=1e-12)
    means = [share[codes_of(1) == code].mean() for code in (1, 2, 3)]
    np.testing.assert_allclose(rows["confidence"], means, atol=1 / 254)
    assert rows.is_valid.all()
    np.testing.assert_allclose(rows.area, single.dissolve("class_code").area)
    path = vectorize(north, legend=LEGEND, **MULTI, output=tmp_path / "a.gpkg")
    found = gpd.read_file(path, layer="landcover")
    assert found["pixels"].tolist() == [(codes_of(1) == code).sum() for code in (1, 2, 3)]
    assert pyogrio.read_info(path, layer="landcover")["geometry_type"] == "MultiPolygon"
    assert style_of(path) == [("1", "water"), ("2", "forest"), ("3", "town")]
    np.testing.assert_array_equal(rasterize(path).to_numpy(), np.where(codes_of(1), codes_of(1), 255))


def test_appended_tiles_grow_together(tmp_path: Path, north: Path, south: Path) -> None:
    """Whether the first tile was one row a class or a row a polygon."""
    both = np.concatenate([codes_of(1), codes_of(2, 4)])
    whole = write_raster(tmp_path / "in" / "both.tif", both, nodata=0)
    single = vectorize(whole, legend=WIDER)
    for name, options in (("a.gpkg", MULTI), ("b.gpkg", {})):
        path = vectorize(north, legend=LEGEND, **options, output=tmp_path / name)
        vectorize(south, legend=WIDER, **MULTI, output=path, append=True)
        found = gpd.read_file(path, layer="landcover")
        assert found["class_code"].tolist() == [1, 2, 3, 4]
        assert len(said(path)) == 2  # of each tile what is known
        with pytest.raises(OptionError, match="duplicate=True"):
            vectorize(south, legend=WIDER, **MULTI, output=path, append=True)
        assert found["pixels"].tolist() == [(both == code).sum() for code in (1, 2, 3, 4)]
        parts = [len(shape.geoms) for shape in found.geometry]
        assert parts == [(single["class_code"] == code).sum() for code in (1, 2, 3, 4)]
        expected = single.dissolve("class_code")
        assert found.geometry.geom_equals(expected.geometry.reset_index(drop=True)).all()
        np.testing.assert_allclose(found["area_m2"], single.groupby("class_code")["area_m2"].sum(), rtol=1e-9)
        seam = [((both[29] == code) & (both[30] == code)).any() for code in (1, 2, 3, 4)]
        assert found["perimeter_m"].isna().tolist() == seam
        assert True in seam
        assert style_of(path) == [("1", "water"), ("2", "forest"), ("3", "town"), ("4", "rock")]
        tall = rasterize(path, resolution=10)
        assert (tall.to_numpy()[tall != 255] == both[both > 0]).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "b.gpkg", "in"]


def test_maps_that_overlap_have_no_area_together(
    tmp_path: Path, north: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="geoseg")
    shifted = write_raster(
        tmp_path / "in" / "o.tif", codes_of(5), SOUTH @ Affine.translation(0, -10), nodata=0
    )
    path = vectorize(north, legend=LEGEND, **MULTI, output=tmp_path / "a.gpkg")
    vectorize(shifted, legend=LEGEND, **MULTI, output=path, append=True)
    found = gpd.read_file(path, layer="landcover")
    assert found[["area_m2", "pixels"]].isna().all(axis=None)
    assert "polygons of 3 classes overlap what is there; their areas and pixels are empty" in caplog.text


def test_other_layers_stay_and_layers_of_classes_have_a_row(tmp_path: Path, north: Path) -> None:
    path = vectorize(north, legend=LEGEND, output=tmp_path / "a.gpkg", layer="other")
    vectorize(multilabel(), output=path, append=True, **MULTI)
    frame = vectorize(multilabel())
    for name, code in (("cloud & fog", 0), ("water", 7), ("roof>", 9)):
        found = gpd.read_file(path, layer=name)
        expected = frame[frame["class_code"] == code]
        assert len(found) == min(len(expected), 1)
        assert found["pixels"].sum() == expected["pixels"].sum()
    assert len(gpd.read_file(path, layer="other")) == len(vectorize(north))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "a.parquet"}, "multipolygons are written as a GeoPackage, expected a name in .gpkg"),
        ({"output": "a.shp"}, "a Shapefile cuts the names of columns at ten letters"),
        ({"legend": Legend.parse("a,b,c"), "append": True}, "calls code 1 'water', the map 'a'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, north: Path, change: dict[str, Any], message: str) -> None:
    path = vectorize(north, legend=LEGEND, output=tmp_path / "b.gpkg")
    content = path.read_bytes()
    options = {"legend": LEGEND, **MULTI} | change
    options["output"] = tmp_path / options.get("output", "b.gpkg")
    with pytest.raises((OptionError, LegendError), match=message):
        vectorize(north, **options)
    assert path.read_bytes() == content
    with pytest.raises(OptionError, match="leave out probabilities or multipolygon"):
        VectorizeOptions(multipolygon=True, probabilities=np.zeros((3, 30, 40)))


def test_polygons_that_touch_at_corners_stay_valid() -> None:
    rows = vectorize(np.array([[1, 2], [2, 1]], np.uint8), **MULTI)
    assert rows.is_valid.all()
    assert shapely.area(rows.geometry).tolist() == [2, 2]
