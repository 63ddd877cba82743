"""`segment` on real files: laws 4, 9 and 12."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

import geoseg
from geoseg.errors import OptionError, OutputExistsError
from geoseg.inference import run
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import Writing
from geoseg.inference.prepare import prepare_job
from geoseg.inference.segment import SegmentOutputs, segment_file
from geoseg.storage.run_record import RunRecord
from geoseg.vector.options import VectorizeOptions

FP32 = {"precision": "fp32"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, scene_file: Path, model_file: Path) -> SegmentOutputs:
    folder = tmp_path_factory.mktemp("segment")
    outputs = SegmentOutputs(polygons=folder / "l.gpkg", raster=folder / "l.tif", confidence=folder / "p.tif")
    geoseg.segment(
        scene_file,
        model_file,
        **FP32,
        output=outputs.polygons,
        raster=outputs.raster,
        confidence=outputs.confidence,
    )
    return outputs


def test_the_polygons_are_the_class_map(written: SegmentOutputs) -> None:
    frame = geopandas.read_file(written.polygons, layer="landcover")
    with rasterio.open(written.raster) as raster:
        codes = raster.read(1)
        burned = rasterize(
            zip(frame.geometry, frame["class_code"], strict=True),
            out_shape=raster.shape,
            transform=raster.transform,
            fill=255,
            dtype="uint8",
        )
        assert frame.crs == raster.crs
        area = abs(raster.transform.determinant)
    np.testing.assert_array_equal(burned, codes)
    assert frame.geometry.is_valid.all()
    assert frame["pixels"].sum() == (codes != 255).sum()
    assert frame.geometry.area.sum() == pytest.approx((codes != 255).sum() * area, rel=1e-9)
    pixels = geopandas.GeoSeries(frame.geometry.affine_transform(_shapely(~raster.transform)))
    whole = shapely.set_precision(pixels.to_numpy(), 0)
    rounded = shapely.transform(whole, np.round)
    assert shapely.coverage_is_valid(rounded)


def _shapely(t: rasterio.Affine) -> list[float]:
    return [t.a, t.b, t.d, t.e, t.c, t.f]


def test_confidence_is_the_mean_of_the_raster(written: SegmentOutputs) -> None:
    frame = geopandas.read_file(written.polygons, layer="landcover")
    with rasterio.open(written.confidence) as raster:
        stored = raster.read(1)
        ids = rasterize(
            zip(frame.geometry, range(1, len(frame) + 1), strict=True),
            out_shape=raster.shape,
            transform=raster.transform,
            dtype="int32",
        )
    sums = np.bincount(ids.ravel(), weights=stored.ravel().astype(float), minlength=len(frame) + 1)[1:]
    np.testing.assert_allclose(frame["confidence"], sums / frame["pixels"] / 254, atol=1e-12)


def test_api_and_file_agree(written: SegmentOutputs, scene_file: Path, model_file: Path) -> None:
    ours = geoseg.segment(scene_file, model_file, **FP32)
    theirs = geopandas.read_file(written.polygons, layer="landcover")
    assert list(ours.columns[:5]) == ["class_code", "class_name", "area_m2", "pixels", "confidence"]
    for column in ours.columns.drop("geometry"):
        np.testing.assert_array_equal(ours[column], theirs[column])
    assert shapely.equals_exact(ours.geometry.to_numpy(), theirs.geometry.to_numpy()).all()


def test_equal_work_gives_equal_bytes(
    written: SegmentOutputs, scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    geoseg.segment(scene_file, model_file, **FP32, output=tmp_path / "l.gpkg")
    assert (tmp_path / "l.gpkg").read_bytes() == written.polygons.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["l.gpkg", "l.gpkg.run.json"]


def test_the_vectorized_class_map_is_the_segmented_scene(written: SegmentOutputs) -> None:
    again = geoseg.vectorize(written.raster, confidence=written.confidence)
    theirs = geopandas.read_file(written.polygons, layer="landcover")
    assert shapely.equals_exact(again.geometry.to_numpy(), theirs.geometry.to_numpy()).all()
    np.testing.assert_array_equal(again["class_name"], theirs["class_name"])


DRAWN = {"min_area": "9px", "simplify": "1px", "smooth": True, "classes": ["forest", 3], "scene_name": "A"}


def test_polygons_are_drawn_as_vectorize_draws_them_in_every_format(
    written: SegmentOutputs, scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    ours = geoseg.segment(scene_file, model_file, **FP32, **DRAWN)
    assert set(ours["class_name"]) == {"forest", "town"}
    assert (ours["pixels"].min(), set(ours["scene"])) >= (9, {"A"})
    for ending in (".gpkg", ".parquet", ".fgb", ".geojson"):
        file, expected = tmp_path / f"s{ending}", tmp_path / f"v{ending}"
        geoseg.segment(scene_file, model_file, **FP32, **DRAWN, output=file)
        geoseg.vectorize(written.raster, confidence=written.confidence, **DRAWN, output=expected)
        if ending != ".gpkg":  # which also says by which model
            assert file.read_bytes() == expected.read_bytes(), ending
            continue
        stored, other = (geopandas.read_file(path, layer="landcover") for path in (file, expected))
        assert stored.equals(other)
        for column in ours.columns.drop("geometry"):
            np.testing.assert_array_equal(stored[column], ours[column])
    report = json.loads((tmp_path / "s.gpkg.run.json").read_text())
    with rasterio.open(written.raster) as raster:
        assert report["valid_pixels"] == (raster.read(1) != 255).sum()


def test_polygons_that_cannot_be_drawn_or_written_are_refused_before_the_work(
    scene_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(run, "load_checked", never)
    pixels = np.ones((3, 70, 70), dtype=np.uint8)
    for scene, drawn, name, said in (
        (scene_file, {"classes": ["lake"]}, "l.gpkg", "the map has no class 'lake'"),
        (pixels, {"min_area": "5m2"}, "l.gpkg", "m2|CRS"),
        (pixels, {"simplify": "5m"}, "l.gpkg", "CRS|units"),
        (pixels, {}, "l.geojson", "GeoJSON is in longitude and latitude, and the map has no CRS"),
    ):
        for output in (tmp_path / name, None) if drawn else (tmp_path / name,):
            with pytest.raises(OptionError, match=said):
                geoseg.segment(scene, model_file, **drawn, output=output)
    with pytest.raises(OptionError, match="expected a name that ends in"):
        geoseg.segment(scene_file, model_file, output=tmp_path / "l.shp")
    assert list(tmp_path.iterdir()) == []


def test_the_same_call_finishes_what_is_missing(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    outputs = SegmentOutputs(polygons=tmp_path / "l.gpkg", raster=tmp_path / "l.tif")

    def again(outputs: SegmentOutputs = outputs) -> RunRecord:
        return segment_file(prepare_job(scene_file, model_file, PredictOptions(**FP32)), outputs, Writing())

    first = again()
    content = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".json"}
    assert (first.before, again().before) == (False, True)
    (tmp_path / "l.tif").unlink()
    stamp = outputs.polygons.stat().st_mtime_ns
    assert again().classes == first.classes
    assert outputs.polygons.stat().st_mtime_ns == stamp, "it may have been edited since"
    outputs.polygons.unlink()
    assert again().classes == first.classes
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".json"} == content
    assert again().before
    with pytest.raises(OutputExistsError):
        again(replace(outputs, drawn=VectorizeOptions(min_area="9px")))


def test_a_scene_without_data_gives_an_empty_layer(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    with rasterio.open(scene_file) as scene, rasterio.open(tmp_path / "e.tif", "w", **scene.profile) as empty:
        empty.write(np.zeros((3, 150, 200), dtype=np.uint8))
        for number, name in enumerate(scene.descriptions, start=1):
            empty.set_band_description(number, name)
    geoseg.segment(tmp_path / "e.tif", model_file, output=tmp_path / "e.gpkg")
    info = pyogrio.read_info(tmp_path / "e.gpkg", layer="landcover")
    assert (info["features"], info["geometry_type"]) == (0, "Polygon")


def test_bad_layer_names_and_existing_files_are_found_first(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError):
        geoseg.segment(scene_file, model_file, output=tmp_path / "l.gpkg", layer="gpkg_mine")
    (tmp_path / "l.tif").write_text("mine")
    with pytest.raises(OutputExistsError):
        geoseg.segment(scene_file, model_file, output=tmp_path / "l.gpkg", raster=tmp_path / "l.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["l.tif"]
    geoseg.segment(
        scene_file, model_file, output=tmp_path / "l.gpkg", raster=tmp_path / "l.tif", overwrite=True
    )


def test_overwriting_a_geopackage_keeps_what_else_it_holds(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "l.gpkg"
    mine = geopandas.GeoDataFrame({"name": ["A 1"]}, geometry=[shapely.Point(1, 2)], crs=32632)
    mine.to_file(path, layer="mine", driver="GPKG")
    for _ in range(2):
        geoseg.segment(scene_file, model_file, output=path, overwrite=True)
        assert geopandas.read_file(path, layer="mine")["name"].tolist() == ["A 1"]
        features = pyogrio.read_info(path, layer="landcover")["features"]
    assert features == len(geoseg.segment(scene_file, model_file))


def test_products_that_a_kill_left_renamed_are_replaced_by_the_same_command(
    written: SegmentOutputs, scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    job = prepare_job(scene_file, model_file, PredictOptions(**FP32))
    outputs = SegmentOutputs(polygons=tmp_path / "l.gpkg", raster=tmp_path / "l.tif")

    def progress(done: int, total: int, what: str) -> None:
        if what == "vectorize":
            raise SystemExit(143)  # as SIGTERM does, once the class map has its name

    with pytest.raises(SystemExit):
        segment_file(job, outputs, Writing(), progress)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "l.gpkg.geoseg-part",
        "l.qml",
        "l.tif",
        "l.tif.aux.xml",
    ]
    segment_file(job, outputs, Writing())
    for name in ("l.gpkg", "l.tif"):
        assert (tmp_path / name).read_bytes() == written.polygons.with_name(name).read_bytes()
    assert not list(tmp_path.glob("*.geoseg-*"))
