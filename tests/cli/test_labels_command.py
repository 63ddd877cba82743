from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from geoseg_cli.main import group
from PIL import Image

from geoseg.learning.quick import LabelChoices, found_in
from tests.toys import WriteRaster


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(group, ["labels", "convert", *map(str, arguments)])
    assert result.stdout == ""
    return result.exit_code, result.stderr


@pytest.fixture
def codes(tmp_path: Path, write_raster: WriteRaster) -> Path:
    numbers = np.array([[1, 1, 2], [1, 2, 2]], dtype=np.uint8)
    return write_raster(tmp_path / "a.tif", numbers, nodata=255)


def test_there_and_back(codes: Path, tmp_path: Path) -> None:
    polygons, back = tmp_path / "b.gpkg", tmp_path / "c.tif"
    code, said = run(codes, "-o", polygons, "--classes", "water,forest=#228B22")
    assert (code, said.splitlines()[0]) == (0, f"Wrote {polygons}")
    assert [line.split() for line in said.splitlines()[1:]] == [["water", "3", "px"], ["forest", "3", "px"]]
    code, said = run(polygons, "-o", back, "--like", codes, "--class-field", "class_code")
    assert code == 0
    with rasterio.open(back) as file, rasterio.open(codes) as first:
        assert (file.read() == first.read()).all()
        assert file.colormap(1)[2] == (0x22, 0x8B, 0x22, 255)


def test_the_style_of_another_layer_is_not_replaced_unless_asked(codes: Path, tmp_path: Path) -> None:
    style = tmp_path / "parcels.qml"
    style.write_text("my style of parcels.shp")
    (tmp_path / "parcels.shp").touch()
    code, said = run(codes, "-o", tmp_path / "parcels.tif")
    assert (code, said.count("\n")) == (4, 1)
    assert (
        "parcels.tif: would replace parcels.qml, too, which may be another file's; move it elsewhere" in said
    )
    assert "choose another -o, or pass --overwrite to replace it" in said
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "parcels.qml", "parcels.shp"}
    assert style.read_text() == "my style of parcels.shp"
    style.rename(tmp_path / "kept.qml")
    assert run(codes, "-o", tmp_path / "parcels.tif")[0] == 0
    (tmp_path / "parcels.tif").unlink()
    assert run(codes, "-o", tmp_path / "parcels.tif")[0] == 0  # what geoseg left itself is replaced
    style.write_text("my style of parcels.shp")
    (tmp_path / "parcels.tif").unlink()
    assert run(codes, "-o", tmp_path / "parcels.tif", "--overwrite")[0] == 0
    assert "paletted" in style.read_text()


def paletted(path: Path) -> Path:
    """Codes 1, 2 and 3 whose colours are in another order."""
    image = Image.fromarray(np.array([[1, 2, 3], [3, 2, 1]], dtype=np.uint8)).convert("P")
    image.putdata([1, 2, 3, 3, 2, 1])
    image.putpalette([0, 0, 0, 200, 200, 0, 0, 100, 0, 100, 0, 0])
    image.save(path)
    return path


def test_a_picture_with_a_palette_is_codes_to_all_and_keeps_its_own_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its palette gives colours; the style of the raster that is made of it is not its legend."""
    source = paletted(tmp_path / "labels.png")
    colors = {1: "#c8c800", 2: "#006400", 3: "#640000"}
    _, _, before = found_in([source], LabelChoices())
    assert {each.value: each.color for each in before} == colors
    code, said = run(source, "-o", tmp_path / "labels.tif", "--classes", legend(tmp_path))
    assert code == 0, said
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert file.read(1).tolist() == [[1, 2, 3], [3, 2, 1]]
    assert not caplog.records
    assert found_in([source], LabelChoices())[2] == before
    assert (
        "labels.qml: is not taken for the legend of labels.png, since it lies beside labels.tif"
        in caplog.text
    )
    assert [each.name for each in found_in([tmp_path / "labels.tif"], LabelChoices())[2]] == ["a", "b", "c"]


def legend(folder: Path) -> Path:
    path = folder / "legend.csv"
    path.write_text("code,name\n1,a\n2,b\n3,c\n")
    return path


def test_what_would_be_lost_is_one_line(codes: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("Image_Label,EncodedPixels\na.tif_x,1 3\na.tif_y,3 2\n")
    code, said = run(table, "-o", tmp_path / "o.tif", "--like", codes)
    assert (code, said.count("\n")) == (1, 1)
    assert "1 px of several classes would have no class (--layered keeps them, a band for each class)" in said
    code, said = run(table, "-o", tmp_path / "o.tif", "--like", codes, "--lossy")
    assert code == 0
    assert "  lost: 1 px of several classes would have no class" in said
    code, said = run(table, "-o", tmp_path / "o.tif", "--like", codes, "--layered", "--overwrite")
    assert code == 0
    with rasterio.open(tmp_path / "o.tif") as file:
        assert file.read().tolist() == [[[1, 1, 0], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["-o", "x.shp"], 2, "a Shapefile cuts the names of columns"),
        (["-o", "x.svg"], 2, "expected a name with one of these extensions"),
        (["-o", "x.tif", "--size", "3"], 2, "'3' is no size, expected rows and columns: 1400x2100"),
        (["-o", "x.tif", "--content", "1,2,3,-4"], 2, "is not 4 whole numbers"),
        (["-o", "x.tif", "--classes", "a,a"], 2, "repeats a name"),
        (["-o", "x.tif", "--classes", "one"], 1, "holds label codes 2, expected 1"),
    ],
)
def test_bad_options_are_one_line(
    codes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(codes, *arguments)
    assert (code, said.count("\n")) == (exit_code, 1)
    assert words in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]
