"""geoseg map: the command line makes what Python makes, and says what it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from geoseg_cli.main import group

import geoseg
from tests.small_files import UTM, Write


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(group, ["map", *map(str, arguments)], input=stdin)


@pytest.fixture
def scenes(write: Write) -> list[Path]:
    """Two scenes of three bands, side by side with an overlap."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 144)).astype(np.uint8)
    place = geoseg.Grid(height=96, width=144, transform=UTM["transform"], crs=UTM["crs"])
    right = place.cropped(geoseg.Window(row=0, col=64, height=96, width=80)).transform
    return [
        write("a_20240101.tif", pixels[:, :, :80]),
        write("b.tif", pixels[:, :, 64:], **{**UTM, "transform": right}),
    ]


def test_the_command_line_writes_what_python_writes(
    tmp_path: Path, scenes: list[Path], model_file: Path
) -> None:
    options = "--precision", "fp32", "--cell", "50px", "--prefer", "newest"
    (tmp_path / "list.txt").write_text("\n".join(map(str, scenes)) + "\n")

    result = run(tmp_path / "list.txt", "-m", model_file, "-o", f"{tmp_path}/maps/", *options)

    assert result.exit_code == 0, result.output
    assert "8 cells, 8 computed by this run" in result.output
    written = geoseg.map(
        scenes, model_file, output=tmp_path / "landcover.gpkg", precision="fp32", cell="50px", prefer="newest"
    )
    assert (tmp_path / "maps" / "landcover.gpkg").read_bytes() == written.read_bytes()
    again = run("-", "-m", model_file, "-o", f"{tmp_path}/maps/", *options, stdin="\n".join(map(str, scenes)))
    assert again.exit_code == 0
    assert "landcover.gpkg: finished before" in again.output


def test_scenes_that_cannot_be_used_are_exit_code_3(
    tmp_path: Path, scenes: list[Path], model_file: Path
) -> None:
    arguments = (
        *scenes,
        tmp_path / "missing.tif",
        "-m",
        model_file,
        "-o",
        tmp_path / "map.parquet",
        "--precision",
        "fp32",
    )

    first, second = run(*arguments), run(*arguments)

    assert first.exit_code == second.exit_code == 3
    assert "missing.tif: cannot be opened (No such file or directory)" in first.output
    assert "scenes or cells passed over, as said above: 1" in second.output
    assert (tmp_path / "map.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--grid", "EPSG:3035"], "the grid of the map is 'EPSG:3035', expected a CRS", 2),
        (["--cell", "ten"], "the edge of a cell is 'ten'", 2),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "--workers and --scheduler both say", 2),
        (["--prefer", "best"], "is not one of", 2),
        (["nothing.txt"], "nothing.txt: cannot be read", 2),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    tmp_path: Path, scenes: list[Path], model_file: Path, arguments: list[str], said: str, code: int
) -> None:
    before = set(tmp_path.iterdir())

    result = run(*scenes, *arguments, "-m", model_file, "-o", tmp_path / "map.gpkg")

    assert result.exit_code == code
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) == before


def test_a_model_of_several_classes_a_pixel_is_refused(tmp_path: Path, scenes: list[Path]) -> None:
    model = geoseg.Model.new(
        architecture="Unet", encoder="tu-mobilenetv3_small_050", bands=["red", "green", "blue"],
        classes=geoseg.Legend.parse("road,building"), task="multilabel",
        decoder_options={"decoder_channels": [16, 16, 8, 8, 8]},
    )  # fmt: skip
    model.save(tmp_path / "several.safetensors")

    result = run(*scenes, "-m", tmp_path / "several.safetensors", "-o", tmp_path / "map.gpkg")

    assert result.exit_code == 2
    assert "gives several classes to a pixel" in result.output
