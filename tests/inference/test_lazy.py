"""Lazy scenes: the bytes of eager ones, computed where they are wanted."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import torch
import xarray
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import geoseg
from geoseg.errors import GeosegError, MismatchError, OptionError, SceneError
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.inference.fingerprint import fingerprint_of
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import prepare_job
from geoseg.models.model import Model
from tests.oracle import Pointwise, pointwise_model

FP32 = {"precision": "fp32"}
BANDS = ["red", "green", "blue"]


def predict(scene: Any, model: Any, options: dict[str, Any] = FP32) -> xarray.Dataset:
    result = geoseg.predict(scene, model, **options)
    assert isinstance(result, xarray.Dataset)
    return result


def is_lazy(result: xarray.Dataset) -> bool:
    return all(dask.is_dask_collection(result[name].data) for name in ("landcover", "confidence"))


def assert_same(lazy: xarray.Dataset, eager: xarray.Dataset) -> None:
    """Numbers, places and attributes."""
    assert is_lazy(lazy)
    assert not is_lazy(eager)
    xarray.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


def opened(path: Path, **options: Any) -> xarray.DataArray:
    array = rioxarray.open_rasterio(path, **options)
    assert isinstance(array, xarray.DataArray)
    return array


def scene(pixels: np.ndarray, *, nodata: float | None = None) -> xarray.DataArray:
    """A plain lattice with a CRS."""
    array = xarray.DataArray(
        pixels,
        dims=("band", "y", "x"),
        coords={
            "y": 5e6 - 10 * (np.arange(pixels.shape[1]) + 0.5),
            "x": 4e5 + 10 * (np.arange(pixels.shape[2]) + 0.5),
        },
    ).rio.write_crs(32633)
    if 1 in pixels.shape[1:]:  # the coordinate of a single pixel does not tell its size
        array = array.rio.write_transform(Affine(10, 0, 4e5, 0, -10, 5e6))
    return array if nodata is None else array.rio.write_nodata(nodata)


def noise(shape: tuple[int, ...] = (3, 50, 70), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, shape).astype(np.uint8)


class Counting(Pointwise):
    """Counts the tiles that it sees; what batches are filled with does not count."""

    seen = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.seen += int((inputs != 0).flatten(1).any(dim=1).sum())
        return super().forward(inputs)


def counting() -> tuple[Model, Counting]:
    model = pointwise_model(3)
    network = Counting(3, 3, 1)
    network.load_state_dict(model.network.state_dict())
    return Model(model.card, network.eval()), network


@pytest.mark.parametrize("chunk", [40, 64, 200])
def test_a_network_gives_the_bytes_of_the_whole_file(
    scene_file: Path, model_file: Path, tmp_path: Path, chunk: int
) -> None:
    """With one batch size: what a convolution rounds may depend on it."""
    options = {"precision": "fp32", "batch_size": 4}
    lazy = predict(opened(scene_file, chunks={"x": chunk, "y": chunk}), model_file, options)
    assert lazy["landcover"].chunksizes["x"][0] == chunk
    eager = predict(opened(scene_file), model_file, options)
    assert_same(lazy, eager)
    written = geoseg.predict(scene_file, model_file, **options, output=tmp_path / "map.tif")
    with rasterio.open(written) as file:
        np.testing.assert_array_equal(file.read(1), eager["landcover"])
    assert 0 < (eager["landcover"] == 255).mean() < 1


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_whichever_scheduler(scene_file: Path, model_file: Path, scheduler: str) -> None:
    lazy = predict(opened(scene_file, chunks={"x": 64, "y": 64}), Model.open(model_file))
    one, two = lazy.compute(scheduler=scheduler), predict(opened(scene_file), model_file)
    np.testing.assert_array_equal(one["landcover"], two["landcover"])
    np.testing.assert_allclose(one["confidence"], two["confidence"], atol=1.01 / 254)


@settings(max_examples=15)
@given(data=st.data())
def test_no_chunking_changes_what_a_pointwise_model_says(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)), label="shape")
    size = data.draw(st.integers(1, 20), label="size")
    options = {
        "precision": "fp32",
        "tile_size": size,
        "overlap": data.draw(st.integers(0, size // 2), label="overlap"),
        "batch_size": data.draw(st.sampled_from([None, 1, 3]), label="batch"),
    }
    chunks = [data.draw(cuts(edge), label="chunks") for edge in shape]
    holes = data.draw(st.integers(0, 3), label="holes")
    pixels = noise((3, *shape)) % (30 if holes else 250) + (0 if holes > 1 else 1)
    array = scene(pixels, nodata=0)
    model = pointwise_model(3, value_range=(0, 255))
    lazy = predict(array.chunk(y=chunks[0], x=chunks[1]), model, options)
    eager = predict(array, model, {"precision": "fp32", "tile_size": 16, "force": True})
    assert lazy["landcover"].chunksizes == {"y": chunks[0], "x": chunks[1]}
    found = lazy.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found["landcover"], eager["landcover"])
    np.testing.assert_allclose(found["confidence"], eager["confidence"], atol=1.01 / 254)


def cuts(edge: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Any chunks of an edge."""
    inner = st.sets(st.integers(1, edge - 1), max_size=3) if edge > 1 else st.just(set())
    return inner.map(lambda at: tuple(np.diff([0, *sorted(at), edge]).tolist()))


