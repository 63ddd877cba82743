"""geoseg rle: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from geoseg_cli.main import group
from PIL import Image

from geoseg.pictures.rle_files import encode_file

CODES = np.array([[0, 3, 3], [5, 5, 3]], dtype=np.uint8)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in ("rle", *arguments)])


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    Image.fromarray(CODES).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_one_mask_is_printed(mask: Path) -> None:
    result = run("encode", mask)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 5\n", "")
    assert run("encode", mask, "--value", "3").stdout == "3 1 5 2\n"
    assert run("encode", mask, "--value", "77").stdout == "\n"


def test_several_masks_are_a_table(mask: Path, tmp_path: Path) -> None:
    Image.fromarray(CODES * 0).save(tmp_path / "b.png")
    table = "ImageId,EncodedPixels\na.png,2 5\nb.png,\n"
    assert run("encode", mask, tmp_path / "b.png").stdout == table
    result = run("encode", mask, tmp_path / "b.png", "-o", tmp_path / "t.csv")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "",
        f"Wrote {tmp_path / 't.csv'}: 2 masks\n",
    )
    assert (tmp_path / "t.csv").read_text() == table
    assert run("encode", mask, "-o", tmp_path / "t.csv").exit_code == 4
    assert run("encode", mask, "-o", tmp_path / "t.csv", "--overwrite").exit_code == 0
    assert (tmp_path / "t.csv").read_text() == "ImageId,EncodedPixels\na.png,2 5\n"


def test_decode_undoes_encode(mask: Path, tmp_path: Path) -> None:
    run("encode", mask, "-o", tmp_path / "t.csv")
    result = run("decode", tmp_path / "t.csv", "--size", "2x3", "-o", tmp_path / "out/")
    assert (result.exit_code, result.stderr) == (0, f"Wrote 1 mask in {tmp_path / 'out'}\n")
    assert encode_file(tmp_path / "out" / "a.png") == "2 5"
    again = run("decode", tmp_path / "t.csv", "--size", "2x3", "-o", tmp_path / "out")
    assert again.exit_code == 0, "it is there already"
    (tmp_path / "t.csv").write_text("ImageId,EncodedPixels\na.jpg,1 1\n")
    result = run("decode", tmp_path / "t.csv", "--size", "2x3", "-o", tmp_path / "out")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
    assert (
        run("decode", tmp_path / "t.csv", "--size", "2x3", "-o", tmp_path / "out", "--overwrite").exit_code
        == 0
    )


def test_the_size_is_checked(mask: Path, tmp_path: Path) -> None:
    run("encode", mask, "-o", tmp_path / "t.csv")
    for size in ("2", "2x", "0x3", "2x3x4", "-2x3", "2.5x3", "axb"):
        result = run("decode", tmp_path / "t.csv", "--size", size, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert "expected rows and columns: 1400x2100" in result.stderr
    result = run("decode", tmp_path / "t.csv", "--size", "1x3", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert (
        "t.csv, line 2: run 1 (start 2, length 5) goes beyond the last pixel, which is 3 of 1 x 3"
        in result.stderr
    )
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line(mask: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,mask\na,1 2\n")
    result = run("decode", tmp_path / "t.csv", "--size", "2x3", "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "its first line holds name,mask" in result.stderr
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "rgb.png")
    result = run("encode", mask, tmp_path / "rgb.png", "-o", tmp_path / "o.csv")
    assert result.exit_code == 1
    assert "has 3 bands, expected a mask of one band" in result.stderr
    assert not (tmp_path / "o.csv").exists()
