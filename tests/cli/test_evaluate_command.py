"""``geoseg evaluate`` and ``geoseg compare``: what they print and write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import geoseg
from cli.main import group


@pytest.fixture(scope="module")
def predicted(model_file: Path, scene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a map, its confidence, and a reference that agrees with it in the upper half."""
    folder = tmp_path_factory.mktemp("predicted")
    geoseg.predict(
        scene_file, model_file, output=folder / "map.tif", confidence=folder / "confidence.tif", device="cpu"
    )
    with rasterio.open(folder / "map.tif") as file:
        codes, profile = file.read(1), file.profile
    other = codes.copy()
    other[75:] = np.where(other[75:] == 255, 255, other[75:] % 3 + 1)
    with rasterio.open(folder / "reference.tif", "w", **profile) as file:
        file.write(other, 1)
    return folder


def run(*words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(group, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.long
def test_a_map_and_a_model_have_the_same_scores(predicted: Path, model_file: Path, scene_file: Path) -> None:
    reference = predicted / "reference.tif"
    page, errors = predicted / "page.html", predicted / "errors.gpkg"
    words = ["--reference", reference, "--json", "--block-size", "50px"]
    output = CliRunner().invoke(
        group,
        list(map(str, (
            "evaluate", predicted / "map.tif", *words, "--confidence", predicted / "confidence.tif",
            "-o", page, "--errors", errors,
        ))),
    )  # fmt: skip
    assert output.exit_code == 0, output.output
    found = json.loads(output.stdout)
    assert f"Wrote {page}" in output.stderr
    assert f"Wrote {errors}" in output.stderr
    assert page.exists()
    assert errors.exists()
    again = CliRunner().invoke(
        group,
        list(map(str, ("evaluate", model_file, "--scene", scene_file, *words, "--device", "cpu"))),
    )
    assert again.exit_code == 0, again.output
    model = json.loads(again.stdout)
    assert model["maps"] == [str(model_file)]
    assert {**model, "maps": 0} == {**found, "maps": 0}
    assert found["scores"]["accuracy"]["value"] == pytest.approx(0.5, abs=0.05)
    assert found["calibration"]["bins"]
    stressed = run(
        "evaluate", model_file, "--scene", scene_file, "--reference", reference, "--stress", "--device", "cpu",
        "-o", predicted / "stress.html",
    )  # fmt: skip
    assert "shifted by 2 px   mean IoU " in stressed
    assert "<h2>Stress</h2>" in (predicted / "stress.html").read_text()
    text = run("evaluate", predicted / "map.tif", "--reference", reference)
    assert "overall accuracy" in text
    assert "water" in text


def test_two_maps_are_compared_on_the_command_line(predicted: Path) -> None:
    one, other = predicted / "map.tif", predicted / "reference.tif"
    text = run("compare", one, other, "-o", predicted / "changes.gpkg", "--min-area", "4px")
    assert "the maps agree on" in text
    found = json.loads(run("compare", one, other, "--reference", one, "--json", "--block-size", "30px"))
    assert found["differences"][0]["first"] == 1
    assert found["differences"][0]["high"] < 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "{map}"], "Missing option '--reference'"),
        (
            ["evaluate", "{map}", "--reference", "{map}", "--min-area", "5px"],
            "pass --errors, or leave out --min-area",
        ),
        (["evaluate", "{map}", "--reference", "{map}", "--scene", "{map}"], "scene is for models"),
        (["evaluate", "{map}", "--reference", "{map}", "--stress"], "stress is for models"),
        (["evaluate", "{map}", "--reference", "{map}", "--class-labels", "41,42"], "expected CLASS=VALUE"),
        (
            ["evaluate", "{map}", "--reference", "{map}", "--groups", "--block-size", "9px"],
            "--block-size or --groups",
        ),
        (["compare", "{map}", "{map}", "--block-size", "9"], "expected a number with its unit"),
        (["compare", "{map}", "{map}", "-o", "changes.tif"], "gpkg"),
        (["compare", "{map}", "{map}", "--min-area", "5px"], "pass -o, or leave out --min-area"),
    ],
)
def test_wrong_calls_are_one_line(predicted: Path, words: list[str], message: str) -> None:
    given = [word.format(map=predicted / "map.tif") for word in words]
    result = CliRunner().invoke(group, given)
    assert result.exit_code in (1, 2)
    assert message in result.output.splitlines()[-1]


def test_a_scene_may_have_a_file_per_band(
    predicted: Path, model_file: Path, scene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are joined in a VRT, which the command line lets GDAL open only where it is asked for."""
    with rasterio.open(scene_file) as file:
        names, profile, pixels = file.descriptions, {**file.profile, "count": 1}, file.read()
    words = []
    for name, plane in zip(names, pixels, strict=True):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path, "w", **profile) as file:
            file.write(plane, 1)
        words += ["--scene", f"{name}={path}"]
    monkeypatch.setenv("GDAL_SKIP", "VRT")
    reference = predicted / "reference.tif"
    found = run("evaluate", model_file, *words, "--reference", reference, "--device", "cpu")
    assert "GDAL_SKIP" not in os.environ
    assert found == run(
        "evaluate", model_file, "--scene", scene_file, "--reference", reference, "--device", "cpu"
    )