def test_floats_with_nan_are_whole_numbers_with_no_data(scene_file: Path, model_file: Path) -> None:
    masked = opened(scene_file, masked=True)
    assert masked.dtype == np.float32
    lazy = predict(masked.chunk(x=64, y=100), model_file, {"precision": "fp32", "batch_size": 2})
    eager = predict(opened(scene_file), model_file, {"precision": "fp32", "batch_size": 2})
    np.testing.assert_array_equal(lazy["landcover"], eager["landcover"])
    np.testing.assert_array_equal(lazy["confidence"], eager["confidence"])


def test_an_encoding_that_is_stale_is_found_block_by_block(scene_file: Path, model_file: Path) -> None:
    masked = opened(scene_file, masked=True)
    halved = (masked / 2).rio.set_nodata(np.nan).chunk(x=64)
    halved.encoding = masked.encoding
    with pytest.raises(SceneError, match="not the uint8 that its encoding names; pass .drop_encoding"):
        predict(halved, model_file).compute(scheduler="synchronous")


def test_nan_alone_is_no_data() -> None:
    pixels = noise().astype(np.float32)
    pixels[1, :20, :20] = np.nan
    pixels[0, 40, 60] = np.inf
    model = pointwise_model(3, dtype="float32")
    result = predict(scene(pixels).chunk(x=16, y=16), model).compute()
    expected = ~np.isfinite(pixels).all(axis=0)
    np.testing.assert_array_equal(result["landcover"] == 255, expected)
    np.testing.assert_array_equal(np.isnan(result["confidence"]), expected)
    np.testing.assert_array_equal(result["landcover"], predict(scene(pixels), model)["landcover"])


def test_time_stays() -> None:
    days = xarray.concat(
        [scene(noise(seed=day)) for day in range(3)],
        dim=xarray.Variable("time", np.array(["2024-05-01", "2024-06-01", "2024-07-01"], "datetime64[ns]")),
    ).assign_coords(cloud=("time", [1, 2, 3]), band=BANDS)
    model = pointwise_model(3)
    lazy = predict(
        days.chunk(time=2, x=32, y=32),
        model,
        {"precision": "fp32", "bands": ("blue", "green", "red")},
    )
    assert lazy["landcover"].dims == ("time", "y", "x")
    assert lazy["landcover"].chunksizes["time"] == (1, 1, 1)
    assert lazy["cloud"].to_numpy().tolist() == [1, 2, 3]
    for day in range(3):
        eager = predict(days.isel(time=day), model, {"precision": "fp32", "bands": ("blue", "green", "red")})
        one = lazy.isel(time=day)
        np.testing.assert_array_equal(one["landcover"], eager["landcover"])
        np.testing.assert_array_equal(one["confidence"], eager["confidence"])
        assert one["time"] == days["time"][day]


