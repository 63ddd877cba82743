"""Real scenes of every kind, each with a fresh model of its band count: aligned, and no data where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.errors import SceneError
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.models.model import Model
from geoseg.raster.look import alpha_of
from geoseg.raster.scene import Scene

SETS = {
    "korea": ("korea_sentinel2/images/*.tif", 3),
    "concise": ("concise_sentinel2/*.tif", 4),
    "aberystwyth": ("aberystwyth_sentinel2/scene.tif", 10),
    "kampala": ("kampala_drone/scene.tif", 3),
    "roofs": ("roofs/images/*.png", 3),
    "deepglobe": ("deepglobe/*_sat.jpg", 3),
    "clouds": ("clouds/images/*.jpg", 3),
    "people": ("people/images/*", 3),
}


def fresh_model(scene: Scene) -> Model:
    return Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=[f"band {i}" for i in range(1, scene.count + 1)],
        classes=Legend.parse("a,b,c"),
        dtype=str(scene.dtype),
        tile_size=256,
        overlap=32,
        decoder_options={"decoder_channels": [16, 16, 8, 8, 8]},
    )


def check(path: Path, scene: Scene, folder: Path) -> None:
    """Predict a scene and compare the class map with the scene itself."""
    output = folder / f"{path.stem}.tif"
    options = {
        "bands": scene.bands,
        "expand_palette": scene.palette is not None,
        "force": True,
        "on_error": "nodata",
    }
    geoseg.predict(path, fresh_model(scene), **options, output=output)
    whole = Window(row=0, col=0, height=scene.grid.height, width=scene.grid.width)
    try:
        # An alpha band of many values is not taken on trust: then every pixel is valid.
        valid = scene.select(scene.bands, validity_band=alpha_of(scene)[0]).read(whole).valid
    except SceneError:
        valid = None  # a damaged file: its whole blocks are tested elsewhere
    with rasterio.open(output) as result:
        assert result.shape == scene.grid.shape
        assert result.transform == scene.grid.transform
        assert (result.crs is None) == (scene.grid.crs is None)
        if valid is not None:
            np.testing.assert_array_equal(result.read(1) != 255, valid)


@pytest.mark.long
@pytest.mark.parametrize("name", SETS)
def test_one_scene_of_every_set(shared: Path, tmp_path: Path, name: str) -> None:
    pattern, bands = SETS[name]
    path = min(shared.glob(pattern))
    scene = Scene.open(path)
    assert scene.count == bands
    check(path, scene, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", SETS)
def test_all_scenes_of_every_set(shared: Path, tmp_path: Path, name: str) -> None:
    for path in sorted(shared.glob(SETS[name][0])):
        check(path, Scene.open(path), tmp_path)


@pytest.mark.long
def test_every_readable_odd_file(shared: Path, tmp_path: Path) -> None:
    """Files that are no scene are refused; every other becomes an aligned class map."""
    done = 0
    for number, path in enumerate(sorted((shared / "tricky_tiffs").rglob("*.tif*"))):
        try:
            scene = Scene.open(path, expand_palette=True)
        except SceneError:
            continue
        if scene.grid.height * scene.grid.width > 2_000_000 or np.dtype(scene.dtype).itemsize == 8:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        check(path, scene, folder)
        done += 1
    assert done > 200
