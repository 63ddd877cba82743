"""Images that are a file for each band, in a configuration and in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from geoseg_cli.main import group

from geoseg.datasets.opening import first_image
from geoseg.errors import DataError
from geoseg.raster.products import Stack
from tests.datasets.sets import config_of, description, names, open_set, write_tif


def write_bands(folder: Path, count: int = 6) -> Path:
    """Write a set as `write_set` does, a file for each band; green has half the resolution."""
    random = np.random.default_rng(0)
    for number in range(count):
        codes = random.integers(0, 3, size=(12, 16), dtype=np.uint8)
        write_tif(folder / "labels" / f"{number}.tif", codes, at=100 * number)
        for band, shape in (("B02", (12, 16)), ("B03", (12, 16))):
            pixels = random.integers(1, 255, size=shape, dtype=np.uint8)
            write_tif(folder / "images" / f"{number}_{band}.tif", pixels, at=100 * number)
    return folder


BANDS = {"blue": "images/*_B02.tif", "green": "images/*_B03.tif"}


def test_a_pattern_for_each_band(tmp_path: Path) -> None:
    folder = write_bands(tmp_path)
    opened = open_set(folder, images=BANDS, key=r"(\d+)_B")
    assert names(opened)["val"] == ["0", "3"]
    pair = opened.splits["train"][0]
    assert pair.image.names == ("blue", "green")
    assert len(opened.files) == 6 * 3
    image = first_image(config_of(folder, description(images=BANDS, key=r"(\d+)_B")).data, folder)
    assert isinstance(image, Stack)
    (folder / "images" / "4_B03.tif").unlink()
    with pytest.raises(DataError, match="'4' has a file of blue and none of green; set data.key"):
        open_set(folder, images=BANDS, key=r"(\d+)_B")
    with pytest.raises(DataError, match="set data.key"):
        open_set(folder, images=BANDS)


def test_the_configuration_of_one_line(tmp_path: Path) -> None:
    folder = write_bands(tmp_path, 1)
    files = ",".join(str(folder / "images" / f"0_{band}.tif") for band in ("B02", "B03"))
    arguments = [
        "train",
        "--stack",
        files,
        str(folder / "labels" / "0.tif"),
        "-o",
        str(tmp_path / "m.safetensors"),
    ]
    result = CliRunner().invoke(group, [*arguments, "--print-config", "--resolution", "20"])
    assert result.exit_code == 0, result.output
    data = yaml.safe_load(result.stdout)["data"]
    assert data["images"] == {"B02": "images/0_B02.tif", "B03": "images/0_B03.tif"}
    assert (data["bands"], data["resolution"]) == (["B02", "B03"], 20)
    for wrong, words in ((["--stack", files, "x.yaml"], "x.yaml"), (["--stack", files], "Missing argument")):
        result = CliRunner().invoke(group, ["train", *wrong, "-o", "m.safetensors"])
        assert result.exit_code == 2
        assert words in result.stderr
