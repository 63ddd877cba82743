"""DataArrays are read as their files are, and results are written as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray
from affine import Affine

import geoseg
from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import as_source, prepare_job
from geoseg.raster.scene import Scene
from tests.oracle import pointwise_model

ODD = Affine(9.99, 0, 500000.123456, 0, -9.99, 4999999.7654321)
ROTATED = Affine(8.66, 5.0, 500000.123, 5.0, -8.66, 9900000.456)
MODEL = pointwise_model(3)


def write(path: Path, pixels: np.ndarray, transform: Affine = ODD, **tags: Any) -> Path:
    profile = {
        "driver": "GTiff", "count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2],
        "dtype": pixels.dtype, "crs": "EPSG:32633", "nodata": 0, "transform": transform,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
        for name, values in tags.items():
            setattr(dataset, name, values)
    return path


def noise(dtype: str = "uint8", shape: tuple[int, int] = (24, 30)) -> np.ndarray:
    """Pixels of which some are 0 in all bands, and none in some only."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 200, (3, *shape)).astype(dtype)
    pixels[:, generator.random(shape) < 0.05] = 0
    return pixels


def opened(path: Path, **options: Any) -> xarray.DataArray:
    array = rioxarray.open_rasterio(path, **options)
    assert isinstance(array, xarray.DataArray)
    return array


VIEWS: dict[str, Callable[[Path], xarray.DataArray]] = {
    "as stored": opened,
    "masked floats": lambda path: opened(path, masked=True),
    "band last": lambda path: opened(path).transpose("y", "x", "band"),
    "more coordinates": lambda path: opened(path).assign_coords(time=3, lon=(("y", "x"), np.zeros((24, 30)))),
}


@pytest.mark.parametrize("transform", [ODD, ROTATED])
@pytest.mark.parametrize("view", VIEWS)
def test_a_dataarray_is_its_file(tmp_path: Path, view: str, transform: Affine) -> None:
    path = write(tmp_path / "s.tif", noise(), transform, descriptions=("blue", "green", "red"))
    ours, theirs = (
        prepare_job(VIEWS[view](path), MODEL, PredictOptions()),
        prepare_job(path, MODEL, PredictOptions()),
    )
    assert (ours.grid.transform, ours.grid.shape) == (theirs.grid.transform, theirs.grid.shape)
    assert ours.grid.crs is not None
    assert (ours.match.notes, ours.source.dtype) == (theirs.match.notes, np.uint8)
    whole = Window(row=0, col=0, height=24, width=30)
    chip, expected = ours.source.read(whole), theirs.source.read(whole)
    np.testing.assert_array_equal(chip.valid, expected.valid)
    np.testing.assert_array_equal(chip.pixels[:, chip.valid], expected.pixels[:, chip.valid])
    assert not chip.valid.all()


@pytest.mark.parametrize("applied", [False, True])
def test_the_scale_of_the_file_counts_once(tmp_path: Path, applied: bool) -> None:
    model = pointwise_model(3, dtype="uint16", value_range=(0, 10000), scale=[1e-4] * 3)
    path = write(tmp_path / "s.tif", noise("uint16") * 40, scales=(1e-4,) * 3, offsets=(0.01,) * 3)
    ours = prepare_job(opened(path, mask_and_scale=applied), model, PredictOptions(bands=(3, 1, 2)))
    theirs = prepare_job(path, model, PredictOptions(bands=(3, 1, 2)))
    inputs = []
    for job in (ours, theirs):
        chip = job.source.read(Window(row=0, col=0, height=24, width=30))
        gain, bias = np.array(job.match.gain)[:, None, None], np.array(job.match.bias)[:, None, None]
        inputs.append(np.where(chip.valid, chip.pixels * gain + bias, 0))
    np.testing.assert_allclose(inputs[0], inputs[1], atol=1e-6)


def test_numbers_changed_since_they_were_read_stay_what_they_are(tmp_path: Path) -> None:
    array = opened(write(tmp_path / "s.tif", noise()), masked=True)
    halved = (array / 2).rio.set_nodata(np.nan)
    halved.encoding = array.encoding
    source = LoadedScene.of(halved)
    assert source.dtype == np.float32
    whole = source.read(Window(row=0, col=0, height=24, width=30))
    np.testing.assert_array_equal(whole.pixels, halved.to_numpy())


