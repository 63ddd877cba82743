"""Scenes of xarray that are in memory are what lazy ones and files are."""

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
from geoseg.errors import MismatchError, SceneError
from geoseg.raster.scene import Scene
from tests.oracle import pointwise_model

FP32 = {"precision": "fp32", "batch_size": 4}
MODEL = pointwise_model(3, dtype="uint16", value_range=(0, 255))
NAMES = ("blue", "green", "red")


def stack(bands: int = 3) -> np.ndarray:
    """Stored numbers: some no data (7) in all bands, some in one."""
    pixels = np.random.default_rng(0).integers(10, 250, (bands, 40, 50)).astype(np.uint16)
    pixels[:, :9, :11] = 7
    pixels[0, 20, 20] = 7
    return pixels


def lattice(array: xarray.DataArray | xarray.Dataset) -> Any:
    """Put it on the ground."""
    coords = {"y": 5e6 - 10 * (np.arange(40) + 0.5), "x": 4e5 + 10 * (np.arange(50) + 0.5)}
    return array.assign_coords(coords).rio.write_crs(32633)


def dataset(mark: Callable[[xarray.DataArray], xarray.DataArray], **more: Any) -> Any:
    bands = {
        name: mark(xarray.DataArray(plane, dims=("y", "x")))
        for name, plane in zip(NAMES, stack(), strict=True)
    }
    return lattice(xarray.Dataset({**bands, **more}))


FORMS: dict[str, Callable[[xarray.DataArray], xarray.DataArray]] = {
    "_FillValue": lambda a: a.assign_attrs(_FillValue=7),
    "nodata": lambda a: a.assign_attrs(nodata=7),
    "missing_value": lambda a: a.assign_attrs(missing_value=7),
    "rio.write_nodata": lambda a: a.rio.write_nodata(7),
}


@pytest.fixture
def expected(tmp_path: Path) -> xarray.Dataset:
    """What the file gives."""
    path = tmp_path / "scene.tif"
    profile = {"height": 40, "width": 50, "count": 3, "dtype": "uint16", "nodata": 7, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=Affine(10, 0, 4e5, 0, -10, 5e6), **profile) as file:
        file.write(stack())
        file.descriptions = NAMES
    result = geoseg.predict(path, MODEL, **FP32)
    assert isinstance(result, xarray.Dataset)
    assert (result["landcover"] == 255).sum() == 99
    return result


def assert_same(found: Any, wanted: Any) -> None:
    for name in ("landcover", "confidence"):
        assert found[name].dims == wanted[name].dims
        np.testing.assert_array_equal(found[name], wanted[name])
    assert found.rio.crs == wanted.rio.crs
    assert found.rio.transform() == wanted.rio.transform()


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_with_its_no_data_is_its_file(expected: xarray.Dataset, form: str) -> None:
    scene = dataset(FORMS[form], scl=(("y", "x"), np.zeros((40, 50), np.float32)), height=3.0)
    assert_same(geoseg.predict(scene, MODEL, **FP32), expected)
    lazy = geoseg.predict(scene.chunk(x=32, y=32), MODEL, **FP32)
    assert_same(lazy.compute(), expected)


def test_a_masked_dataset_is_its_file(expected: xarray.Dataset, tmp_path: Path) -> None:
    """With masked=True rioxarray makes NaN of no data, and floats of whole numbers."""
    for options in ({}, {"masked": True}):
        scene = rioxarray.open_rasterio(tmp_path / "scene.tif", band_as_variable=True, **options).load()
        scene = scene.rename({f"band_{i}": name for i, name in enumerate(NAMES, start=1)})
        assert_same(geoseg.predict(scene, MODEL, **FP32), expected)


def test_nan_is_no_data_in_every_form(expected: xarray.Dataset) -> None:
    model = pointwise_model(3, dtype="float32", value_range=(0, 255))
    scene = dataset(lambda a: a.where(a != 7).astype("float32"))
    found = geoseg.predict(scene, model, **FP32)
    wanted = (stack() == 7).any(axis=0)
    np.testing.assert_array_equal(found["landcover"] == 255, wanted)


def test_each_variable_has_no_data_of_its_own() -> None:
    scene = dataset(lambda a: a)
    for name, value in zip(NAMES, (7, 8, 9), strict=True):
        scene[name].attrs["nodata"] = value
    pixels = stack()
    found = geoseg.predict(scene, MODEL, **FP32)
    np.testing.assert_array_equal(
        found["landcover"] == 255, (pixels == np.array([7, 8, 9])[:, None, None]).any(axis=0)
    )


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_every_entry_of_time_is_a_scene(task: Any) -> None:
    model = pointwise_model(3, (30, 10, 20), task=task, dtype="uint16", value_range=(0, 255))
    one = dataset(FORMS["nodata"])
    two = one.copy(data={name: np.flip(one[name].to_numpy(), 1) for name in NAMES})
    times = np.array(["2024-05-01", "2024-06-01"], "datetime64[ns]")
    scene = xarray.concat([one, two], xarray.Variable("time", times))
    found = geoseg.predict(scene, model, **FP32)
    assert found["landcover"].dims == ("time", *(("class",) if task == "multilabel" else ()), "y", "x")
    np.testing.assert_array_equal(found["time"], times)
    for i, each in enumerate((one, two)):
        alone = geoseg.predict(each, model, **FP32)
        assert_same(found.isel(time=i, drop=True), alone)
    assert_same(geoseg.predict(scene.chunk(time=1), model, **FP32).compute(), found)
    array = scene.to_dataarray("band").transpose("time", "band", "y", "x")
    assert_same(geoseg.predict(lattice(array.rio.write_nodata(7)), model, **FP32), found)


