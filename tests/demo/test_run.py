"""The demo on a corner of its scene: products, picture, accuracy, commands, second run."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from geoseg_cli.main import group
from PIL import Image
from sklearn.metrics import jaccard_score, precision_score, recall_score

from geoseg.demo.run import Products, commands, natural_colors, run_demo
from geoseg.demo.scene import PACKAGED, DemoScene
from geoseg.errors import OutputError, OutputExistsError
from geoseg.learning.config import Config
from geoseg.storage.run_record import run_file

NAMES = ("forest", "shrub and grass", "rock and bare ground", "developed", "fields and wetland", "water")
OF_NLCD = np.array([0, 6, 4, 3, 1, 2, 2, 5, 5])
"""Class of the demo of each class of the labels: water, developed, barren, forest, shrub, herbs, crops, wetland."""
SCRIPT = (
    "import sys; from pathlib import Path\n"
    "from geoseg.demo.run import run_demo; from geoseg.demo.scene import DemoScene\n"
    "print(run_demo(Path(sys.argv[1]), scene=DemoScene(Path(sys.argv[2])), overwrite=True))\n"
    "print('loaded:', *sorted({'torch', 'matplotlib', 'geopandas', 'numba'} & set(sys.modules)))"
)


def in_a_process(folder: Path, scene: DemoScene) -> tuple[str, list[str]]:
    """What the demo says, and which of some packages it loads."""
    command = [sys.executable, "-c", SCRIPT, folder, scene.folder]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    text, _, loaded = run.stdout.rpartition("loaded:")
    return text.rstrip("\n"), loaded.split()


@pytest.fixture(scope="module")
def demo(corner: DemoScene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and text of one run; tests only look at them."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "by the demo"
    text, loaded = in_a_process(folder, corner)
    assert "torch" not in loaded
    return folder, text


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def held_back(scene: DemoScene) -> np.ndarray:
    """Class under the centre of each pixel, 0 where none is held back; both grids are of UTM zone 12."""
    with rasterio.open(scene.held_back) as file, rasterio.open(scene.bands["red"]) as image:
        codes, labels, pixels = file.read(1), file.transform, image.transform
        height, width = image.shape
    cols = np.floor((pixels.c + (np.arange(width) + 0.5) * pixels.a - labels.c) / labels.a).astype(int)
    rows = np.floor((pixels.f + (np.arange(height) + 0.5) * pixels.e - labels.f) / labels.e).astype(int)
    found = codes[np.ix_(rows, cols)]
    return np.where(found == 255, 0, OF_NLCD[np.where(found == 255, 0, found)])


def test_it_writes_its_products_and_nothing_else(demo: tuple[Path, str]) -> None:
    folder, text = demo
    products = Products(folder)
    sidecars = {"zion.qml", "zion.tif.aux.xml", "zion.gpkg.run.json"}
    files = {path.name for path in (*products.segmented.paths, products.preview)}
    assert {path.name for path in folder.iterdir()} == files | sidecars
    assert files == {"zion.gpkg", "zion.tif", "zion_confidence.tif", "zion_preview.png"}
    assert all(str(folder / name) in text for name in files)


def test_the_printed_accuracy_is_that_of_the_files(demo: tuple[Path, str], corner: DemoScene) -> None:
    folder, text = demo
    truth, found = held_back(corner).ravel(), read(folder / "zion.tif").ravel()
    counted = truth > 0
    truth, found = truth[counted], found[counted]
    assert f"{counted.sum():,} pixels whose labels no training saw" in text
    codes = np.unique(truth)
    assert len(codes) >= 5
    scores = [
        score(truth, found, labels=codes, average=None, zero_division=0)
        for score in (jaccard_score, recall_score, precision_score)
    ]
    for i, code in enumerate(codes):
        (row,) = (line for line in text.splitlines() if line.startswith(f"  {NAMES[code - 1]} "))
        printed = row.removeprefix(f"  {NAMES[code - 1]}").split()
        mapped = np.count_nonzero(found == code)
        expected = [f"{score[i]:.1%}" for score in scores]
        if not mapped:
            expected[2] = "–"
        assert printed == [*expected, f"{(truth == code).sum():,}", f"{mapped:,}"]
    assert f"overall accuracy {np.mean(truth == found):.1%}" in text


def test_the_preview_shows_scene_and_map_pixel_for_pixel(demo: tuple[Path, str], corner: DemoScene) -> None:
    folder, _ = demo
    with Image.open(folder / "zion_preview.png") as file:
        picture, words = np.asarray(file.convert("RGB")), file.info
    assert "Geological Survey" in words["Copyright"]
    times, width, height = 3, 200, 180
    assert picture.shape[1] == 2 * 36 + 3 * width * times + 2 * 20
    legend = Config.read(PACKAGED.recipe).data.legend
    colors = np.zeros((256, 3), np.uint8)
    for c in legend.classes:
        colors[c.code] = c.rgb
        assert (picture[124 + height * times :] == c.rgb).all(axis=-1).sum() >= 30 * 30
    expected = natural_colors(corner), None, colors[read(folder / "zion.tif")]
    for i, image in enumerate(expected):
        if image is None:
            continue
        left = 36 + i * (width * times + 20)
        shown = picture[124 + 1 : 124 + height * times : times, left + 1 : left + width * times : times]
        same = (shown == image).all(axis=-1)
        assert same[5:120, 5:60].all()  # beside the strip, above the scale bar
        assert same[5:-5, 75:-5].all()  # inside of it


def test_natural_colours_are_red_green_blue_between_percentiles(corner: DemoScene) -> None:
    shown = natural_colors(corner)
    for i, name in enumerate(("red", "green", "blue")):
        stored = read(corner.bands[name])
        low, high = np.percentile(stored, (2, 98))
        assert (shown[..., i][stored <= low] == 0).all()
        assert (shown[..., i][stored >= high] == 255).all()
        middle = (stored > low) & (stored < high)
        expected = ((stored[middle] - low) / (high - low)) ** 0.7 * 255
        np.testing.assert_allclose(shown[..., i][middle], expected, atol=0.51)


def test_a_second_run_leaves_everything_as_it_is_and_loads_next_to_nothing(
    demo: tuple[Path, str], corner: DemoScene
) -> None:
    folder, text = demo
    before = contents(folder)
    assert in_a_process(folder, corner) == (text, [])
    assert contents(folder) == before


def test_a_missing_picture_alone_is_drawn_again(
    demo: tuple[Path, str], corner: DemoScene, tmp_path: Path
) -> None:
    folder = shutil.copytree(demo[0], tmp_path / "demo")
    before = contents(folder)
    (folder / "zion_preview.png").unlink()
    run_demo(folder, scene=corner)
    after = contents(folder)
    assert after.pop("zion_preview.png")[1] == before.pop("zion_preview.png")[1]
    assert after == before


@pytest.mark.parametrize("key", ["version", "weights", "tile", "scene"])
def test_what_another_demo_made_is_replaced_only_when_told(
    demo: tuple[Path, str], corner: DemoScene, tmp_path: Path, key: str
) -> None:
    folder = shutil.copytree(demo[0], tmp_path / "demo")
    record = run_file(folder / "zion.gpkg")
    content = json.loads(record.read_text())
    content["fingerprint"][key] = "another"
    record.write_text(json.dumps(content))
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        run_demo(folder, scene=corner)
    if key == "weights":
        before = contents(folder)
        run_demo(folder, scene=corner, overwrite=True)
        after = contents(folder)
        assert after.keys() == before.keys()
        changed = [name for name in after if after[name][1] != before[name][1]]
        assert changed == [record.name]  # equal work, equal bytes; run.json alone tells the time
        assert all(after[name][0] > before[name][0] for name in after)


def test_the_commands_it_prints_do_the_same(
    demo: tuple[Path, str], corner: DemoScene, tmp_path: Path
) -> None:
    folder, text = demo
    lines = list(commands(corner, Products(folder)))
    assert "\n".join(lines) in text
    # As a shell reads them.
    name, _, data = shlex.split(lines[1])[0].partition("=")
    assert (name, data) == ("DATA", str(corner.folder))
    segment, train = (
        shlex.split(each.replace("\\\n", " ").replace("$DATA", data))
        for each in ("\n".join(lines[2:4]), lines[5])
    )
    assert segment[:2] == ["geoseg", "segment"]
    result = CliRunner().invoke(group, [each.replace(str(folder), str(tmp_path)) for each in segment[1:]])
    assert result.exit_code == 0, result.output
    for path in Products(folder).segmented.paths:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert train[:2] == ["geoseg", "train"]
    assert Config.read(train[2]).fields() == Config.read(PACKAGED.recipe).fields()
    assert train[3:] == ["-o", str(folder / "run")]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        run_demo(tmp_path / "file" / "demo")
