"""Fixtures: small models and data sets that the tests of several floors share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from geoseg.grid.legend import Legend
from geoseg.models.model import Model

SMALL: dict[str, Any] = {
    "architecture": "Unet",
    "encoder": "tu-mobilenetv3_small_050",
    "bands": ["blue", "green"],
    "classes": Legend.parse("water,forest=#228b22,town"),
    "decoder_options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    "tile_size": 32,
    "overlap": 8,
}


@pytest.fixture
def small() -> dict[str, Any]:
    """Arguments of `Model.new` for a network that is quickly made."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def model() -> Model:
    """A small untrained model, in memory."""
    return Model.new(**SMALL)


WriteRaster = Callable[..., Path]


@pytest.fixture
def write_raster() -> WriteRaster:
    """Write a GeoTIFF of (band, row, col) or (row, col) numbers at a column of the world, in px."""

    def write(path: Path, pixels: npt.NDArray[Any], *, at_col: int = 0, **tags: Any) -> Path:
        bands = pixels if pixels.ndim == 3 else pixels[None]
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=len(bands),
            height=bands.shape[1],
            width=bands.shape[2],
            dtype=bands.dtype,
            crs=CRS.from_epsg(32652),
            transform=from_origin(500_000 + 10 * at_col, 4_000_000, 10, 10),
            **tags,
        ) as file:
            file.write(bands)
        return path

    return write


CONFIG = """
data:
  images: images/*.tif
  labels: labels/*.tif
  bands: [blue, green]
  classes:
    10: {name: left, color: "#d7301f"}
    20: {name: right}
  ignore: [0]
  split: {train: [a], val: [b]}
model:
  architecture: Unet
  encoder: tu-mobilenetv3_small_050
  decoder_options: {encoder_depth: 3, decoder_channels: [16, 8, 8]}
  tile_size: 32
  overlap: 8
train:
  epochs: 2
  chips_per_epoch: 16
  chip_size: 32
  batch_size: 4
  learning_rate: 0.01
  precision: fp32
  device: cpu
  threads: 1
"""


@pytest.fixture
def toy(tmp_path: Path, write_raster: WriteRaster) -> Path:
    """Configuration of a data set whose two classes a band tells apart: low numbers left, high ones right."""
    random = np.random.default_rng(0)
    for at_col, stem in ((0, "a"), (100, "b")):
        labels = np.where(np.arange(64) < 32, 10, 20)[None].repeat(48, axis=0).astype(np.uint8)
        labels[: 3 if stem == "a" else 4] = 0  # one mask under two images would be refused
        image = random.normal(100, 10, size=(2, 48, 64)) + np.where(labels == 20, 80, 0)
        write_raster(tmp_path / "images" / f"{stem}.tif", image.astype(np.uint8), at_col=at_col)
        write_raster(tmp_path / "labels" / f"{stem}.tif", labels, at_col=at_col)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path