def test_time_is_no_scene_for_a_file(tmp_path: Path) -> None:
    scene = dataset(FORMS["nodata"]).expand_dims(time=[1, 2])
    with pytest.raises(SceneError, match=r"has a dim time, expected a single scene for a file .*\.isel"):
        geoseg.predict(scene, MODEL, **FP32, output=tmp_path / "map.tif")


def test_files_of_a_dataset_are_those_of_its_file(expected: xarray.Dataset, tmp_path: Path) -> None:
    for name, scene in (("loaded", dataset(FORMS["nodata"])), ("lazy", dataset(FORMS["nodata"]).chunk(x=32))):
        written = geoseg.predict(scene, MODEL, **FP32, output=tmp_path / f"{name}.tif")
        with rasterio.open(written) as file:
            np.testing.assert_array_equal(file.read(1), expected["landcover"])


def test_what_a_person_declares_counts_in_every_form(tmp_path: Path) -> None:
    plain = dataset(lambda a: a)
    path = tmp_path / "scene.tif"
    profile = {"height": 40, "width": 50, "count": 3, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=Affine(10, 0, 4e5, 0, -10, 5e6), **profile) as file:
        file.write(stack())
        file.descriptions = NAMES
    array = lattice(xarray.DataArray(stack(), dims=("band", "y", "x"), coords={"band": list(NAMES)}))
    scenes = {
        "file": path,
        "scene": Scene.open(path),
        "dataset": plain,
        "lazy": plain.chunk(x=32),
        "array": array,
    }
    for rule, absent in ((None, 99), ("all", 99), ("any", 100)):
        options = {"precision": "fp32", "batch_size": 4, "nodata": 7, "nodata_rule": rule}
        for name, scene in scenes.items():
            found = geoseg.predict(scene, MODEL, **options)
            assert int((found["landcover"] == 255).sum()) == absent, (name, rule)
    options = {"precision": "fp32", "alpha": 1, "bands": (2, 3, 3)}
    hidden = stack()
    hidden[0, 30:] = 0
    array = array.copy(data=hidden)
    for scene in (array, array.chunk(x=32), hidden):
        found = geoseg.predict(scene, MODEL, **options)
        np.testing.assert_array_equal(found["landcover"] == 255, hidden[0] == 0)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "complex64", "longdouble", "object"])
def test_only_real_numbers_are_a_scene(dtype: str, lazy: bool) -> None:
    """With `force`, too; a variable that the model does not want may hold anything."""
    bands = dataset(lambda band: band.rio.write_nodata(7))
    expected = geoseg.predict(bands, MODEL, **FP32)
    wrong, more = bands.astype(dtype), bands.assign(cloud=bands["red"].astype(dtype))
    if lazy:
        wrong, more = wrong.chunk(x=30), more.chunk(x=30)
    for scene in (wrong, wrong.to_dataarray("band")):
        with pytest.raises(
            SceneError, match=r"expected real numbers of at most 64 bits; convert it with .astype\(\)"
        ):
            geoseg.predict(scene, MODEL, force=True)
    assert_same(geoseg.predict(more, MODEL, **FP32), expected)


def test_what_does_not_fit_is_mended_as_is_said() -> None:
    """With methods of arrays: GDAL's programs change files."""
    bands = dataset(lambda band: band.astype(np.float64).where(band != 7))
    with pytest.raises(
        MismatchError, match="is float64, .*, after NaN is replaced by a number that nodata= names"
    ):
        geoseg.predict(bands, MODEL)
    mended = bands.fillna(7).astype("uint16")
    expected = geoseg.predict(dataset(lambda band: band.rio.write_nodata(7)), MODEL, **FP32)
    assert_same(geoseg.predict(mended, MODEL, nodata=7, **FP32), expected)
    with pytest.raises(
        MismatchError, match=r'is int64, .*; convert it with .astype\("uint16"\), or pass force=True'
    ):
        geoseg.predict(mended.astype("int64"), MODEL)
    small = dataset(lambda band: band.assign_attrs(scale_factor=10.0))
    with pytest.raises(MismatchError, match="correct them with scale_factor and add_offset in its attrs"):
        geoseg.predict(small, pointwise_model(3, dtype="uint16", value_range=(1, 255), scale=[0.01] * 3))
