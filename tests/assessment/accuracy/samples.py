"""Maps with a known truth, and labels as somebody would give them in QGIS."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.classmap import ClassMap

Codes = npt.NDArray[np.uint8]
UTM = Grid(
    height=120, width=160, transform=Affine(10, 0, 332740, 0, -10, 3837710), crs=CRS.from_epsg(32652).to_wkt()
)
LEGEND = Legend.parse("water=#3070c0,forest=#228b22,field=#d0c040")


def made_up(grid: Grid = UTM, seed: int = 1) -> Codes:
    """Blocks of 4 px of codes 1 to 3 in unequal shares, and of no data."""
    random = np.random.default_rng(seed)
    shape = -(-grid.height // 4), -(-grid.width // 4)
    blocks = random.choice([1, 2, 3, NODATA], size=shape, p=[0.5, 0.3, 0.1, 0.1]).astype(np.uint8)
    return np.kron(blocks, np.ones((4, 4), np.uint8))[: grid.height, : grid.width]


def map_of(codes: Codes, grid: Grid = UTM, legend: Legend = LEGEND) -> ClassMap:
    return ClassMap(codes=codes, valid=codes != NODATA, grid=grid, legend=legend)


def truth_of(codes: Codes, seed: int = 2, wrong: float = 0.2) -> Codes:
    """What is on the ground: a fifth of the pixels is of any class."""
    random = np.random.default_rng(seed)
    other = random.integers(1, 4, codes.shape, dtype=np.uint8)
    return np.where(random.random(codes.shape) < wrong, other, codes)


def write_labels(path: Path, labels: Sequence[object], column: str = "reference") -> None:
    """Write a value for each point, by number, as QGIS saves it; None for none."""
    with closing(sqlite3.connect(path)) as database, database:
        teach_geometry(database)
        for number, label in enumerate(labels, start=1):
            database.execute(f"UPDATE sample SET {column} = ? WHERE point = ?", (label, number))


def teach_geometry(database: sqlite3.Connection) -> None:
    """Add the functions of QGIS's and GDAL's SQLite that triggers of the spatial index use; points have no envelope."""
    database.create_function("ST_IsEmpty", 1, lambda _: 0)
    for name, at in (("ST_MinX", 13), ("ST_MaxX", 13), ("ST_MinY", 21), ("ST_MaxY", 21)):
        database.create_function(name, 1, lambda blob, at=at: struct.unpack_from("<d", blob, at)[0])
