"""Small made-up data sets, and what it takes to open them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from geoseg.datasets.opening import Opened, open_data
from geoseg.learning.config import Config
from geoseg.models.card import Card

CLASSES = {1: "left", 2: "right"}


def write_tif(
    path: Path, pixels: npt.NDArray[Any], *, at: float | None = None, epsg: int = 32652, **tags: Any
) -> Path:
    """Write (band, row, col) or (row, col) pixels of 10 m, `at` that many px east; without a CRS by default."""
    bands = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    place: dict[str, Any] = {"transform": from_origin(0, 0, 2, 2)}
    if at is not None:
        place = {"crs": CRS.from_epsg(epsg), "transform": from_origin(500_000 + 10 * at, 4e6, 10, 10)}
    height, width = bands.shape[1:]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(bands),
        height=height,
        width=width,
        dtype=bands.dtype,
        **place,
        **tags,
    ) as file:
        file.write(bands)
    return path


def write_set(folder: Path, count: int = 6, shape: tuple[int, int] = (12, 16)) -> Path:
    """Write images/0.tif ... of two bands and labels/0.tif ... of codes 0 (unknown), 1, 2; no mask twice."""
    random = np.random.default_rng(0)
    for number in range(count):
        labels = random.integers(0, 3, size=shape, dtype=np.uint8)
        image = random.integers(1, 255, size=(2, *shape), dtype=np.uint8)
        write_tif(folder / "images" / f"{number}.tif", image)
        write_tif(folder / "labels" / f"{number}.tif", labels)
    return folder


def description(**changes: Any) -> dict[str, Any]:
    """Fields of a description of what `write_set` writes; None takes a field away."""
    fields: dict[str, Any] = {
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": ["blue", "green"],
        "classes": CLASSES,
        "ignore": [0],
        "split": {"method": "every", "n": 3},
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def config_of(folder: Path, fields: Mapping[str, Any]) -> Config:
    """Configuration of a data description that lies in a folder."""
    return Config.of({"data": fields, "train": {"epochs": 1}}, "config.yaml", folder)


def card_of(config: Config, dtype: str = "uint8") -> Card:
    """Card that a new network for a configuration would have."""
    bands = len(config.data.bands)
    return Card(
        name="small",
        created_by="test",
        architecture="Unet",
        encoder="resnet18",
        task=config.data.task,
        bands=[{"name": band} for band in config.data.bands],
        dtype=dtype,
        value_range=(0, 255),
        scale=[1.0] * bands,
        offset=[0.0] * bands,
        mean=[0.0] * bands,
        std=[1.0] * bands,
        tile={"size": 64, "overlap": 16},
        legend=config.data.legend.classes,
        channels=config.data.channels,
    )


def open_set(folder: Path, *, skip_bad: bool = False, dtype: str = "uint8", **changes: Any) -> Opened:
    """Open what `write_set` wrote, described with changes."""
    config = config_of(folder, description(**changes))
    return open_data(config.data, config.data_root, card_of(config, dtype), skip_bad=skip_bad)


def names(opened: Opened) -> dict[str, list[str]]:
    """Keys of the images of each split."""
    return {split: [pair.name for pair in pairs] for split, pairs in opened.splits.items()}
