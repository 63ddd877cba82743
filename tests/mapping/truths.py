"""Made-up truths whose pixel values are classes, and models that read them off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS
from scipy.ndimage import zoom

from geoseg.models.model import Model

CLASSES = "water,forest,town"
NODATA = 255
UTM32, UTM33 = CRS.from_epsg(32632), CRS.from_epsg(32633)


class ReadsOff(torch.nn.Module):
    """Logits that say the class that a pixel's value is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-32 * (x - code) ** 2 for code in (0.0, 0.5, 1.0)], dim=1)


def reading_model(tile_size: int = 32, overlap: int = 8, module: torch.nn.Module | None = None) -> Model:
    """A pointwise model of one band that holds the classes 0, 1 and 2."""
    return Model.wrap(
        module or ReadsOff(),
        bands=["class"],
        classes=CLASSES,
        value_range=(0, 2),
        dtype="uint8",
        mean=0.0,
        std=1.0,
        tile_size=tile_size,
        overlap=overlap,
        name="reads off",
    )


def truth(shape: tuple[int, int], seed: int = 0, step: int = 8) -> npt.NDArray[np.uint8]:
    """Patches of three classes, of about `step` px."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((shape[0] // step + 2, shape[1] // step + 2))
    smooth = zoom(coarse, step, order=1)[: shape[0], : shape[1]]
    return np.digitize(smooth, [0.4, 0.6]).astype(np.uint8)


def write_scene(
    path: Path,
    codes: npt.NDArray[np.uint8],
    corner: tuple[float, float] = (0, 0),
    *,
    origin: tuple[float, float] = (500_000, 5_000_000),
    pixel: float = 10,
    crs: CRS | None = UTM33,
    **tags: Any,
) -> Path:
    """Write codes as a scene whose first pixel is the pixel (row, col) of a lattice."""
    row, col = corner
    transform = Affine(pixel, 0, origin[0] + col * pixel, 0, -pixel, origin[1] - row * pixel)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        dtype="uint8",
        height=codes.shape[0],
        width=codes.shape[1],
        crs=crs,
        transform=transform,
        nodata=NODATA,
    ) as file:
        file.write(codes, 1)
        file.update_tags(**tags)
    return path
