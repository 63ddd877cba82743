"""Outputs may be called whatever the file system allows; no name is taken for an address, an option or a driver."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from geoseg_cli.main import group
from rasterio.crs import CRS

import geoseg
from geoseg.errors import DataError, OutputError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.labels.conversion import Conversion, convert
from geoseg.raster.classmap import write_cog
from geoseg.raster.scene import Scene
from geoseg.storage.output import claim
from geoseg.vector.vectorize import vectorize
from geoseg.vector.write import write
from geoseg.vectorfiles.reading import check_vector_file
from tests.marks import few
from tests.vector.test_vectorize import write_raster

LEGEND = Legend.parse("water=#0000ff,forest=#00ff00,town=#ff0000")
CODES = np.random.default_rng(1).integers(1, 4, (6, 8)).astype(np.uint8)
NAMES = (
    " blank", "tab\tbed", "end\nof", "file:x", "http:x", "s3:x", "GPKG:x", "GTIFF_RAW:x", "zip:x!y", "a;b", "a?b#c%20d",
    "~x", "\"q'ü😀\x1b[31m", "-dash",
)  # fmt: skip


@pytest.fixture
def raster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A class map; the folder in which the test is begun."""
    path = write_raster(tmp_path / "m.tif", CODES)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    return path


def left() -> list[str]:
    return sorted(item.name for item in Path().iterdir() if item.suffix not in (".qml", ".xml"))


@pytest.mark.parametrize("stem", few(NAMES, 8))
def test_any_name_is_only_a_name(raster: Path, stem: str) -> None:
    for suffix in (".gpkg", ".parquet", ".fgb", ".geojson"):
        path = Path(stem + suffix)
        vectorize(raster, legend=LEGEND, output=path)
        assert left() == [path.name]
        plain = Path(shutil.move(path, raster.with_name(f"plain{suffix}")))
        np.testing.assert_array_equal(geoseg.rasterize(plain, like=raster).to_numpy(), CODES)
    frame = vectorize(raster, legend=LEGEND)
    assert write(frame, Path(f"{stem}.gpkg")).is_file()
    assert vectorize(raster, legend=LEGEND, output=f"{stem}.gpkg", overwrite=True).is_file()
    assert vectorize(raster, legend=LEGEND, output=f"{stem}.gpkg", layer="more", append=True).is_file()
    Path(f"{stem}.gpkg").unlink()
    for suffix in (".tif", ".png", ".csv", ".gpkg"):
        path = convert(Conversion(source=raster, target=Path(stem + suffix))).path
        assert path.is_file()
        if suffix == ".tif":
            assert Scene.open(path, palette_as_codes=True).grid.shape == CODES.shape
            geoseg.rasterize(plain.with_name("plain.gpkg"), like=raster, output=path, overwrite=True)
        path.unlink()
    assert left() == []


@pytest.mark.parametrize(
    "name", [" blank.gpkg", "http:x.parquet", "GPKG:x.gpkg", "~x.geojson", "a?b#c%20d.fgb"]
)
def test_such_a_file_is_read_by_its_name(raster: Path, name: str) -> None:
    vectorize(raster, legend=LEGEND, output=name)
    np.testing.assert_array_equal(geoseg.rasterize(name, like=raster).to_numpy(), CODES)


@pytest.mark.parametrize(
    ("name", "words"), [("a!b.fgb", "taken for an archive"), ("a\tb.fgb", "tabs or ends of lines")]
)
def test_names_that_cannot_be_read_are_said(raster: Path, name: str, words: str) -> None:
    """Pyogrio would read another file, one that is called ab.fgb."""
    vectorize(raster, legend=LEGEND, output=name)
    with pytest.raises(DataError, match=words):
        check_vector_file(Path(name))


def test_bytes_that_are_no_text_are_refused_before_the_work(raster: Path) -> None:
    name = os.fsdecode(b"b\xff\xfe")
    for suffix in (".gpkg", ".parquet"):
        with pytest.raises(OutputError, match=r"b\\udcff\\udcfe.*not valid UTF-8"):
            vectorize(raster, output=name + suffix)
    Path(f"{name}.tif").write_bytes(raster.read_bytes())
    with pytest.raises(SceneError, match="not valid UTF-8"):
        Scene.open(f"{name}.tif")
    done = CliRunner().invoke(group, ["vectorize", f"{name}.tif", "-o", "o.gpkg"])
    assert (done.exit_code, "this is a bug" in done.stderr) == (1, False)
    assert "not valid UTF-8" in done.stderr


def test_a_name_without_room_for_working_files_is_refused_with_the_reason(raster: Path) -> None:
    with pytest.raises(
        OutputError, match="the name is too long: working files beside it need 12 more characters"
    ):
        vectorize(raster, output="x" * 246 + ".gpkg")
    assert vectorize(raster, output="x" * 238 + ".gpkg").is_file()


def test_messages_name_the_output_and_not_its_working_files(
    raster: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patched, pytest.raises(OutputError) as caught:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(full))
        vectorize(raster, output="o.gpkg")
    assert str(caught.value).startswith("o.gpkg: ")
    assert "geoseg-part" not in str(caught.value)
    # A CRS that GeoTIFF's tags cannot hold: the warning spoke of product.tif.
    crs = CRS.from_user_input("+proj=isea").to_wkt()
    grid = Grid(height=6, width=8, transform=Scene.open(raster).grid.transform, crs=crs)
    with claim(Path("landcover.tif"), overwrite=False) as claimed:
        write_cog(claimed.prepare(), iter([CODES]), grid, legend=LEGEND, description="", tags={})
    assert "landcover.tif: a GeoTIFF cannot hold all of the scene's CRS" in caplog.text
