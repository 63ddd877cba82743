"""Bands of an array keep their names however they were selected and ordered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg.errors import SceneError
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.models.model import Model
from geoseg.raster.xarray_bridge import RasterArray

NAMES = ("blue", "green", "red", "nir")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Four bands, each of its own number, as rioxarray opens them."""
    path: Path = tmp_path_factory.mktemp("scene") / "s.tif"
    profile = {
        "driver": "GTiff",
        "width": 32,
        "height": 32,
        "count": 4,
        "dtype": "uint8",
        "crs": "EPSG:32633",
    }
    with rasterio.open(path, "w", transform=Affine(10, 0, 5e5, 0, -10, 5e6), **profile) as file:
        for number, name in enumerate(NAMES, start=1):
            file.write(np.full((32, 32), 10 * number, np.uint8), number)
            file.set_band_description(number, name)
    return rioxarray.open_rasterio(path)


def named(array: Any) -> dict[str | None, int]:
    """The number of each band, by the name that is read from the array."""
    found = LoadedScene.of(array)
    values = np.atleast_3d(array.to_numpy().T).T[:, 0, 0]
    return dict(zip(found.descriptions, (int(value) for value in values), strict=True))


@given(order=st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True), by_name=st.booleans())
def test_names_go_with_their_bands(scene: Any, order: list[int], by_name: bool) -> None:
    expected = {NAMES[number - 1]: 10 * number for number in order}
    if by_name:
        # The list of all names stays behind in the attributes.
        scene = scene.assign_coords(band=list(NAMES))
        assert named(scene.sel(band=[NAMES[number - 1] for number in order])) == expected
    else:
        assert named(scene.sel(band=order)) == expected
        assert named(scene.isel(band=[number - 1 for number in order])) == expected
        assert named(scene.sel(band=order[0])) == {NAMES[order[0] - 1]: 10 * order[0]}


def test_numbers_that_count_otherwise_name_nothing_out_of_order(scene: Any) -> None:
    from_0 = scene.assign_coords(band=[0, 1, 2, 3])
    assert named(from_0) == dict(zip(NAMES, (10, 20, 30, 40), strict=True))
    wavelengths = scene.assign_coords(band=[490, 560, 665, 842])
    assert named(wavelengths) == named(from_0)
    assert set(named(wavelengths.sel(band=[842, 665, 560, 490]))) == {None}
    assert set(named(wavelengths.sel(band=[842, 665]))) == {None}


@given(order=st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True))
def test_scales_go_with_their_bands(scene: Any, order: list[int]) -> None:
    """rioxarray lists them so where they are not all the same."""
    listed = scene.assign_attrs(scales=[0.1, 0.2, 0.3, 0.4], offsets=[1.0, 2.0, 3.0, 4.0])
    found = RasterArray.of(listed.sel(band=order)).scaling
    assert found == (tuple(number / 10 for number in order), tuple(float(number) for number in order))
    assert RasterArray.of(listed.sel(band=order[0])).scaling == ((order[0] / 10,), (float(order[0]),))


def test_scales_that_belong_to_no_band_are_refused(scene: Any) -> None:
    listed = scene.assign_coords(band=[490, 560, 665, 842]).assign_attrs(scales=[0.1, 0.2, 0.3, 0.4])
    with pytest.raises(
        SceneError, match=r"lists 4 scales for 2 bands, .*; set attrs\['scales'\] to one for each"
    ):
        RasterArray.of(listed.isel(band=[1, 2]))
    chosen = listed.isel(band=[1, 2])
    chosen.attrs["scales"] = [0.2, 0.3]
    assert RasterArray.of(chosen).scaling == ((0.2, 0.3), (0.0, 0.0))
    applied = listed.isel(band=[1, 2]).drop_attrs()
    applied.encoding["scales"] = [0.1, 0.2, 0.3, 0.4]
    assert RasterArray.of(applied).scaling == ((1.0, 1.0), (0.0, 0.0))


def test_a_prediction_is_that_of_the_file_whatever_the_order(scene: Any) -> None:
    model = Model.new(
        architecture="Unet", encoder="resnet18", bands=["red", "green"], classes="a,b", tile_size=32
    )
    expected = geoseg.predict(scene, model, device="cpu")
    for order in ([3, 2], [4, 3, 2, 1], [2, 3, 1]):
        found = geoseg.predict(scene.sel(band=order), model, device="cpu")
        np.testing.assert_array_equal(found["confidence"], expected["confidence"])
