"""Binary and multilabel models from scene to files: laws 2, 4, 9 and 12."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import shapely
import xarray
from affine import Affine
from click.testing import CliRunner
from geoseg_cli.main import group
from rasterio.features import rasterize

import geoseg
from geoseg.engine.small_regions import without_small
from geoseg.grid.legend import Legend, LegendClass
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import PredictOutputs, Writing, predict_file
from geoseg.inference.prepare import prepare_job
from geoseg.inference.segment import SegmentOutputs, segment_file
from geoseg.models.model import Model
from tests.oracle import pointwise_model, right_answer

FP32 = {"precision": "fp32"}
CLASSES = Legend(
    classes=(
        LegendClass(code=3, name="cloud", color="#f0f0f0"),
        LegendClass(code=8, name="tall grass", color="#22aa22"),
        LegendClass(code=20, name="water", color="#0000ff"),
    )
)


def multilabel(**changes: object) -> Model:
    return pointwise_model(3, CLASSES.codes, task="multilabel", legend=CLASSES.classes, **changes)


def binary(**changes: object) -> Model:
    return pointwise_model(3, (0, 1), task="binary", **changes)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sheared grid, 120 x 90 px, three uint8 bands, a corner without data."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    random = np.random.default_rng(4)
    pixels = random.integers(1, 255, (3, 24, 18)).repeat(5, axis=1).repeat(5, axis=2).astype(np.uint8)
    pixels[:, 90:, 70:] = 0
    profile = {
        "driver": "GTiff", "count": 3, "height": 120, "width": 90, "dtype": "uint8", "nodata": 0,
        "crs": "EPSG:32633", "transform": Affine(8.66, 5.0, 500000.123, 5.0, -8.66, 9900000.456),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
    return path


def truth(model: Model, scene: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """What the model says of every pixel, counted apart from the engine; no data 255."""
    with rasterio.open(scene) as dataset:
        pixels = dataset.read()
    valid = (pixels != 0).all(axis=0)
    return np.where(valid, right_answer(model, pixels)[0], 255).astype(np.uint8), valid


def test_a_multilabel_map_has_a_band_a_class_on_the_scenes_grid(scene: Path, tmp_path: Path) -> None:
    model = multilabel(thresholds=[0.3, 0.5, 0.8])
    geoseg.predict(
        scene,
        model,
        **FP32,
        output=tmp_path / "m.tif",
        confidence=tmp_path / "p.tif",
    )
    expected, valid = truth(model, scene)
    with (
        rasterio.open(tmp_path / "m.tif") as ours,
        rasterio.open(tmp_path / "p.tif") as share,
        rasterio.open(scene) as given,
    ):
        np.testing.assert_array_equal(ours.read(), expected)
        assert ours.transform == given.transform
        assert ours.descriptions == CLASSES.names
        np.testing.assert_array_equal(share.read() == 255, np.broadcast_to(~valid, expected.shape))
        assert share.descriptions[1].startswith("tall grass, confidence")
        with pytest.raises(ValueError, match="color"):
            ours.colormap(1)
    report = json.loads((tmp_path / "m.tif.run.json").read_text())
    assert {row["code"]: row["pixels"] for row in report["classes"]} == {
        c.code: int((layer == 1).sum()) for c, layer in zip(CLASSES.classes, expected, strict=True)
    }
    assert report["valid_pixels"] == valid.sum()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "m.qml", "m.tif", "m.tif.aux.xml", "m.tif.run.json", "p.tif"
    ]  # fmt: skip


def test_files_and_arrays_say_the_same(scene: Path, tmp_path: Path) -> None:
    model = multilabel()
    result = geoseg.predict(scene, model, **FP32)
    assert isinstance(result, xarray.Dataset)
    geoseg.predict(
        scene,
        model,
        **FP32,
        output=tmp_path / "m.tif",
        confidence=tmp_path / "p.tif",
    )
    with rasterio.open(tmp_path / "m.tif") as file, rasterio.open(tmp_path / "p.tif") as share:
        np.testing.assert_array_equal(result["landcover"].to_numpy(), file.read())
        stored = share.read()
        assert result.rio.transform() == file.transform
    expected = np.where(stored == 255, np.nan, stored.astype(np.float32) / 254)
    np.testing.assert_array_equal(result["confidence"].to_numpy(), expected.astype(np.float32))
    assert result["landcover"].dims == ("class", "y", "x")
    grass = result["landcover"].sel({"class": "tall grass"})
    assert int(grass["class_code"]) == 8
    assert str(grass["class_color"].item()) == model.card.classes[8].color
    np.testing.assert_array_equal(grass, truth(model, scene)[0][1])
    frames = [
        geoseg.vectorize(result),
        geoseg.vectorize(tmp_path / "m.tif", confidence=tmp_path / "p.tif"),
        geoseg.segment(scene, model, **FP32),
    ]
    for frame in frames[1:]:
        assert shapely.equals_exact(frame.geometry.to_numpy(), frames[0].geometry.to_numpy()).all()
        assert frame["class_code"].tolist() == frames[0]["class_code"].tolist()
        np.testing.assert_allclose(frame["confidence"], frames[0]["confidence"], atol=1e-12)


def test_law_4_every_layer_of_the_geopackage_is_its_band(scene: Path, tmp_path: Path) -> None:
    model = multilabel()
    outputs = SegmentOutputs(polygons=tmp_path / "l.gpkg", raster=tmp_path / "l.tif")
    geoseg.segment(scene, model, **FP32, output=outputs.polygons, raster=outputs.raster)
    whole = geoseg.segment(scene, model, **FP32)
    parts = []
    with rasterio.open(outputs.raster) as raster:
        for c, layer in zip(CLASSES.classes, raster.read(), strict=True):
            frame = geopandas.read_file(outputs.polygons, layer=c.name)
            burned = rasterize(
                frame.geometry, out_shape=layer.shape, transform=raster.transform, dtype=np.uint8
            )
            np.testing.assert_array_equal(burned, layer == 1)
            assert set(frame["class_code"]) == {c.code}
            assert set(frame["class_name"]) == {c.name}
            assert frame.crs == raster.crs
            parts.append(frame)
    together = [shape for frame in parts for shape in frame.geometry]
    assert shapely.equals_exact(whole.geometry.to_numpy(), np.array(together)).all()
    report = json.loads(Path(f"{outputs.polygons}.run.json").read_text())
    assert [row["polygons"] for row in report["classes"]] == [len(frame) for frame in parts]


def test_a_binary_map_is_a_class_map_of_0_and_1(scene: Path, tmp_path: Path) -> None:
    model = binary(thresholds=[0.7])
    outputs = SegmentOutputs(polygons=tmp_path / "l.gpkg", raster=tmp_path / "l.tif")
    geoseg.segment(scene, model, **FP32, output=outputs.polygons, raster=outputs.raster)
    expected, valid = truth(model, scene)
    with rasterio.open(outputs.raster) as raster:
        np.testing.assert_array_equal(raster.read(1), expected)
        assert raster.count == 1
        assert set(np.unique(expected)) == {0, 1, 255}
    frame = geopandas.read_file(outputs.polygons, layer="landcover")
    assert set(frame["class_code"]) == {0, 1}
    assert frame["pixels"].sum() == valid.sum()
    again = geoseg.vectorize(outputs.raster)
    assert shapely.equals_exact(again.geometry.to_numpy(), frame.geometry.to_numpy()).all()


def test_a_scene_without_the_one_class_is_no_surprise(tmp_path: Path) -> None:
    pixels = np.full((3, 20, 30), 7, dtype=np.uint8)
    for name, model in (("b.tif", binary()), ("m.tif", multilabel())):
        geoseg.predict(pixels, model, **FP32, output=tmp_path / name)
        assert json.loads((tmp_path / f"{name}.run.json").read_text())["notes"] == []


class Stop(Exception):
    """What a test does instead of pulling the plug."""


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("command", ["predict", "segment"])
def test_a_run_that_was_stopped_goes_on_and_gives_the_same_bytes(
    scene: Path, tmp_path: Path, after: int, command: str
) -> None:
    model = multilabel()
    names = ["m.tif", "p.tif"] if command == "predict" else ["l.gpkg", "l.tif", "p.tif"]

    def work(folder: Path, stop_after: int | None) -> None:
        calls = 0

        def progress(done: int, total: int, label: str) -> None:
            nonlocal calls
            calls += 1
            if stop_after is not None and calls > stop_after:
                raise Stop

        folder.mkdir(exist_ok=True)
        job = prepare_job(scene, model, PredictOptions(**FP32))
        if command == "predict":
            outputs = PredictOutputs(classes=folder / "m.tif", confidence=folder / "p.tif")
            predict_file(job, outputs, Writing(), progress)
        else:
            outputs = SegmentOutputs(
                polygons=folder / "l.gpkg", raster=folder / "l.tif", confidence=folder / "p.tif"
            )
            segment_file(job, outputs, Writing(), progress)

    with pytest.raises(Stop):
        work(tmp_path / "stopped", after)
    (part,) = (tmp_path / "stopped").glob("*.geoseg-part")
    assert len(list(part.glob("strip-*"))) >= after
    work(tmp_path / "stopped", None)
    work(tmp_path / "whole", None)
    for name in names:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.long
def test_the_command_line_writes_prints_and_describes_it(scene: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=CLASSES,
        task="multilabel",
        tile_size=64,
        overlap=16,
        decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    ).save(model)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(group, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.stderr
        return result.stdout + result.stderr

    written = run("predict", scene, "-m", model, "-o", tmp_path / "m.tif")
    assert "tall grass" in written
    told = json.loads(run("info", tmp_path / "m.tif", "--json"))
    assert told["kind"] == "multilabel map"
    assert [row["name"] for row in told["classes"]] == list(CLASSES.names)
    report = json.loads((tmp_path / "m.tif.run.json").read_text())
    counts = {row["code"]: row["pixels"] for row in report["classes"]}
    assert {row["code"]: row["pixels"] for row in told["classes"] if row["pixels"]} == counts
    assert told["valid_pixels"] == report["valid_pixels"]
    run("vectorize", tmp_path / "m.tif", "-o", tmp_path / "v.gpkg")
    run("segment", scene, "-m", model, "-o", tmp_path / "s.gpkg", "--output-layer", "north")
    assert {name for name, _ in pyogrio.list_layers(tmp_path / "v.gpkg")} == {*CLASSES.names, "layer_styles"}
    described = json.loads(run("info", tmp_path / "s.gpkg", "--json"))
    assert [layer["name"] for layer in described["layers"]] == sorted(f"north {n}" for n in CLASSES.names)
    assert all(layer["style"] for layer in described["layers"])


@pytest.mark.parametrize(
    "model", [binary(thresholds=[0.9], min_regions=(60,)), multilabel(min_regions=(0, 60, 300))]
)
def test_regions_that_the_card_calls_too_small_are_in_no_product(
    scene: Path, tmp_path: Path, model: Model
) -> None:
    options: dict[str, Any] = {"precision": "fp32", "tile_size": 32, "overlap": 8, "batch_size": 1}
    whole, valid = truth(model, scene)
    layers = whole.reshape(-1, *valid.shape)
    kept = without_small(layers == 1, model.card.region_sizes)
    expected = np.where((layers == 1) & ~kept, 0, layers).reshape(whole.shape)
    assert (expected != whole).any()
    geoseg.predict(scene, model, **options, output=tmp_path / "m.tif", confidence=tmp_path / "p.tif")
    in_memory = geoseg.predict(scene, model, **options)
    with rasterio.open(tmp_path / "m.tif") as file, rasterio.open(tmp_path / "p.tif") as share:
        codes, confidence = (each.read().reshape(whole.shape) for each in (file, share))
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(in_memory.landcover, expected)
    every = Model(model.card.changed(min_regions=None), model.network)
    unfiltered = geoseg.predict(scene, every, **options)
    before = np.where(whole == 255, 255, np.round(unfiltered.confidence.fillna(0) * 254)).astype(int)
    np.testing.assert_array_equal(confidence, np.where(expected != whole, 254 - before, before))
    polygons = geoseg.segment(scene, model, **options)
    geoseg.segment(scene, model, **options, output=tmp_path / "p.gpkg")
    written = pyogrio.list_layers(tmp_path / "p.gpkg")[:, 0]
    there = sum(
        int(pyogrio.read_dataframe(tmp_path / "p.gpkg", layer=name).pixels.sum())
        for name in written
        if name != "layer_styles"
    )
    counted = int(valid.sum()) if model.card.task == "binary" else int((expected == 1).sum())
    assert polygons.pixels.sum() == there == counted