def test_a_slice_has_its_own_grid(tmp_path: Path) -> None:
    array = opened(write(tmp_path / "s.tif", noise()))
    for part, col, row in (((slice(2, 9), slice(3, 8)), 3, 2), (([2], [3]), 3, 2)):
        grid = LoadedScene.of(array.isel(y=part[0], x=part[1])).grid
        assert grid.transform.almost_equals(ODD @ Affine.translation(col, row), 1e-6)


def test_the_affine_is_the_files_bit_for_bit(tmp_path: Path) -> None:
    """Computed from the centres of pixels it is a unit in the last place off, for some of these origins."""
    off = 0
    for i in range(20):
        transform = Affine(0.1 / 3, 0, i / 700, 0, -0.1 / 3, i / 900)
        array = opened(write(tmp_path / f"{i}.tif", noise(), transform))
        assert LoadedScene.of(array).grid.transform == transform
        off += array.rio.transform() != transform
    assert off


def test_one_band_needs_no_band_dim(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tif", noise()[:1], descriptions=("blue",))
    source = LoadedScene.of(opened(path).isel(band=0))
    assert source.read(Window(row=0, col=0, height=24, width=30)).pixels.shape == (1, 24, 30)
    assert source.descriptions == ("blue",)
    assert source.grid.transform == ODD


def test_an_array_without_coordinates_lies_on_the_pixel_grid() -> None:
    source = LoadedScene.of(xarray.DataArray(noise(), dims=("band", "y", "x")))
    assert (source.grid.transform, source.grid.crs) == (Affine.identity(), None)


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        (xarray.DataArray(noise(), dims=("band", "row", "col")), r"dims \(band, row, col\).*rename"),
        (
            xarray.DataArray(noise()[None], dims=("time", "band", "y", "x")),
            r"has a dim time, expected a single scene.*isel",
        ),
        (xarray.Dataset({"mean": 3.0}), r"the Dataset \(mean\) has no variable of rows and columns"),
    ],
)
def test_what_is_no_raster_is_one_line(scene: Any, reason: str) -> None:
    with pytest.raises(SceneError, match=reason) as caught:
        as_source(scene, PredictOptions())
    assert "\n" not in str(caught.value)


def test_numpys_mask_is_not_forgotten() -> None:
    pixels = np.ma.masked_equal(noise(), 7)
    source = as_source(pixels, PredictOptions())
    valid = source.read(Window(row=0, col=0, height=24, width=30)).valid
    np.testing.assert_array_equal(valid, ~pixels.mask.any(axis=0))
    assert not valid.all()


@pytest.mark.parametrize("transform", [ODD, ROTATED])
def test_a_result_can_be_written(tmp_path: Path, transform: Affine) -> None:
    scene = opened(write(tmp_path / "s.tif", noise(), transform))
    result = geoseg.predict(scene, MODEL, precision="fp32")
    assert isinstance(result, xarray.Dataset)
    # rioxarray cannot calculate a rotated transform anew, and warns.
    again = {"recalc_transform": transform is ODD}
    result["landcover"].rio.to_raster(tmp_path / "c.tif", **again)
    result["confidence"].rio.to_raster(tmp_path / "p.tif", **again)
    expected = Scene.open(tmp_path / "s.tif").grid
    with rasterio.open(tmp_path / "c.tif") as codes, rasterio.open(tmp_path / "p.tif") as confidence:
        assert (codes.dtypes, codes.nodata) == (("uint8",), 255)
        assert confidence.dtypes == ("float32",)
        assert np.isnan(confidence.nodata)
        assert codes.transform.almost_equals(expected.transform, 1e-6)
        assert codes.crs.to_epsg() == 32633
        np.testing.assert_array_equal(codes.read(1), result["landcover"])
        assert ((codes.read(1) == 255) == ~(noise() != 0).all(axis=0)).all()
