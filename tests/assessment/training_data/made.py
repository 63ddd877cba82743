"""A clean set of training data, into which faults are put one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import yaml
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin
from scipy import ndimage

COUNT, EDGE = 6, 96
NAMES = [f"p{number}" for number in range(COUNT)]
CLASSES = {1: {"name": "water", "color": "#2b8cbe"}, 2: {"name": "forest"}, 3: {"name": "field"}}


def labels_of(seed: int, edge: int = EDGE) -> npt.NDArray[np.uint8]:
    """Draw a map of patches of three classes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(edge, edge)), 6)
    return (1 + np.digitize(noise, np.quantile(noise, (0.3, 0.6)))).astype(np.uint8)


def image_of(labels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint16]:
    """Draw two bands in which the classes differ."""
    random = np.random.default_rng(seed + 100)
    planes = [np.array(levels)[labels] + random.normal(0, 40, labels.shape) for levels in _LEVELS]
    return np.array(planes).round().astype(np.uint16)


_LEVELS = ((0, 900, 1300, 2100), (0, 700, 1500, 1100))


def write(path: Path, pixels: npt.NDArray[Any], *, col: float = 0, row: float = 0, **tags: Any) -> None:
    """Write a GeoTIFF of (band, row, col) or (row, col) whose corner lies that many px from a point."""
    bands = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": bands.dtype, "crs": "EPSG:32652",
        "transform": from_origin(500_000 + 10 * col, 4_000_000 - 10 * row, 10, 10),
    } | tags  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture, if that is asked for
        with rasterio.open(path, "w", **profile) as file:
            file.write(bands)


def place(number: int) -> dict[str, float]:
    """Where a patch lies: apart from the others."""
    return {"col": number * 2 * EDGE}


def put_image(folder: Path, number: int, pixels: npt.NDArray[Any], **tags: Any) -> None:
    """Write the image of a patch."""
    write(folder / "images" / f"{NAMES[number]}.tif", pixels, **(place(number) | tags))


def put_labels(folder: Path, number: int, pixels: npt.NDArray[Any], **tags: Any) -> None:
    """Write the labels of a patch."""
    write(folder / "labels" / f"{NAMES[number]}.tif", pixels, **(place(number) | tags))


def clean_set(folder: Path) -> Path:
    """Write six patches with labels, and return the configuration of a training on them."""
    for number in range(COUNT):
        labels = labels_of(number)
        put_image(folder, number, image_of(labels, number))
        put_labels(folder, number, labels)
    return configured(folder)


def configured(folder: Path, **changes: Any) -> Path:
    """Write the configuration with changes of its data; None takes a field away."""
    data: Mapping[str, Any] = {
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": ["green", "nir"],
        "classes": CLASSES,
        "split": {"train": NAMES[:4], "val": NAMES[4:5], "test": NAMES[5:]},
    } | changes
    path = folder / "config.yaml"
    fields = {"data": {k: v for k, v in data.items() if v is not None}, "train": {"epochs": 1}}
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path
