"""`describe` tells what a file is by its bytes, and what a person wants to know of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from geoseg_cli.info import describe_versions
from geoseg_cli.main import group

from geoseg.assessment.describe import describe
from geoseg.errors import GeosegError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.models.model import Model
from geoseg.raster.classmap import class_map_sidecars, write_cog
from geoseg.vector.vectorize import vectorize

LEGEND = Legend.parse("water=#3070c0,forest=#228b22")
TRANSFORM = Affine(10, 0, 500000, 0, -10, 5400000)
CODES = np.kron(np.array([[1, 2, 2], [NODATA, 1, 1]], dtype=np.uint8), np.ones((4, 4), dtype=np.uint8))


@pytest.fixture
def class_map(tmp_path: Path) -> Path:
    path = tmp_path / "map.tif"
    crs = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    grid = Grid(height=8, width=12, transform=TRANSFORM, crs=crs)
    write_cog(
        path, iter([CODES]), grid, legend=LEGEND, description="land cover", tags={"GEOSEG_VERSION": "9"}
    )
    return path


def shown(path: Path) -> str:
    """What `geoseg info` prints; with --json it prints exactly what `describe` returns."""
    as_json = CliRunner().invoke(group, ["info", str(path), "--json"])
    assert json.loads(as_json.stdout) == json.loads(json.dumps(describe(path)))
    text = CliRunner().invoke(group, ["info", str(path)])
    assert (text.exit_code, text.stderr) == (0, "")
    return text.stdout


def test_a_scene(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=20,
        width=30,
        count=2,
        dtype="uint16",
        crs="EPSG:32633",
        transform=TRANSFORM,
    ) as file:
        file.write(np.ones((2, 20, 30), dtype=np.uint16))
        file.descriptions = ("red", "nir")
    found = describe(path)
    assert (found["kind"], found["driver"], found["bands"], found["names"]) == (
        "scene",
        "GTiff",
        2,
        ["red", "nir"],
    )
    assert (found["dtype"], found["height"], found["width"]) == ("uint16", 20, 30)
    assert found["transform"] == list(TRANSFORM)[:6]
    assert found["bounds"] == [500000, 5399800, 500300, 5400000]
    assert found["crs"].startswith("EPSG:32633 ")
    assert found["pixel_size_m"] == pytest.approx(10, rel=1e-3)
    assert "red, nir" in shown(path)


@pytest.mark.parametrize(("nodata", "found"), [(-9999.0, -9999.0), (np.nan, "nan"), (None, None)])
def test_no_data_of_a_scene_is_valid_json(tmp_path: Path, nodata: float | None, found: object) -> None:
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=5, width=6, count=2, dtype="float32", nodata=nodata,
        crs="EPSG:32633", transform=TRANSFORM,
    ) as file:  # fmt: skip
        file.write(np.ones((2, 5, 6), dtype=np.float32))
    described = describe(path)
    assert described["nodata"] == found
    json.dumps(described, allow_nan=False)


def test_a_scene_without_a_place(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    # rasterio warns the writer of a plain image; whoever reads it through geoseg is not warned
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", driver="PNG", height=5, width=6, count=3, dtype="uint8") as file,
    ):
        file.write(np.ones((3, 5, 6), dtype=np.uint8))
    found = describe(path)
    assert (found["kind"], found["crs"], found["pixel_size_m"]) == ("scene", None, None)
    assert "crs           -" in shown(path)


def test_a_class_map(class_map: Path) -> None:
    found = describe(class_map)
    assert found["kind"] == "class map"
    assert found["classes"] == [
        {"code": 1, "name": "water", "color": "#3070c0", "pixels": 48},
        {"code": 2, "name": "forest", "color": "#228b22", "pixels": 32},
    ]
    assert (found["valid_pixels"], found["nodata_pixels"], found["codes_without_a_class"]) == (80, 16, [])
    assert found["tags"]["GEOSEG_VERSION"] == "9"
    assert "1  water  #3070c0  48" in shown(class_map)


def test_a_class_map_whose_names_stand_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=8, width=12, count=1, dtype="uint8", nodata=NODATA,
        crs="EPSG:32633", transform=TRANSFORM,
    ) as file:  # fmt: skip
        file.write(CODES, 1)
    assert describe(path)["kind"] == "scene"
    Path(f"{path}.aux.xml").write_text(class_map_sidecars(LEGEND)[".aux.xml"])
    assert [c["name"] for c in describe(path)["classes"]] == ["water", "forest"]


def test_a_geopackage(class_map: Path, tmp_path: Path) -> None:
    path = tmp_path / 'odd "name" #1.gpkg'
    vectorize(class_map, output=path, layer='my "layer"')
    found = describe(path)
    (layer,) = found["layers"]
    assert found["kind"] == "GeoPackage"
    assert (layer["name"], layer["geometry"], layer["features"]) == ('my "layer"', "POLYGON", 3)
    assert layer["crs"].startswith("EPSG:32633 ")
    assert layer["bounds"] == [500000, 5399920, 500120, 5400000]
    assert layer["style"] is not None
    assert [(c["code"], c["name"], c["polygons"]) for c in layer["classes"]] == [
        (1, "water", 2),
        (2, "forest", 1),
    ]
    assert sum(c["area_m2"] for c in layer["classes"]) == pytest.approx(8000, rel=1e-3)
    assert 'my "layer"' in shown(path)


def test_a_geopackage_is_not_changed_by_looking_at_it(class_map: Path, tmp_path: Path) -> None:
    path = tmp_path / "o.gpkg"
    vectorize(class_map, output=path)
    before = path.read_bytes(), sorted(tmp_path.iterdir())
    describe(path)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize(
    "content", [b"", b"text", b"SQLite format 3\0", b"II*\0", b"\x08\0\0\0\0\0\0\0{}      "]
)
def test_a_file_of_no_kind_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.bin"
    path.write_bytes(content)
    with pytest.raises(GeosegError, match=r"odd\.bin"):
        describe(path)
    with pytest.raises(GeosegError, match="nowhere"):
        describe(tmp_path / "nowhere")


def test_a_database_that_is_no_geopackage_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (a)")
        database.commit()
    with pytest.raises(GeosegError, match="not a GeoPackage"):
        describe(path)


def test_the_installation() -> None:
    found: dict[str, Any] = describe_versions()
    assert "missing" not in found["packages"].values()
    assert {"torch", "rasterio", "dask", "segmentation-models-pytorch"} <= set(found["packages"])
    compute = found["compute"]
    assert ("no GPU because" in compute) == (compute["device"] == "cpu")
    text = CliRunner().invoke(group, ["info"]).stdout
    assert "GDAL of rasterio" in text
    assert json.loads(CliRunner().invoke(group, ["info", "--json"]).stdout) == found


def test_a_model_file_says_when_a_class_is_there(tmp_path: Path, small: dict[str, Any]) -> None:
    model, path = Model.new(**small, task="multilabel"), tmp_path / "m.safetensors"
    model.save(path)
    untold = {"probability_above": 0.5, "region_px_at_least": 0}
    assert describe(path)["present"] == {"water": untold, "forest": untold, "town": untold}
    model.card = model.card.changed(thresholds=(0.5, 0.35, 0.9), min_regions=(0, 900, 0))
    model.save(path, overwrite=True)
    assert describe(path)["present"]["forest"] == {"probability_above": 0.35, "region_px_at_least": 900}
    assert "  forest\n    probability_above   0.35\n    region_px_at_least  900\n" in shown(path)
    model = Model.new(**small)
    model.save(path, overwrite=True)
    assert "present" not in describe(path)


def test_what_strangers_wrote_is_shown_without_control_characters(tmp_path: Path, model: Model) -> None:
    """Names of bands, files and models may hold what a terminal obeys: colours, titles, lines of their own."""
    scene = tmp_path / "scene\x1b[31m.tif"
    with rasterio.open(
        scene, "w", driver="GTiff", height=2, width=2, count=1, dtype="uint8", transform=TRANSFORM
    ) as file:
        file.descriptions = ("red\x1b]0;title\x07\x9b2J",)
    card = model.card.changed(name="fine\nscale  9\x1b[2J", license="\u202eTIM", training={"\x1bk": "\x1b"})
    evil = Model(card.changed(bands=[{"name": "\x1b[31m"}, *card.bands[1:]]), model.network)
    evil.save(tmp_path / "m.safetensors")
    for path in (scene, tmp_path / "m.safetensors"):
        text = CliRunner().invoke(group, ["info", str(path)]).stdout
        assert not set(text) & set("\x1b\x07\x9b\u202e")
        assert r"\x1b" in text
        as_json = CliRunner().invoke(group, ["info", str(path), "--json"]).stdout
        assert not set(as_json) & set("\x1b\x07\x9b\u202e")
        assert json.loads(as_json) == json.loads(json.dumps(describe(path)))
    assert r"fine\nscale  9\x1b[2J" in text
    assert "\x1b" not in repr(evil)
