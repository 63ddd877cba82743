"""The example scripts run as written, on the data that come with the package."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio

from geoseg.demo.scene import PACKAGED
from geoseg.models.card_file import read_card

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [name, str(folder)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_every_example_is_tested_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "areas_by_class.py",
        "plan_country.py",
        "predict_to_xarray.py",
        "untrained_model.py",
    }


def test_predict_to_xarray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("predict_to_xarray.py", tmp_path, monkeypatch)
    legend = read_card(PACKAGED.model).classes
    with rasterio.open(PACKAGED.bands["red"]) as scene, rasterio.open(tmp_path / "surely.tif") as surely:
        assert (surely.transform, surely.crs, surely.nodata) == (scene.transform, scene.crs, 255)
        codes = surely.read(1)
    assert set(np.unique(codes)) <= {*legend.codes, 255}
    assert 0 < (codes == 255).mean() < 1
    assert (tmp_path / "landcover.png").stat().st_size > 20_000
    printed = capsys.readouterr().out
    assert all(name.replace(" ", "_") in printed for name in legend.names)


def test_areas_by_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("areas_by_class.py", tmp_path, monkeypatch)
    fields = pyogrio.read_dataframe(tmp_path / "fields.gpkg", layer="fields")
    assert len(fields) > 0
    assert (fields["area_m2"] >= 1e4).all()
    assert set(fields["class_name"]) == {"fields and wetland"}
    assert "hectares" in capsys.readouterr().out


@pytest.mark.long
def test_untrained_model_replaces_what_an_earlier_run_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("untrained.safetensors", "untrained.gpkg"):
        (tmp_path / name).write_text("earlier")
    run("untrained_model.py", tmp_path, monkeypatch)
    assert read_card(tmp_path / "untrained.safetensors").gsd_m == 30
    info = pyogrio.read_info(tmp_path / "untrained.gpkg", layer="landcover")
    assert info["features"] > 0
    assert "opens in QGIS" in capsys.readouterr().out


def test_plan_country(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "plan_country.py",
        "--speed",
        "1",
        "--workers",
        "10,1000",
        "--margin",
        "1",
        "--bytes-in",
        "2",
    ]
    monkeypatch.setattr("sys.argv", [*arguments, "--overlap", "1", "--polygons", "1000"])
    runpy.run_path(str(EXAMPLES / "plan_country.py"), run_name="__main__")
    head, *rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    table = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(row["land"], row["pixel"], row["workers"]) for row in table[:3]] == [
        ("Germany", "10 m", "10"),
        ("Germany", "10 m", "1,000"),
        ("Germany", "0.2 m", "10"),
    ]
    # 357,600 km2 in pixels of 100 m2; ten million pixels a second, and 3.6 s of polygons.
    assert (table[0]["gigapixels"], table[0]["TB read"]) == ("3.576", "0.007152")
    assert float(table[0]["days"]) == pytest.approx((357.6 + 3.576) / 86_400, rel=0.01)
    assert (table[0]["slowest"], table[1]["slowest"]) == ("computing", "reading")
