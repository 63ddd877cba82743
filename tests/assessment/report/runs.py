"""Runs for the tests of the report: trained once, in seconds, and copied for those who change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import yaml
from affine import Affine

from geoseg.learning.train import train

AWKWARD = "Wälder & <script>alert(1)</script>"
"""A class name that a careless page would run."""
NAMES = ("Fläche bâtie", AWKWARD)

CONFIG = """
data:
  images: images/*.tif
  labels: labels/*.tif
  bands: [blue, green]
  classes:
    10: {name: "Fläche bâtie", color: "#c04030"}
    20: {name: "Wälder & <script>alert(1)</script>", color: "#208040"}
  ignore: [255]
  split: {train: [a, b], val: [c, d], test: [e]}
model:
  name: "<b>Küste</b>"
  architecture: Unet
  encoder: tu-mobilenetv3_small_050
  decoder_options: {encoder_depth: 3, decoder_channels: [16, 8, 8]}
  tile_size: 32
  overlap: 8
train:
  epochs: 3
  chips_per_epoch: 16
  chip_size: 32
  batch_size: 4
  learning_rate: auto
  precision: fp32
  device: cpu
  threads: 1
"""


def write(path: Path, pixels: npt.NDArray[np.uint8], at: int) -> None:
    """Write (band, row, col) or (row, col) as a GeoTIFF whose place on the ground is its own."""
    planes = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": len(planes), "height": planes.shape[1], "width": planes.shape[2],
        "dtype": "uint8", "crs": "EPSG:32652", "transform": Affine(10, 0, 500_000 + 10_000 * at, 0, -10, 4_000_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(planes)
        if len(planes) == 2:
            file.descriptions = ("blue", "green")


def make_run(folder: Path, changes: dict[str, dict[str, object]], codes: tuple[int, int] = (10, 20)) -> Path:
    """Train on images whose two classes a band tells apart, and return the run's folder.

    The k-th image is labelled but for its first k rows, the left of it as the first of the codes.
    """
    random = np.random.default_rng(0)
    for at, stem in enumerate("abcde"):
        right = np.tile(np.arange(64) >= 28 + at, (48, 1))
        image = random.normal(100, 10, size=(2, 48, 64)) + np.where(right, 80, 0)
        labels = np.where(right, codes[1], codes[0])
        labels[: at + 1] = 255
        write(folder / f"data/images/{stem}.tif", image.astype(np.uint8), at)
        write(folder / f"data/labels/{stem}.tif", labels.astype(np.uint8), at)
    fields = yaml.safe_load(CONFIG)
    for part, values in changes.items():
        fields[part] |= values
    (folder / "data/config.yaml").write_text(yaml.safe_dump(fields, allow_unicode=True))
    train(folder / "data/config.yaml", output=folder / "run")
    return folder / "run"
