"""Models that see whole images resized: the map has the scene's own grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from PIL import Image

import geoseg
from geoseg.errors import OptionError, SceneError
from geoseg.grid.legend import Legend
from geoseg.models.model import Model
from geoseg.raster.scene import Scene
from tests.oracle import pointwise_model, right_answer

FP32 = {"precision": "fp32"}
SHAPE = (90, 130)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Smooth colours of 90 x 130 px on a sheared grid, a part without data."""
    rows, cols = np.indices(SHAPE)
    waves = [np.sin(rows / a) + np.cos(cols / b) for a, b in ((9, 14), (17, 8), (12, 25))]
    pixels = np.stack([np.clip(128 + 60 * wave, 1, 255) for wave in waves]).astype(np.uint8)
    pixels[:, 30:60, 50:90] = 0
    path = tmp_path / "scene.tif"
    profile = {
        "driver": "GTiff", "count": 3, "height": SHAPE[0], "width": SHAPE[1], "dtype": "uint8", "nodata": 0,
        "crs": "EPSG:32633", "transform": Affine(8.66, 5.0, 500000.123, 5.0, -8.66, 9900000.456),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
    return path


def resized(planes: npt.NDArray[np.floating], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Pillow's bilinear resizing, which does not alias either."""
    images = [Image.fromarray(plane.astype(np.float32)) for plane in planes]
    return np.stack(
        [np.asarray(i.resize(shape[::-1], Image.Resampling.BILINEAR), dtype=np.float64) for i in images]
    )


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("size", [(48, 64), (128, 160), (32, 200)])
def test_probabilities_are_resized_back_before_anything_is_decided(
    scene: Path, tmp_path: Path, task: str, size: tuple[int, int]
) -> None:
    codes = (0, 1) if task == "binary" else (3, 5, 9)
    model = pointwise_model(3, codes, task=task, image_size=size)
    geoseg.predict(scene, model, **FP32, output=tmp_path / "m.tif")
    with rasterio.open(scene) as given, rasterio.open(tmp_path / "m.tif") as ours:
        pixels = given.read()
        assert ours.transform == given.transform
        assert ours.shape == given.shape
        found = ours.read()
    valid = (pixels != 0).all(axis=0)
    # As the network sees it: means over valid pixels, and the normalised number 0 where there is none.
    weight = resized(valid[None].astype(float), size)
    small = resized(pixels * valid, size) / np.maximum(weight, 1e-9)
    near = np.asarray(Image.fromarray(valid).resize(size[::-1], Image.Resampling.NEAREST))
    gain, bias = model.card.normalisation()
    neutral = -np.array(bias) / np.array(gain)
    small = np.where(near, small, neutral[:, None, None])
    back = resized(right_answer(model, small)[1], SHAPE)
    if task == "multiclass":
        best = np.sort(back, axis=0)
        sure, expected = best[-1] - best[-2] > 1e-4, np.array(codes)[back.argmax(axis=0)]
    else:
        sure, expected = (np.abs(back - 0.5) > 1e-4).all(axis=0), back > 0.5
    sure &= valid
    assert sure.mean() > 0.5
    assert len(np.unique(expected[..., sure])) > 1
    np.testing.assert_array_equal(found[..., sure].squeeze(), expected[..., sure].squeeze())
    np.testing.assert_array_equal(found == 255, np.broadcast_to(~valid, found.shape))


def test_a_size_that_is_the_scenes_own_is_no_resizing(scene: Path) -> None:
    whole = geoseg.predict(scene, pointwise_model(3, image_size=SHAPE), **FP32)
    tiled = geoseg.predict(scene, pointwise_model(3), **FP32)
    np.testing.assert_array_equal(whole["landcover"], tiled["landcover"])
    np.testing.assert_allclose(whole["confidence"], tiled["confidence"], atol=1 / 254 + 1e-6)


def test_a_real_network_file_to_file(scene: Path, tmp_path: Path) -> None:
    model = Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=Legend.parse("a,b"),
        task="multilabel",
        decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
        tile_size=64,
    )
    model.card = model.card.changed(image_size=(64, 96))
    model.save(tmp_path / "m.safetensors")
    geoseg.segment(scene, tmp_path / "m.safetensors", **FP32, output=tmp_path / "l.gpkg")
    again = geoseg.segment(scene, tmp_path / "m.safetensors", **FP32)
    report = json.loads((tmp_path / "l.gpkg.run.json").read_text())
    assert sum(row["pixels"] for row in report["classes"]) == again["pixels"].sum()
    assert report["settings"]["batch_size"] == 1
    geoseg.predict(scene, tmp_path / "m.safetensors", output=tmp_path / "m.tif")
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.tags()["GEOSEG_TILING"] == "none, resized whole to 64 x 96"


def test_tiles_are_not_for_such_a_model(scene: Path) -> None:
    for options in ({"tile_size": 64}, {"overlap": 0}):
        with pytest.raises(
            OptionError, match="sees whole images, resized to 48 x 64 px, and no tiles; leave"
        ):
            geoseg.predict(scene, pointwise_model(3, image_size=(48, 64)), **options)


def test_a_size_that_the_network_cannot_take_is_refused(scene: Path, tmp_path: Path) -> None:
    fpn = Model.new(
        architecture="FPN",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=Legend.parse("a,b"),
    )
    fpn.card = fpn.card.changed(image_size=(64, 100))
    with pytest.raises(OptionError, match="100 .*expected a multiple of 32: use 128"):
        geoseg.predict(scene, fpn, output=tmp_path / "m.tif")


def test_what_cannot_be_read_is_no_data_when_asked(scene: Path, tmp_path: Path) -> None:

    with rasterio.open(scene) as given:
        pixels, profile = given.read(), given.profile
    pixels[pixels == 0] = 9
    noise = np.random.default_rng(0).integers(0, 60, pixels.shape)
    profile |= {"compress": "deflate", "tiled": True, "blockxsize": 32, "blockysize": 32}
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as dataset:
        dataset.write((pixels // 2 + noise + 1).astype(np.uint8))
    data = (tmp_path / "b.tif").read_bytes()
    middle = len(data) // 2
    (tmp_path / "b.tif").write_bytes(data[:middle] + b"\xff" * 3000 + data[middle + 3000 :])
    model = pointwise_model(3, image_size=(48, 64))
    with pytest.raises(SceneError, match="damaged"):
        geoseg.predict(Scene.open(tmp_path / "b.tif"), model, **FP32)
    options = {"precision": "fp32", "on_error": "nodata"}
    geoseg.predict(tmp_path / "b.tif", model, **options, output=tmp_path / "m.tif")
    report = json.loads((tmp_path / "m.tif.run.json").read_text())
    with rasterio.open(tmp_path / "m.tif") as ours:
        lost = ours.read(1) == 255
    assert report["damaged"]
    for row, col, height, width in report["damaged"]:
        assert lost[row : row + height, col : col + width].all()
    assert lost.mean() < 0.5
