"""Compile kernels in advance, for example when a container image is built."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from affine import Affine
from pyproj import CRS

from geoseg.engine.mosaic import Deciding, Mosaic
from geoseg.engine.network_input import Pixel, Scaling, normalise
from geoseg.engine.resize import resize_planes
from geoseg.errors import OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.tiling import Tiling
from geoseg.kernels.cache import VARIABLE, place
from geoseg.raster.classmap import ClassMap
from geoseg.vector.rasterize import rasterize
from geoseg.vector.vectorize import vectorize

_EDGE: Final = 48
_CLASSES: Final = 4
_STORED: Final = ("uint8", "uint16", "int16", "float32")
_DRAWN: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"min_area": "5px"},
    {"simplify": "1px"},
    {"smooth": True, "simplify": "1px", "min_area": "5px"},
    {"smooth": True, "classes": (1, 2)},
)
# Projected, geographic and without CRS: areas are measured in three ways.
_PLACES: Final = (
    ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000)),
    ("EPSG:4326", Affine(1e-4, 0, 15, 0, -1e-4, 45)),
    (None, Affine(1, 0, 0, 0, -1, 0)),
)


def warm_up() -> Path:
    """Compile the kernels for prediction, vectorization and rasterization, for the usual data types.

    Kernels compiled before are only loaded, which takes a second or two.

    Returns
    -------
    Path
        Folder of the compiled kernels.

    Raises
    ------
    OutputError
        If no folder can be written.
    """
    folder = place()
    if folder is None:
        raise OutputError(f"no folder for compiled kernels can be written; set {VARIABLE} to one")
    _predict()
    random = np.random.default_rng(1)
    codes = random.integers(1, _CLASSES + 1, (_EDGE // 2, _EDGE // 2)).repeat(2, axis=0).repeat(2, axis=1)
    valid = random.random(codes.shape) > 0.05
    confidence = random.integers(0, 255, codes.shape).astype(np.uint8)
    legend = Legend.made_up(range(1, _CLASSES + 1))
    with TemporaryDirectory() as scratch, _quiet():
        for number, ((crs, transform), drawn, dtype) in enumerate(_maps()):
            wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
            grid = Grid(height=_EDGE, width=_EDGE, transform=transform, crs=wkt)
            whole = ClassMap(codes=codes.astype(dtype), valid=valid, grid=grid, legend=legend)
            vectorize(whole, confidence=confidence, output=Path(scratch) / f"{number}.gpkg", **drawn)
        first = Path(scratch) / "0.gpkg"
        rasterize(first, output=first.with_suffix(".tif"))
        # GeoParquet has a box for each polygon.
        vectorize(whole, output=first.with_suffix(".parquet"))
    return folder


def _predict() -> None:
    """Normalise, resize and blend a tile for each data type and each task."""
    valid = np.ones((_EDGE, _EDGE), bool)
    tile = np.zeros((_CLASSES, _EDGE, _EDGE), np.float32)
    for dtype in _STORED:
        for known in (valid, valid[:0, :0]):
            normalise(np.zeros((_EDGE, _EDGE), dtype), known, Pixel(0, 0), Scaling(1.0, 0.0), tile[0])
        resize_planes(tile.astype(dtype), (1, 1), valid)
    tiling = Tiling(size=_EDGE, overlap=0)
    mosaic = Mosaic(tiling, (_EDGE, _EDGE), Deciding(task="multiclass", channels=range(_CLASSES)), _EDGE)
    mosaic.add((0, 0), tile, valid, (0, 0))


def _maps() -> Iterator[tuple[tuple[str | None, Affine], dict[str, Any], type[np.integer]]]:
    """Name every keyword, every place and every type of code once; which of them meet makes no other kernel."""
    yield from ((_PLACES[0], drawn, np.uint8) for drawn in _DRAWN)
    yield from ((place, _DRAWN[0], np.uint8) for place in _PLACES[1:])
    yield from ((_PLACES[0], drawn, np.int32) for drawn in (_DRAWN[0], _DRAWN[3]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log messages about the test maps."""
    logger = logging.getLogger("geoseg")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
