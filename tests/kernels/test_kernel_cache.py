"""Where compiled kernels are kept: found in any folder, whole or not at all, and all there after `warm_up`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from affine import Affine

from geoseg.errors import OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.inference import warm_up
from geoseg.inference.predict import predict
from geoseg.kernels import cache as kernel_cache
from geoseg.kernels import kernel as kernels
from geoseg.kernels.cache import VARIABLE, place, read_object, writable, write_object
from geoseg.raster.classmap import ClassMap
from geoseg.vector.rasterize import rasterize
from geoseg.vector.vectorize import vectorize
from tests.oracle import pointwise_model


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folder that is named, the one beside the modules, and the one in the home."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "modules").mkdir()
    monkeypatch.setattr(kernel_cache, "_HERE", tmp_path / "modules")
    kernel_cache._tell_once.cache_clear()
    return list(kernel_cache._folders())


def test_the_first_folder_that_can_be_written_takes_them(folders: list[Path]) -> None:
    assert place() == folders[0]
    folders[0].rmdir()
    folders[0].touch()  # a file is no folder
    assert not writable(folders[0])
    assert place() == folders[1]
    write_object("a.kernel", "i8x1", b"code")
    assert read_object("a.kernel", "i8x1") == b"code"
    (kept,) = folders[1].iterdir()
    assert kept.name.startswith("a.kernel-")


def test_they_are_read_where_nothing_can_be_written(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_object("a.kernel", "i8x1", b"code")
    monkeypatch.setattr(kernel_cache, "writable", lambda folder: False)
    with caplog.at_level(logging.WARNING):
        assert read_object("a.kernel", "i8x1") == b"code"
        assert read_object("a.kernel", "i4x1") is None
        assert not caplog.records
        for form in ("i4x1", "u1x1"):
            write_object("a.kernel", form, b"more")
    assert len(caplog.records) == 1, "it is said once"
    assert "set NUMBA_CACHE_DIR to a writable folder" in caplog.text
    assert len(list(folders[0].iterdir())) == 1


@pytest.mark.parametrize("kept", [b"", b"x" * 31, b"x" * 99])
def test_what_is_not_whole_is_not_read(folders: list[Path], kept: bytes) -> None:
    write_object("a.kernel", "i8x1", b"code")
    (path,) = folders[0].iterdir()
    path.write_bytes(kept)
    assert read_object("a.kernel", "i8x1") is None
    write_object("a.kernel", "i8x1", b"code")
    assert read_object("a.kernel", "i8x1") == b"code"


_SOURCE = """STEP = 3
class Pair(NamedTuple):
    one: int
    other: int
@kernel
def inner(n: int) -> int:
    return n + STEP
@kernel
def outer(n: int) -> int:
    pair = Pair(n, 2)
    return inner(pair.one) * pair.other
"""
_SOURCES = {
    "itself": _SOURCE,
    "a number": _SOURCE.replace("(n, 2)", "(n, 4)"),
    "a constant of another kernel": _SOURCE.replace("STEP = 3", "STEP = 5"),
    "another kernel": _SOURCE.replace("n + STEP", "n - STEP"),
    "fields of a tuple in another order": _SOURCE.replace("one: int\n    other", "other: int\n    one"),
}


def test_another_source_is_another_kernel() -> None:
    prints = {}
    for what, source in _SOURCES.items():
        names: dict[str, Any] = {"kernel": kernels.kernel, "NamedTuple": NamedTuple, "__name__": "anywhere"}
        for _ in range(2):
            exec(f"# {what}\n{source}", names)
            prints.setdefault(names["outer"].fingerprint, what)
    assert sorted(prints.values()) == sorted(_SOURCES), "two of each are one"


def test_a_machine_without_a_place_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache, "writable", lambda folder: False)
    with pytest.raises(OutputError, match="set NUMBA_CACHE_DIR to one"):
        warm_up.warm_up()


@pytest.mark.long
def test_after_it_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert warm_up.warm_up() == place()
    looked_up: list[str] = []

    def found(name: str, form: str) -> bytes:
        code = read_object(name, form)
        assert code is not None, f"{name} was not compiled for {form}"
        looked_up.append(name)
        return code

    monkeypatch.setattr(kernels, "read_object", found)
    for kernel in _kernels():
        monkeypatch.setattr(kernel, "_entries", {})
    codes = np.kron(np.array([[1, 2, 1], [2, 1, 2]], np.uint8), np.ones((9, 9), np.uint8))
    grid = Grid(height=18, width=27, transform=Affine(10, 0, 5e5, 0, -10, 5e6), crs=None)
    whole = ClassMap(codes=codes, valid=codes > 0, grid=grid, legend=Legend.parse("a,b"))
    for number, options in enumerate(({}, {"min_area": "2px", "simplify": "1px"})):
        vectorize(whole, **options, output=tmp_path / f"{number}.gpkg")
    vectorize(whole, output=tmp_path / "0.parquet")
    rasterize(tmp_path / "0.gpkg", output=tmp_path / "0.tif")
    predict(np.zeros((3, 40, 50), np.uint8), pointwise_model(3), output=tmp_path / "predicted.tif")
    assert len(set(looked_up)) > 20
    assert {"normalise", "blend", "_cross", "visit_corners"} <= {
        name.rpartition(".")[2] for name in looked_up
    }


def _kernels() -> list[kernels.Kernel[Any, Any]]:
    import sys

    modules = [m for name, m in sys.modules.items() if name.startswith("geoseg.")]
    return [each for m in modules for each in vars(m).values() if isinstance(each, kernels.Kernel)]
