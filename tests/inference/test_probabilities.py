"""Probabilities as a product, and what else `predict` may be asked for beside its map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import rasterio
import xarray
from affine import Affine

import geoseg
from geoseg.errors import GeosegError, OptionError, ResumeError
from geoseg.grid.legend import Legend
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from tests.oracle import pointwise_model, right_answer

FP32 = {"precision": "fp32", "batch_size": 2}
TASKS = {
    "multiclass": pointwise_model(codes=(10, 30, 200)),
    "binary": pointwise_model(codes=(0, 1), task="binary", thresholds=[0.8]),
    "multilabel": pointwise_model(codes=(3, 5, 8), task="multilabel", thresholds=[0.3, 0.5, 0.7]),
}


def scene(height: int = 90, width: int = 70) -> ArraySource:
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (3, height, width), dtype=np.uint8)
    valid = generator.random((height, width)) > 0.2
    valid[:20, :30] = False
    return ArraySource.of(pixels, valid=valid)


def outputs(folder: Path, **more: Any) -> dict[str, Any]:
    return {"output": folder / "c.tif", "probabilities": folder / "p.tif", **more}


@pytest.mark.parametrize("storage", ["uint8", "float16"])
@pytest.mark.parametrize("task", TASKS)
def test_a_band_for_each_class_holds_its_probability(task: str, storage: Any, tmp_path: Path) -> None:
    model, source = TASKS[task], scene()
    geoseg.predict(source, model, **FP32, **outputs(tmp_path, storage=storage))
    expected = right_answer(model, source.pixels)[1]
    if task == "binary":
        expected = np.concatenate([1 - expected, expected])
    with rasterio.open(tmp_path / "p.tif") as file:
        found = file.read()
        assert file.dtypes == ({"uint8": "uint8", "float16": "float32"}[storage],) * len(expected)
        assert file.descriptions == tuple(f"{c.name}, probability" for c in model.card.classes.classes)
    valid = source.known_valid
    if storage == "uint8":
        assert (found[:, ~valid] == 255).all()
        assert np.abs(found - expected * 254)[:, valid].max() <= 0.5 + 1e-3
    else:
        assert np.isnan(found[:, ~valid]).all()
        assert np.abs(found - expected)[:, valid].max() <= 2**-11  # half a step of halves between 1/2 and 1


@pytest.mark.parametrize("task", TASKS)
def test_the_dataset_holds_them_in_memory_and_lazily(task: str, tmp_path: Path) -> None:
    model, source = TASKS[task], scene()
    expected = right_answer(model, source.pixels)[1]
    if task == "binary":
        expected = np.concatenate([1 - expected, expected])
    found = geoseg.predict(source, model, **FP32, probabilities=True)
    shares = found["probabilities"]
    assert (shares.dims, shares.dtype) == (("class", "y", "x"), np.float32)
    assert found["class_code"].to_numpy().tolist() == list(model.card.classes.codes)
    assert np.isnan(shares.to_numpy()[:, ~source.known_valid]).all()
    assert np.abs(shares.to_numpy() - expected)[:, source.known_valid].max() <= 1e-6
    plain = geoseg.predict(source, model, **FP32)
    xarray.testing.assert_identical(found[["landcover", "confidence"]].drop_vars("class", errors="ignore").drop_vars(
        ["class_code", "class_color"], errors="ignore"
    ), plain.drop_vars(["class", "class_code", "class_color"], errors="ignore"))  # fmt: skip
    masked = np.where(source.known_valid, source.pixels, np.nan).astype(np.float32)
    times = np.stack([masked, masked[:, ::-1]])
    array = dask.array.from_array(times, chunks=(1, 3, 32, 41))
    lazy = geoseg.predict(
        xarray.DataArray(array, dims=("time", "band", "y", "x")), model,
        **{**FP32, "force": True}, probabilities=True,
    )  # fmt: skip
    assert lazy["probabilities"].dims == ("time", "class", "y", "x")
    assert lazy["probabilities"].shape == (2, *expected.shape)
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(computed["probabilities"][0], shares, atol=1e-6)
    np.testing.assert_allclose(computed["probabilities"][1], shares[:, ::-1], atol=1e-6)
    np.testing.assert_array_equal(computed["landcover"][0], found["landcover"])


@pytest.mark.parametrize("task", TASKS)
def test_segment_writes_the_same_ones(task: str, tmp_path: Path) -> None:
    model, source = TASKS[task], scene()
    geoseg.predict(source, model, **FP32, **outputs(tmp_path, storage="float16"))
    kept = {"output": tmp_path / "l.gpkg", "probabilities": tmp_path / "kept.tif"}
    geoseg.segment(source, model, **FP32, **kept, storage="float16")
    assert (tmp_path / "kept.tif").read_bytes() == (tmp_path / "p.tif").read_bytes()
    with pytest.raises(OptionError, match="storage is 'float32'"):
        geoseg.segment(source, model, **kept, storage="float32")  # type: ignore[arg-type]


def test_bands_are_in_the_order_of_the_codes_whatever_the_networks_order(tmp_path: Path) -> None:
    straight = TASKS["multiclass"]
    network = torch_reordered(straight, [2, 0, 1])
    turned = Model(straight.card.changed(channels=[200, 10, 30]), network)
    found = []
    for name, model in (("a", straight), ("b", turned)):
        (tmp_path / name).mkdir()
        geoseg.predict(scene(), model, **FP32, **outputs(tmp_path / name))
        with rasterio.open(tmp_path / name / "p.tif") as file:
            found.append(file.read())
    np.testing.assert_array_equal(*found)


def torch_reordered(model: Model, order: list[int]) -> Any:
    from tests.oracle import Pointwise

    turned = Pointwise(3, len(order), 1)
    turned.load_state_dict({name: value[order] for name, value in model.network.state_dict().items()})
    return turned.eval()


@pytest.mark.parametrize("storage", ["uint8", "float16"])
def test_vectorize_takes_them_for_the_second_class(storage: Any, tmp_path: Path) -> None:
    model = TASKS["multiclass"]
    coarse = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    source = ArraySource.of(coarse.repeat(8, axis=1).repeat(8, axis=2))
    geoseg.predict(source, model, **FP32, **outputs(tmp_path, storage=storage))
    options = {"probabilities": tmp_path / "p.tif"}
    frame = geoseg.vectorize(tmp_path / "c.tif", **options)
    assert len(frame)
    names = {c.name for c in model.card.classes.classes}
    assert set(frame["second_name"]) <= names
    assert (frame["second_name"] != frame["class_name"]).all()


class Stop(Exception):
    """What a test does instead of pulling the plug."""


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("storage", ["uint8", "float16"])
def test_going_on_gives_the_same_bytes(storage: Any, after: int, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    model = TASKS["multiclass"]
    whole, torn = (outputs(folder, storage=storage) for folder in (tmp_path / "whole", tmp_path))
    geoseg.predict(scene(), model, **FP32, **whole)
    calls = 0

    def progress(done: int, total: int, label: str) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Stop

    with pytest.raises(Stop):
        geoseg.predict(scene(), model, **FP32, **torn, progress=progress)
    other = outputs(tmp_path, storage={"uint8": "float16", "float16": "uint8"}[storage])
    with pytest.raises(ResumeError, match="storage"):
        geoseg.predict(scene(), model, **FP32, **other)
    geoseg.predict(scene(), model, **FP32, **torn)
    for name in ("c.tif", "p.tif"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob("*geoseg-*"))


def test_they_need_room_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.inference.run._BYTES_PER_PIXEL", 0)
    monkeypatch.setattr("geoseg.storage.space.shutil.disk_usage", lambda _: type("Usage", (), {"free": 0.0}))
    for storage, megabytes in (("uint8", 12), ("float16", 36)):
        with pytest.raises(GeosegError, match=rf"may need {megabytes}\.0 MB"):
            source = ArraySource.of(np.zeros((3, 1000, 1000), dtype=np.uint8))
            geoseg.predict(source, TASKS["multiclass"], **FP32, **outputs(tmp_path, storage=storage))
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="storage is 'float64', expected one of uint8, float16"):
        geoseg.predict("no.tif", "no.safetensors", **outputs(tmp_path, storage="float64"))
    with pytest.raises(OptionError, match="written as GeoTIFF"):
        geoseg.predict(
            "no.tif", "no.safetensors", output=tmp_path / "c.tif", probabilities=tmp_path / "p.png"
        )


def network() -> Model:
    """A small network that is no equivariant one."""
    return Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["a", "b", "c"],
        classes=Legend.parse("x,y,z"),
        decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
        tile_size=32,
        overlap=8,
    )


def test_the_symmetries_are_part_of_the_work_and_the_profile_is_not(tmp_path: Path) -> None:
    """What tells two runs apart is in the fingerprint; whether somebody looks on is not."""
    model = network()
    maps, reports = {}, {}
    for name, options in {
        "plain": FP32,
        "profile": {**FP32, "profile": True},
        "tta": {**FP32, "tta": True},
    }.items():
        geoseg.predict(scene(), model, **options, output=tmp_path / f"{name}.tif")
        maps[name] = rasterio.open(tmp_path / f"{name}.tif").read()
        reports[name] = json.loads((tmp_path / f"{name}.tif.run.json").read_text())
    np.testing.assert_array_equal(maps["plain"], maps["profile"])
    assert (maps["plain"] != maps["tta"]).any()
    plain, profile, tta = (reports[name]["fingerprint"]["options"] for name in ("plain", "profile", "tta"))
    assert plain == profile
    assert plain | {"tta": True} == tta
    assert "profile" not in reports["plain"]
    assert set(reports["profile"]["profile"]) == {"read", "upload", "model", "stitch", "write", "idle"}
    assert reports["tta"]["settings"]["tta"] is True
    assert rasterio.open(tmp_path / "tta.tif").transform == Affine.identity()
