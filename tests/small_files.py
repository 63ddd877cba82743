"""Small real files: rasters of any kind, a scene and a model that take no time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from geoseg.grid.legend import Legend
from geoseg.models.model import Model

UTM = {"crs": "EPSG:32633", "transform": Affine(10.0, 0.0, 399960.0, 0.0, -10.0, 5700000.0)}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write (band, row, col) pixels to a file; whatever it takes (mask, colorinterp, ...) by keyword."""

    def write(name: str, pixels: np.ndarray, *, mask=None, setup=None, **profile) -> Path:
        path = tmp_path / name
        count, height, width = pixels.shape
        profile = {"driver": "GTiff", **UTM, **profile}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", count=count, height=height, width=width, dtype=pixels.dtype, **profile
            ) as dataset:
                dataset.write(pixels)
                if setup:
                    setup(dataset)
                if mask is not None:
                    dataset.write_mask(mask)
        return path

    return write


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smallest real network: untrained, three bands, codes 1 to 3."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=Legend.parse("water=#0000ff,forest=#228b22,town=#ff0000"),
        tile_size=64,
        overlap=16,
        decoder_options={"decoder_channels": [16, 16, 8, 8, 8]},
    ).save(path)
    return path


@pytest.fixture(scope="session")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rotated grid, 150 x 200 px, three named uint8 bands, a corner without data."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    generator = np.random.default_rng(3)
    coarse = generator.integers(1, 255, (3, 15, 20)).repeat(10, axis=1).repeat(10, axis=2)
    pixels = np.clip(coarse + generator.integers(-9, 9, (3, 150, 200)), 1, 255).astype(np.uint8)
    pixels[:, :40, :30] = 0
    profile = {
        "driver": "GTiff", "count": 3, "height": 150, "width": 200, "dtype": "uint8", "nodata": 0,
        "crs": "EPSG:32633", "transform": Affine(8.66, 5.0, 500000.123, 5.0, -8.66, 9900000.456),
        "tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
        for number, name in enumerate(("red", "green", "blue"), start=1):
            dataset.set_band_description(number, name)
    return path
