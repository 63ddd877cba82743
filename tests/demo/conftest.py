"""A corner of the demo's scene, so that tests are quick."""

from __future__ import annotations

import shutil

import pytest
import rasterio
from rasterio.windows import Window

from geoseg.demo.scene import PACKAGED, DemoScene

CORNER = Window(col_off=400, row_off=0, width=200, height=180)
"""A part of the strip that is held back, a part beside it, and the reservoir."""


@pytest.fixture(scope="session")
def corner(tmp_path_factory: pytest.TempPathFactory) -> DemoScene:
    """Cut the bands; labels, recipe and model stay."""
    folder = tmp_path_factory.mktemp("corner of zion")
    for path in PACKAGED.folder.iterdir():
        shutil.copy(path, folder)
    scene = DemoScene(folder)
    for name, path in PACKAGED.bands.items():
        with rasterio.open(path) as file:
            pixels = file.read(1, window=CORNER)
            where = {"crs": file.crs, "transform": file.window_transform(CORNER), "nodata": file.nodata}
        profile = {**where, "driver": "GTiff", "width": 200, "height": 180, "count": 1, "dtype": "uint16"}
        with rasterio.open(scene.bands[name], "w", **profile) as file:
            file.write(pixels, 1)
    return scene
