"""Class maps of two tiles, one north of the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine

from tests.vector.test_vectorize import write_raster

SOUTH = Affine(10, 0, 500000, 0, -10, 5399700)


def codes_of(seed: int, most: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, most + 1, (30, 40)).astype(np.uint8)


@pytest.fixture
def north(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write_raster(tmp_path / "in" / "north.tif", codes_of(1), nodata=0)


@pytest.fixture
def south(north: Path) -> Path:
    return write_raster(north.with_name("south.tif"), codes_of(2, 4), SOUTH, nodata=0)
