"""GeoPackages in write-ahead mode, as QGIS leaves them behind, on shares that cannot be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

import geoseg
from geoseg.assessment.describe import describe
from geoseg.errors import DataError, OutputBusyError, SceneError
from geoseg.grid.legend import Legend
from geoseg.labels.conversion import Conversion, convert
from geoseg.labels.vector_labels import found_classes
from geoseg.vector.vectorize import vectorize
from geoseg.vectorfiles.databases import opened
from tests.vector.test_vectorize import write_raster

LEGEND = Legend.parse("water=#0000ff,forest=#00ff00,town=#ff0000")
CODES = np.random.default_rng(1).integers(1, 4, (12, 16)).astype(np.uint8)


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Call it: from then on `tmp_path/share` cannot be written."""
    folder = tmp_path / "share"
    folder.mkdir()
    mounted = False

    def closed() -> Path:
        nonlocal mounted
        if os.geteuid() != 0:
            folder.chmod(0o555)
            return folder
        bind = subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True)
        if bind.returncode:
            pytest.skip("root writes everywhere unless a file system is read-only, and none can be mounted")
        mounted = True
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        return folder

    yield closed
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)
    folder.chmod(0o755)


@pytest.fixture
def polygons(tmp_path: Path, share: Callable[[], Path]) -> Path:
    """Land cover in write-ahead mode, closed by whoever wrote it."""
    raster = write_raster(tmp_path / "m.tif", CODES, nodata=0)
    path = vectorize(raster, legend=LEGEND, output=tmp_path / "share" / "l.gpkg")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    return path


def change(path: Path, *, keep: tuple[str, ...]) -> None:
    """Rename a class, and leave that in the files beside the database, as a program that was killed does."""
    copy = path.parent.parent / "open"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("CREATE TABLE later (x)")
        database.commit()
        shutil.copytree(path.parent, copy)
    for item in path.parent.iterdir():
        item.unlink()
    for suffix in ("", *keep):
        shutil.copy(copy / f"{path.name}{suffix}", path.parent)


@pytest.mark.filterwarnings("error")
def test_every_reader_reads_it_and_leaves_nothing(
    tmp_path: Path, polygons: Path, share: Callable[[], Path]
) -> None:
    before = [(item.name, item.stat().st_size) for item in share().iterdir()]
    assert describe(polygons)["layers"][0]["style"]
    np.testing.assert_array_equal(geoseg.rasterize(polygons).to_numpy(), CODES)
    done = convert(
        Conversion(
            source=polygons, target=tmp_path / "o.tif", like=tmp_path / "m.tif", class_field="class_name"
        )
    )
    assert [name for name, _ in done.pixels] == ["forest", "town", "water"]
    assert [(item.name, item.stat().st_size) for item in polygons.parent.iterdir()] == before


def test_nothing_is_left_in_a_folder_that_can_be_written(tmp_path: Path, polygons: Path) -> None:
    describe(polygons)
    geoseg.rasterize(polygons, output=tmp_path / "o.tif")
    assert [item.name for item in polygons.parent.iterdir()] == ["l.gpkg"]
    raster = tmp_path / "m.tif"
    vectorize(raster, legend=LEGEND, output=polygons, append=True, duplicate=True)
    vectorize(raster, legend=LEGEND, output=polygons, layer="other", append=True)
    vectorize(raster, legend=LEGEND, output=polygons, overwrite=True)
    assert len(gpd.read_file(polygons, layer="other")) == len(vectorize(raster))
    assert [item.name for item in polygons.parent.iterdir()] == ["l.gpkg"]


def test_changes_beside_it_count_where_they_can_be_read(polygons: Path, share: Callable[[], Path]) -> None:
    change(polygons, keep=("-wal", "-shm"))
    share()
    with opened(polygons) as database:
        assert database.execute("SELECT count(*) FROM later").fetchone() == (0,)
    np.testing.assert_array_equal(geoseg.rasterize(polygons).to_numpy(), CODES)


def test_changes_that_cannot_be_read_are_said(polygons: Path, share: Callable[[], Path]) -> None:
    """Without them it would show what was there before, silently."""
    change(polygons, keep=("-wal",))
    share()
    words = "l.gpkg-wal holds changes that cannot be read .*; copy both files"
    with pytest.raises(SceneError, match=words):
        describe(polygons)
    with pytest.raises(DataError, match=words):
        geoseg.rasterize(polygons)


def test_adding_to_an_open_file_is_refused_and_closes_nothing(tmp_path: Path, polygons: Path) -> None:
    with closing(sqlite3.connect(polygons)) as database:
        database.execute("CREATE TABLE later (x)")
        with pytest.raises(OutputBusyError, match="is open in another program"):
            vectorize(tmp_path / "m.tif", legend=LEGEND, output=polygons, append=True)
        database.execute("INSERT INTO later VALUES (1)")
        database.commit()


def test_training_reads_labels_there(polygons: Path, share: Callable[[], Path]) -> None:
    share()
    names = {c.name for c in found_classes(polygons, layer=None, class_field="class_name")}
    assert names == set(LEGEND.names)