def test_a_dataset_of_bands_is_read_by_name() -> None:
    """As odc-stac gives them: a variable for each band, with no data of its own, and more than are wanted."""
    pixels = np.maximum(noise((4, 50, 70)), 8).astype(np.uint16)
    pixels[2, :10, :10] = 7
    stack = scene(pixels)
    names = ("green", "swir", "red", "blue")
    dataset = xarray.Dataset(
        {
            name: stack[i].drop_vars("band", errors="ignore").assign_attrs(nodata=7 if name == "red" else 0)
            for i, name in enumerate(names)
        }
    ).expand_dims(time=np.array(["2024-05-01"], "datetime64[ns]"))
    dataset["scl"] = dataset["red"].astype(np.uint8)
    dataset["mean_elevation"] = 3.0
    model = pointwise_model(3, dtype="uint16", value_range=(0, 255))
    lazy = predict(dataset.chunk(x=32, y=32, time=1), model)
    assert lazy["landcover"].dims == ("time", "y", "x")
    any_band = {"precision": "fp32", "nodata_rule": "any"}
    expected = predict(scene(pixels[[2, 0, 3]], nodata=7), model, any_band)
    found = lazy.isel(time=0, drop=True).compute()
    np.testing.assert_array_equal(found["landcover"], expected["landcover"])
    assert found.rio.crs == 32633
    assert found.rio.transform() == Affine(10, 0, 4e5, 0, -10, 5e6)
    # A band that the model does not want is not read.
    layers = [key for key in lazy.__dask_graph__() if "swir" in str(key)]
    assert not layers


def test_one_band_needs_no_dim() -> None:
    model = pointwise_model(1)
    flat = scene(noise((1, 50, 70))).isel(band=0, drop=True)
    expected = predict(flat, model)
    assert_same(predict(flat.chunk(x=32, y=32), model), expected)
    days = flat.expand_dims(time=2).chunk(time=1, x=32)
    for day in range(2):
        found = predict(days, model)["landcover"].isel(time=day)
        np.testing.assert_array_equal(found, expected["landcover"])


def as_stackstac(pixels: np.ndarray) -> xarray.DataArray:
    """What stackstac gives: band names as coordinates, places of corners, the affine and the CRS as attributes."""
    return xarray.DataArray(
        dask.array.from_array(pixels[None], chunks=(1, 1, 32, 32)),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2024-05-01"], "datetime64[ns]"),
            "band": ["red", "green", "blue"],
            "common_name": ("band", ["red", "green", "blue"]),
            "y": 5e6 - 10 * np.arange(pixels.shape[1]),
            "x": 4e5 + 10 * np.arange(pixels.shape[2]),
            "epsg": 32633,
        },
        attrs={"crs": "epsg:32633", "transform": Affine(10, 0, 4e5, 0, -10, 5e6), "resolution": 10.0},
    )


def test_stackstac_places_pixels_by_their_corners() -> None:
    pixels, model = noise(), pointwise_model(3)
    stack = as_stackstac(pixels)
    result = predict(stack, model).isel(time=0)
    assert result.rio.transform() == Affine(10, 0, 4e5, 0, -10, 5e6)
    assert result.rio.crs == 32633
    np.testing.assert_array_equal(result["landcover"], predict(scene(pixels), model)["landcover"])
    part = predict(stack.isel(x=slice(3, 40), y=slice(5, 50)), model)
    assert part.rio.transform() == Affine(10, 0, 4e5 + 30, 0, -10, 5e6 - 50)
    one = stack.isel(time=0)
    assert predict(one.compute(), model).rio.transform() == Affine(10, 0, 4e5, 0, -10, 5e6)


