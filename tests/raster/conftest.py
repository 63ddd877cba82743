"""Real files for the raster tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

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
