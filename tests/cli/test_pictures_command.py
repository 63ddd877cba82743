"""``geoseg predict`` on folders of pictures; law 12: the command line writes what Python does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import geoseg
from tests.cli.test_scene_commands import run

OPTIONS = ("--batch-size", "500", "--device", "cpu", "--precision", "fp32")
PYTHON_OPTIONS = {"batch_size": 500, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """images/ of three pictures, and m.safetensors of two overlapping classes."""
    folder = tmp_path_factory.mktemp("pictures")
    geoseg.Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=geoseg.Legend.parse("Sugar,Fish"),
        task="multilabel",
        tile_size=32,
        decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    ).save(folder / "m.safetensors")
    (folder / "images").mkdir()
    for seed, shape in enumerate(((20, 30), (40, 25), (8, 8))):
        pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{seed}.png")
    return folder


@pytest.mark.long
def test_a_folder_of_masks(folder: Path, tmp_path: Path) -> None:
    command = (
        "predict",
        folder / "images",
        "-m",
        folder / "m.safetensors",
        *OPTIONS,
        "-o",
        f"{tmp_path}/masks/",
    )
    first = run(*command)
    assert first.exit_code == 0, first.stderr
    assert first.stdout == ""
    assert f"{tmp_path / 'masks'}: 3 done, 0 finished before, 0 failed" in first.stderr
    assert "pictures/s, " in first.stderr
    assert "million px/s; device cpu, precision fp32" in first.stderr
    geoseg.predict_pictures(
        folder / "images", folder / "m.safetensors", output=tmp_path / "python", **PYTHON_OPTIONS
    )
    names = sorted(path.name for path in (tmp_path / "python").glob("*.png"))
    assert names == [f"{i}.{name}.png" for i in range(3) for name in ("Fish", "Sugar")]
    for name in names:
        assert (tmp_path / "masks" / name).read_bytes() == (tmp_path / "python" / name).read_bytes()
    again = run(*command, "-q")
    assert (again.exit_code, again.stderr) == (0, "")
    refused = run(*command, "--tile-size", "16")
    assert refused.exit_code == 4
    assert "pass --overwrite" in refused.stderr
    assert run(*command, "--tile-size", "16", "--overwrite").exit_code == 0
    assert run(*command, "--tile-size", "16", "--overwrite", "--fresh").exit_code == 0


def test_a_table_and_a_picture_that_fails(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    (tmp_path / "like.csv").write_text(
        "Image_Label,EncodedPixels\nbroken.png_Fish,1 1\n1.png_Sugar,1 1\n1.png_Fish,1 1\n"
    )
    result = run(
        *("predict", folder / "images", tmp_path / "broken.png", "-m", folder / "m.safetensors", *OPTIONS),
        *("--submission", tmp_path / "sub.csv", "--size", "35x52", "--sample", tmp_path / "like.csv"),
        *("--content", "0,0,8,8"),
    )
    assert result.exit_code == 3, result.stderr
    assert f"{tmp_path / 'sub.csv'}: 1 done, 0 finished before, 1 failed" in result.stderr
    assert "broken.png: is not a" in result.stderr
    lines = (tmp_path / "sub.csv").read_text().splitlines()
    assert lines[:2] == ["Image_Label,EncodedPixels", "broken.png_Fish,"]
    assert [line.partition(",")[0] for line in lines[2:]] == ["1.png_Sugar", "1.png_Fish"]
    form = {"size": (35, 52), "sample": tmp_path / "like.csv", "content": (0, 0, 8, 8)}
    geoseg.predict_pictures(
        [folder / "images", tmp_path / "broken.png"],
        folder / "m.safetensors",
        submission=tmp_path / "python.csv",
        **form,
        **PYTHON_OPTIONS,
    )
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "sub.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "masks in a folder .* or a table .* expected one of them"),
        (("-o", "masks/", "--submission", "s.csv"), "expected one of them"),
        (("-o", "masks.tif"), "masks of pictures go into a folder, but masks.tif is a file"),
        (("-o", "masks/", "--size", "35x52"), "--size is for a table of run lengths, expected --submission"),
        (("-o", "masks/", "--save-confidence", "c/"), "--save-confidence is for scenes"),
        (("--submission", "s.csv", "--size", "35"), "is no size"),
        (("--submission", "s.csv", "--content", "1,2,3"), "is not 4 whole numbers"),
        (("-o", "masks/", "--bounds", "0 0 1 1"), "--bounds and --clip are for scenes"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("predict", folder / "images", "-m", folder / "m.safetensors", *arguments)
    assert result.exit_code == 2, result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert not list(tmp_path.iterdir())


def test_scenes_have_no_form_of_a_table_and_need_an_output(folder: Path) -> None:
    scene = folder / "images" / "0.png"
    result = run("predict", scene, "-m", folder / "m.safetensors", "--size", "35x52", "-o", "x.tif")
    assert "--size is for a table" in result.stderr
    result = run("predict", scene, "-m", folder / "m.safetensors")
    assert (result.exit_code, "Missing option '-o'" in result.stderr) == (2, True)
