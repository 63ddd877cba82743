"""Odd files from the test data of GDAL, rasterio and others: read exactly, or refused in one line."""

import logging
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.scene import Scene


def _oracle(path, scene, window):
    """Pixels and validity by rasterio's masks, which geoseg uses only where they are stored.

    Bands that share a no-data value are no data together.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            part = rasterio.windows.Window(window.col, window.row, window.width, window.height)
            pixels = dataset.read(list(scene.bands), window=part)
            valid = np.isfinite(pixels).all(axis=0)
            masks = dataset.read_masks(list(scene.bands), window=part) > 0
            shared = len({dataset.nodatavals[i - 1] for i in scene.bands}) == 1
            alone = all(dataset.mask_flag_enums[i - 1] == [MaskFlags.nodata] for i in scene.bands)
            valid &= masks.any(axis=0) if shared and alone else masks.all(axis=0)
            if scene.validity_band is not None:
                valid &= dataset.read(scene.validity_band, window=part) > 0
            return pixels, valid, dataset.dataset_mask(window=part) > 0


def test_every_file_is_read_exactly_or_refused_in_one_line(shared, caplog):
    caplog.set_level(logging.CRITICAL + 1)
    files = sorted(p for p in (shared / "tricky_tiffs").rglob("*") if p.suffix in (".tif", ".tiff", ".ovr"))
    assert len(files) == 319
    read, refused = 0, []
    for path in files:
        try:
            scene = Scene.open(path)
            height, width = scene.grid.shape
            window = Window(row=0, col=0, height=min(64, height), width=min(64, width))
            chip = scene.read(window)
        except SceneError as error:
            refused.append((path, str(error)))
            continue
        pixels, valid, mask = _oracle(path, scene, window)
        assert np.array_equal(chip.pixels, pixels, equal_nan=pixels.dtype.kind == "f"), path
        assert chip.pixels.dtype == scene.dtype == pixels.dtype, path
        assert np.array_equal(chip.valid, valid), path
        assert (chip.valid <= mask).all(), path
        read += 1
    assert read == 286
    assert len(refused) == 33
    assert all(str(path) in line and "\n" not in line for path, line in refused)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bigtiff_header_extract.tif", "claims 100000 x 100000 px"),
        ("scanline_more_than_2GB.tif", "claims blocks of"),
        ("byte_rpc.tif", "gdalwarp -rpc"),
        ("cfloat32.tif", "complex64"),
        ("byte_pct.tif", "expand_palette=True"),
    ],
)
def test_the_reason_is_named(shared, name, reason):
    with pytest.raises(SceneError, match=reason):
        Scene.open(shared / "tricky_tiffs" / "gdal" / name)
