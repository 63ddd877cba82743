"""Where compiled kernels are kept: found, copied where they are only to be read, and all there after `warm_up`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from affine import Affine

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import ClassMap
from geoseg.vector import kernel_cache
from geoseg.vector.kernel_cache import VARIABLE, find_place, place, writable
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.vectorize import vectorize
from geoseg.vector.warm_up import warm_up


@pytest.fixture
def nothing_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system where no folder can be written to but the one of temporary files."""
    monkeypatch.setattr(kernel_cache, "writable", lambda folder: False)
    monkeypatch.setattr(kernel_cache.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_folder_that_can_be_written_is_left_to_numba(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    find_place()
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, str(tmp_path / "new" / "one"))
    find_place()
    assert os.environ[VARIABLE] == str(tmp_path / "new" / "one")
    assert place() == tmp_path / "new" / "one"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not writable(tmp_path / "file")
    assert writable(tmp_path / "folder")


@pytest.mark.usefixtures("nothing_to_write")
def test_where_nothing_can_be_written_a_private_folder_is_made(caplog: pytest.LogCaptureFixture) -> None:
    """numba itself would refuse to import a module with a kernel."""
    with caplog.at_level(logging.WARNING):
        find_place()
    private = Path(os.environ[VARIABLE])
    assert private.is_dir()
    assert str(private) == numba.config.CACHE_DIR
    if sys.platform != "win32":
        assert private.stat().st_mode & 0o777 == 0o700, "who can write a kernel can run code"
    assert "set NUMBA_CACHE_DIR to one" in caplog.text


@pytest.mark.usefixtures("nothing_to_write")
def test_kernels_that_are_only_to_be_read_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warmed = tmp_path / "warmed"
    (warmed / "vector_1").mkdir(parents=True)
    (warmed / "vector_1" / "trace.nbi").write_bytes(b"index")
    monkeypatch.setenv(VARIABLE, str(warmed))
    find_place()
    private = Path(os.environ[VARIABLE])
    assert private != warmed
    assert (private / "vector_1" / "trace.nbi").read_bytes() == b"index"
    assert not caplog.records


def test_after_it_nothing_is_compiled_for_a_map_of_bytes(tmp_path: Path) -> None:
    """In this process, whose kernels may be compiled before: those that a map needs are the same or fewer."""
    assert warm_up() == place()
    kernels = {id(each): each for module in list(sys.modules.values()) for each in _kernels(module)}
    assert len(kernels) > 40
    before = {key: len(kernel.signatures) for key, kernel in kernels.items()}
    codes = np.kron(np.array([[1, 2, 1], [2, 1, 2]], np.uint8), np.ones((9, 9), np.uint8))
    grid = Grid(height=18, width=27, transform=Affine(10, 0, 5e5, 0, -10, 5e6), crs=None)
    whole = ClassMap(codes=codes, valid=codes > 0, grid=grid, legend=Legend.parse("a,b"))
    for number, options in enumerate((VectorizeOptions(), VectorizeOptions(min_area="2px", simplify="1px"))):
        vectorize(whole, options=options, output=tmp_path / f"{number}.gpkg")
    assert {key: len(kernel.signatures) for key, kernel in kernels.items()} == before


def _kernels(module: object) -> list[numba.core.registry.CPUDispatcher]:
    if not getattr(module, "__name__", "").startswith("geoseg.vector"):
        return []
    found = numba.core.registry.CPUDispatcher
    return [each for each in vars(module).values() if isinstance(each, found)]
