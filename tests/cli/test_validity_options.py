"""``--nodata``, ``--nodata-rule`` and ``--alpha`` reach the products of every command that takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from click.testing import CliRunner, Result
from geoseg_cli.main import group
from rasterio.enums import ColorInterp

import geoseg
from geoseg.progress import OnProgress
from tests.toys import SMALL

HEIGHT, WIDTH = 96, 64
BOTH, ONE, CLEAR = np.s_[:10], np.s_[40:50], np.s_[:, :7]
MODEL = {**SMALL, "bands": ["red", "nir"], "classes": geoseg.Legend.parse("water,forest,field")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    geoseg.Model.new(**MODEL, dtype="int16", value_range=(0, 10_000)).save(path)
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands with -9999 in both or one of them, undeclared, and a third of 0, 1 and 2 that nobody calls alpha."""
    pixels = np.random.default_rng(2).integers(1, 9_000, (3, HEIGHT, WIDTH)).astype(np.int16)
    pixels[2] = 1 + pixels[2] % 2
    pixels[:2, *[BOTH]] = -9999
    pixels[1, ONE] = -9999
    pixels[2][CLEAR] = 0
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=HEIGHT, width=WIDTH, dtype="int16", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 6e6),
    ) as file:  # fmt: skip
        file.write(pixels)
        file.descriptions = ("red", "nir", "flags")
        file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * 2
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)))


def rows(*parts: object) -> npt.NDArray[np.bool_]:
    left_out = np.zeros((HEIGHT, WIDTH), bool)
    for part in parts:
        left_out[part] = True  # type: ignore[index]
    return left_out


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        ([], rows()),
        (["--nodata", "-9999"], rows(BOTH)),
        (["--nodata", "-9999", "--nodata-rule", "any"], rows(BOTH, ONE)),
        (["--nodata", "none,-9999,none"], rows(BOTH, ONE)),
        (["--nodata", "none", "--alpha", "3"], rows(CLEAR)),
        (["--nodata", "-9999", "--alpha", "3"], rows(BOTH, CLEAR)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_map_has_no_data_where_the_options_say(
    scene: Path, model: Path, tmp_path: Path, options: list[str], left_out: npt.NDArray[np.bool_]
) -> None:
    result = run("predict", scene, "-m", model, "-o", tmp_path / "map.tif", "--device", "cpu", *options)
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1) == 255, left_out)
    report = json.loads((tmp_path / "map.tif.run.json").read_text())
    assert report["valid_pixels"] == (~left_out).sum()
    advice = "hold -9999 and count as data; pass --nodata -9999"
    assert (advice in result.stderr) == (options == []), result.stderr


def test_int8_is_measured_on_valid_pixels_only(scene: Path, model: Path, tmp_path: Path) -> None:
    for options in (
        ("--nodata", "none", "--alpha", "3"),
        ("--nodata", "1/2,none,none", "--nodata-rule", "any"),
    ):
        with rasterio.open(scene) as file:
            pixels, profile = file.read(), file.profile
        pixels[0] = 1 + pixels[0] % 2
        pixels[2] = 0
        with rasterio.open(tmp_path / "empty.tif", "w", **profile) as file:
            file.write(pixels)
            file.descriptions = ("red", "nir", "flags")
        result = run(
            "model", "quantize", model, tmp_path / "empty.tif", "-o", tmp_path / "m8.safetensors", *options
        )
        assert result.exit_code == 1
        assert "empty.tif: no tile has data in half of its pixels; pass other scenes" in result.stderr


def interrupted() -> OnProgress:
    def stop(done: int, _total: int, _label: str) -> None:
        if done:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize(
    ("first", "other", "said"),
    [
        (["--nodata", "-9999"], [], "with nodata -9999, this command has nodata not given;"),
        ([], ["--nodata", "0/255,none,none"], "with nodata not given, this command has nodata 0/255,none,none;"),
        (
            ["--nodata", "-9999"], ["--nodata", "-9999", "--nodata-rule", "any"],
            "with nodata_rule not given, this command has nodata_rule 'any';",
        ),
        (["--alpha", "3"], ["--alpha", "none"], "with alpha 3, this command has alpha 'none';"),
    ],
)  # fmt: skip
def test_an_interrupted_map_goes_on_with_the_same_validity_only(
    scene: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: list[str],
    other: list[str],
    said: str,
) -> None:
    def command(output: str, options: list[str]) -> Result:
        fixed = ("--device", "cpu", "--batch-size", "1")
        return run("predict", scene, "-m", model, "-o", tmp_path / output, *fixed, *options)

    @contextmanager
    def progress() -> Iterator[OnProgress]:
        yield interrupted()

    with monkeypatch.context() as patched:
        patched.setattr("geoseg_cli.scenes.progress", progress)
        assert command("map.tif", first).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif.geoseg-part"]

    refused = command("map.tif", other)
    assert refused.exit_code == 1
    assert f"holds unfinished work {said} run the first command again" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif.geoseg-part"], "nothing is lost"

    assert command("map.tif", first).exit_code == 0
    assert command("whole.tif", first).exit_code == 0
    assert (tmp_path / "map.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