def test_a_scene_without_a_crs_has_none() -> None:
    array = xarray.DataArray(noise(), dims=("band", "y", "x")).chunk(x=32)
    result = predict(array, pointwise_model(3))
    assert result.rio.crs is None
    np.testing.assert_array_equal(result["landcover"], predict(noise(), pointwise_model(3))["landcover"])


def test_the_result_lines_up_with_the_scene() -> None:
    """Its coordinates are the scene's, bit for bit, or what is computed from both would be empty."""
    array = scene(noise()).assign_coords(x=(4e5 + 10 * (np.arange(70) + 0.5)) * (1 + 1e-15)).chunk(x=32)
    result = predict(array, pointwise_model(3))
    assert (array.isel(band=0) * result["confidence"]).shape == (50, 70)
    np.testing.assert_array_equal(result["x"], array["x"])


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_every_task(task: str) -> None:
    codes = (1,) if task == "binary" else (30, 10, 20)
    legend = {} if task == "multilabel" else {"legend": Legend.made_up((0, 1)).classes}
    model = pointwise_model(3, codes, task=task, **legend)
    assert_same(predict(scene(noise()).chunk(x=30, y=30), model), predict(scene(noise()), model))


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda a: a.isel(band=[0, 1]), MismatchError, "has 2 bands, the model expects 3"),
        (lambda a: a.astype("int16"), MismatchError, "is int16, the model expects uint8"),
        (lambda a: a.assign_coords(band=["a", "b", "c"]), MismatchError, "its bands are a, b, c"),
        (lambda a: a.rename(y="row", x="col"), SceneError, r"dims \(band, row, col\).*rename"),
        (lambda a: a.expand_dims(["time", "run"]), SceneError, r"dims \(time, run, .*isel"),
        (lambda a: xarray.Dataset({"red": a[0], "green": a[1]}), MismatchError, "has 2 bands"),
        (lambda a: xarray.Dataset({"m": a[0].mean()}), SceneError, r"Dataset \(m\) has no variable of rows"),
    ],
)
def test_what_does_not_fit_is_found_before_a_pixel_is_read(
    change: Callable[[xarray.DataArray], Any], error: type[GeosegError], reason: str
) -> None:
    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("was read")

    array = scene(noise()).chunk(x=32)
    array = array.copy(data=array.data.map_blocks(read, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)))
    with pytest.raises(error, match=reason) as caught:
        predict(change(array), pointwise_model(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"clip": Path("a.gpkg")}, "clip is for scenes that are read from files"),
        ({"on_error": "nodata"}, "on_error is for scenes that are read"),
        ({"profile": True}, "profile is for scenes"),
        ({"compile": True}, "compile is for scenes"),
        ({"tile_size": 10, "overlap": 9}, r"overlap is 9 px, expected 0 to 5"),
    ],
)
def test_options_that_no_block_has(model_file: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        predict(scene(noise()).chunk(x=32), model_file, options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_a_device_that_is_not_here_may_be_on_the_workers(model_file: Path) -> None:
    array = scene(noise()).chunk(x=32)
    bands = {"bands": (1, 2, 3), "device": "cuda"}
    with pytest.raises(OptionError, match="device cuda cannot be used"):
        predict(array, model_file, dict(**bands))
    result = predict(array, model_file, dict(**bands, precision="bf16", batch_size=4))
    with pytest.raises(OptionError, match="device cuda cannot be used"):
        result.compute(scheduler="synchronous")


def test_the_8_symmetries(scene_file: Path, model_file: Path) -> None:
    options = {"precision": "fp32", "batch_size": 2, "tta": True}
    lazy = predict(opened(scene_file, chunks={"x": 100, "y": 150}), model_file, options)
    assert_same(lazy, predict(opened(scene_file), model_file, options))


def test_bounds_are_cut_out() -> None:
    array, model = scene(noise()), pointwise_model(3)
    options = {"precision": "fp32", "bounds": (4e5 + 100, 5e6 - 300, 4e5 + 400, 5e6 - 50)}
    assert_same(predict(array.chunk(x=16, y=16), model, options), predict(array, model, options))


def test_a_corner_computes_the_tiles_that_touch_it() -> None:
    """16 px tiles every 12 px, begun 2 px outside: those from -2 and 10 px touch a block of 16 x 16."""
    model, network = counting()
    result = predict(scene(noise((3, 64, 64))).chunk(x=16, y=16), model)
    assert network.seen == 0
    result["landcover"].isel(x=slice(0, 5), y=slice(0, 5)).compute(scheduler="synchronous")
    assert network.seen == 4
    dask.compute(result["landcover"][:16, :16], result["confidence"][:16, :16], scheduler="synchronous")
    assert network.seen == 8


def test_blocks_and_tiles_without_a_valid_pixel_are_not_computed() -> None:
    model, network = counting()
    pixels = np.zeros((3, 64, 64), np.uint8)
    # Tiles begin at 22, 34, 46 and 50 px. The first pixel lies in one and in the block from 32 px, the second in
    # four and in the block from 48 px; one of these four reaches into the first block and is not wanted there.
    pixels[:, [33, 49], [33, 49]] = 9
    result = predict(scene(pixels, nodata=0).chunk(x=16, y=16), model).compute(scheduler="synchronous")
    assert network.seen == 1 + 4
    assert (result["landcover"] != 255).sum() == 2


def shared(result: xarray.Dataset) -> Any:
    """What all blocks of a result share."""
    (found,) = (
        value
        for key, value in dict(result["landcover"].__dask_graph__()).items()
        if str(key).endswith("-shared")
    )
    return getattr(found, "value", found)


def test_a_batch_that_was_asked_for_is_that_of_the_file(scene_file: Path, model_file: Path) -> None:
    """Though no block has so many tiles; left alone, it is one that fits blocks."""
    array = opened(scene_file, chunks={"x": 40, "y": 40})
    asked = predict(array, model_file, {"batch_size": 12})
    assert shared(asked).engine.settings.batch_size == 12
    assert shared(predict(array, model_file)).engine.settings.batch_size <= 9


class Source:
    """Chunks that are made when they are asked for, and counted while they live."""

    def __init__(self) -> None:
        self.made = self.alive = self.most = 0

    def array(self, shape: tuple[int, int, int], chunk: int) -> xarray.DataArray:
        lazy = dask.array.zeros(shape, dtype=np.uint8, chunks=(3, chunk, chunk)).map_blocks(
            self._chunk, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
        )
        return xarray.DataArray(lazy, dims=("band", "y", "x"))

    def _chunk(self, zeros: np.ndarray) -> np.ndarray:
        chunk = np.full(zeros.shape, 9, dtype=np.uint8)
        self.made += 1
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(chunk, self._gone)
        return chunk

    def _gone(self) -> None:
        self.alive -= 1


def test_a_scene_larger_than_memory() -> None:
    """30 GB that are never all there: what is looked at is read, and what touches it."""
    source = Source()
    options = {"precision": "fp32", "tile_size": 1024}
    result = predict(source.array((3, 100_000, 100_000), 2048), pointwise_model(3), options)
    corner = result["landcover"].isel(x=slice(-8, None), y=slice(-8, None)).compute(scheduler="synchronous")
    assert (corner == corner[0, 0]).all()
    assert source.made <= 4


@pytest.mark.parametrize("height", [320, 1280])
def test_memory_does_not_grow_with_the_scene(height: int) -> None:
    source = Source()
    result = predict(source.array((3, height, 96), 32), pointwise_model(3))
    result["landcover"].data.sum().compute(scheduler="synchronous")
    assert source.made == 3 * height // 32
    assert source.most <= 24  # three columns, rows above and below, and the order that dask chooses


def test_small_chunks_are_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    array = scene(noise((3, 100, 100)))
    with caplog.at_level(logging.WARNING, logger="geoseg"):
        predict(array.chunk(x=8, y=8), pointwise_model(3))
        predict(array.chunk(x=64, y=64), pointwise_model(3))
    (line,) = [r.getMessage() for r in caplog.records if "chunks" in r.getMessage()]
    assert ".chunk(x=64, y=64)" in line


def test_a_model_in_memory_is_in_the_graph_once() -> None:
    """What a scheduler sends: one entry holds the model, and each block names it."""
    import cloudpickle

    model, _ = counting()
    result = predict(scene(noise((3, 64, 64))).chunk(x=8, y=8), model)
    graph = dict(result["landcover"].__dask_graph__())
    shared = [key for key in graph if str(key).endswith("-shared")]
    assert len(shared) == 1
    blocks = [
        value for key, value in graph.items() if isinstance(key, tuple) and key[0].startswith("geoseg-")
    ]
    assert len(blocks) == 64
    assert b"torch" not in cloudpickle.dumps(blocks)


def test_what_a_worker_is_sent_is_all_it_needs(scene_file: Path, model_file: Path) -> None:
    import cloudpickle

    for model in (model_file, Model.open(model_file)):
        result = predict(opened(scene_file, chunks={"x": 128, "y": 128}, lock=False), model)
        sent = cloudpickle.loads(cloudpickle.dumps(result))
        xarray.testing.assert_identical(
            sent.compute(scheduler="synchronous"), result.compute(scheduler="synchronous")
        )


def test_a_model_that_another_process_sent_is_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    from geoseg.inference import worker_models
    from geoseg.inference.worker_models import ModelInMemory

    packed = cloudpickle.dumps(ModelInMemory(model=pointwise_model(3)))
    monkeypatch.setattr(worker_models, "_MODELS", worker_models.Kept(2))
    one, two = cloudpickle.loads(packed), cloudpickle.loads(packed)
    assert one.load() is two.load()
    assert one.key == two.key


def test_a_model_file_that_changed_since_is_refused(model_file: Path, tmp_path: Path, small: Any) -> None:
    import geoseg.inference.worker_models as worker_models

    path = tmp_path / "m.safetensors"
    path.write_bytes(model_file.read_bytes())
    result = predict(scene(noise()).chunk(x=32), path, {"precision": "fp32", "bands": (1, 2, 3)})
    Model.new(**(small | {"seed": 1})).save(path, overwrite=True)
    worker_models._MODELS = worker_models.Kept(2)
    with pytest.raises(GeosegError, match="holds other weights than when the prediction was requested"):
        result.compute(scheduler="synchronous")


def test_files_are_written_chunk_by_chunk(tmp_path: Path) -> None:
    """A row of chunks is there, and what the next rows of tiles need of it."""
    source = Source()
    array = source.array((3, 1920, 96), 32)
    geoseg.predict(array, pointwise_model(3), **FP32, output=tmp_path / "lazy.tif")
    assert source.made <= 180 + 9 * 3  # 256 rows in the middle are looked at before the work
    assert source.most <= 9 * 3
    eager = xarray.DataArray(np.full((3, 1920, 96), 9, np.uint8), dims=("band", "y", "x"))
    geoseg.predict(eager, pointwise_model(3), **FP32, output=tmp_path / "eager.tif")
    assert (tmp_path / "lazy.tif").read_bytes() == (tmp_path / "eager.tif").read_bytes()


def test_polygons_of_a_lazy_scene(scene_file: Path, model_file: Path) -> None:
    options = {"precision": "fp32", "batch_size": 2}
    lazy = geoseg.segment(opened(scene_file, chunks={"x": 64, "y": 50}), model_file, **options)
    assert lazy.equals(geoseg.segment(scene_file, model_file, **options))


def test_a_file_is_of_one_scene(tmp_path: Path) -> None:
    days = scene(noise()).expand_dims(time=2).chunk(x=32)
    with pytest.raises(SceneError, match=r"has a dim time, expected a single scene.*isel"):
        geoseg.predict(days, pointwise_model(3), output=tmp_path / "map.tif")
    assert not list(tmp_path.iterdir())


def test_unfinished_work_is_of_one_lazy_array() -> None:
    one, other = (scene(noise(seed=seed)).chunk(x=32) for seed in (0, 1))
    prints = [
        fingerprint_of(prepare_job(array, pointwise_model(3), PredictOptions(**FP32)))
        for array in (one, one, other)
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("on_error", ["stop", "nodata"])
def test_a_chunk_that_cannot_be_computed(tmp_path: Path, on_error: str) -> None:
    def read(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info and block_info[0]["chunk-location"][1:] == (0, 2):
            raise OSError("the shelf is empty")
        return block

    array = scene(noise((3, 64, 96))).chunk(x=32, y=32)
    array = array.copy(data=array.data.map_blocks(read, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)))
    options = {"precision": "fp32", "on_error": on_error}
    if on_error == "stop":
        with pytest.raises(SceneError, match="cannot be computed .the shelf is empty"):
            geoseg.predict(array, pointwise_model(3), **options, output=tmp_path / "map.tif")
        return
    geoseg.predict(array, pointwise_model(3), **options, output=tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        codes = file.read(1)
    assert (codes[:32, 64:] == 255).all()
    assert (codes[32:] != 255).all()
    assert (codes[:, :64] != 255).all()


def test_polygons_of_a_lazy_result() -> None:
    """The model runs once a block: codes and confidence come together."""
    model, network = counting()
    array = scene(noise((3, 64, 64)) // 64 * 64 + 1)
    lazy = predict(array.chunk(x=32, y=16), model)
    lazy.compute(scheduler="synchronous")
    once = network.seen
    with dask.config.set(scheduler="synchronous"):  # threads would race to count
        found = geoseg.vectorize(lazy)
    assert network.seen == 2 * once
    expected = geoseg.vectorize(predict(array, model))
    assert found.equals(expected)


def test_scores_and_second_classes_of_a_lazy_result_cost_one_run_each(tmp_path: Path) -> None:
    """The confidence of a result comes with its codes, and the probabilities of all classes together."""
    model, network = counting()
    array = scene(noise((3, 150, 64)) // 64 * 64 + 1)
    lazy = predict(array.chunk(x=32, y=16), model, {**FP32, "probabilities": True})
    kept = predict(array, model, {**FP32, "probabilities": True})
    geoseg.write(geoseg.vectorize(kept), tmp_path / "reference.gpkg")
    with dask.config.set(scheduler="synchronous"):
        network.seen = 0
        lazy.compute()
        once, network.seen = network.seen, 0
        found = geoseg.evaluate(lazy, reference=tmp_path / "reference.gpkg", class_field="class_name")
        assert network.seen == once
        network.seen = 0
        polygons = geoseg.vectorize(lazy, probabilities=lazy["probabilities"])
        assert network.seen == 2 * once
    expected = geoseg.evaluate(kept, reference=tmp_path / "reference.gpkg", class_field="class_name")
    assert found.to_dict() == expected.to_dict()
    assert found.calibration is not None
    assert polygons.equals(geoseg.vectorize(kept, probabilities=kept["probabilities"]))


def test_variables_that_rioxarray_counted_are_named_by_their_long_name(scene_file: Path) -> None:
    import rioxarray

    scene = rioxarray.open_rasterio(scene_file, band_as_variable=True, chunks={"x": 64, "y": 64})
    lazy = LazyScene.of(scene)
    assert lazy.descriptions == ("red", "green", "blue")
    chosen = lazy.select(["blue", "red"], validity_band=None).read(Window(row=50, col=50, height=9, width=9))
    with rasterio.open(scene_file) as file:
        expected = file.read([3, 1], window=rasterio.windows.Window(50, 50, 9, 9))
    np.testing.assert_array_equal(chosen.pixels, expected)
    unnamed = scene.assign(band_2=scene.band_2.drop_attrs())
    assert LazyScene.of(unnamed).descriptions == ("band_1", "band_2", "band_3")
