"""The demo on one packaged scene, with an untrained model: products, picture, accuracy, second run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from sklearn.metrics import jaccard_score, precision_score, recall_score

from geoseg.demo.run import Products, natural_colors, run_demo
from geoseg.demo.scenes import SCENES
from geoseg.errors import OutputError, OutputExistsError
from geoseg.grid.legend import Legend, LegendClass
from geoseg.inference.summary import run_file
from geoseg.models.model import Model

SCENE = SCENES[1]
NAMES = {10: "building", 30: "road", 50: "field", 70: "forest", 100: "other"}
LEGEND = Legend(
    classes=tuple(LegendClass(code=c, name=n, color=f"#{c:02x}40{255 - c:02x}") for c, n in NAMES.items())
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model whose card wants the bands in another order than the files have them."""
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    bands = ["red", "green", "blue"]
    encoder = "tu-mobilenetv3_small_100"
    made = Model.new(architecture="Unet", encoder=encoder, bands=bands, legend=LEGEND, tile_size=256)
    made.save(path, weights="fp16")
    return path


@pytest.fixture(scope="module")
def demo(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and text of one run; tests only look at them."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "by the demo"
    return folder, run_demo(folder, model=model, scenes=[SCENE])


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_it_writes_its_products_and_nothing_else(demo: tuple[Path, str]) -> None:
    folder, text = demo
    products = Products.of(folder, SCENE)
    sidecars = [".qml", ".tif.aux.xml", ".gpkg.run.json"]
    expected = {f"{SCENE.name}{suffix}" for suffix in (".gpkg", ".tif", "_confidence.tif", "_preview.png")}
    assert {path.name for path in folder.iterdir()} == expected | {SCENE.name + suffix for suffix in sidecars}
    for path in (products.polygons, products.raster, products.confidence, products.preview):
        assert str(path) in text
    record = json.loads(run_file(products.polygons).read_text())
    assert record["fingerprint"]["tile"] == [256, 64]
    assert record["fingerprint"]["options"]["bands"] == [3, 2, 1]


def test_the_printed_accuracy_is_that_of_the_files(demo: tuple[Path, str]) -> None:
    folder, text = demo
    truth, found = read(SCENE.labels).ravel(), read(Products.of(folder, SCENE).raster).ravel()
    assert set(np.unique(truth)) == set(NAMES)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("  ")}
    for i, score in enumerate((jaccard_score, recall_score, precision_score)):
        expected = score(truth, found, labels=list(NAMES), average=None, zero_division=0)
        printed = [rows[name][i].replace("–", "0%") for name in NAMES.values()]
        assert printed == [f"{value:.1%}" if value else printed[j] for j, value in enumerate(expected)]
    assert [rows[name][3] for name in NAMES.values()] == [f"{(truth == c).sum():,}" for c in NAMES]
    assert f"overall accuracy {np.mean(truth == found):.1%}" in text
    assert "Not good for: building, road" in text


def test_the_preview_shows_scene_and_map_pixel_for_pixel(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    products = Products.of(folder, SCENE)
    with Image.open(products.preview) as file:
        picture = np.asarray(file.convert("RGB"))
        words = file.info
    assert picture.shape == (150 + 1024 + 84, 2 * (48 + 1024 + 36) + 512, 3)
    assert "Copernicus" in words["Copyright"]
    codes = read(products.raster)
    colors = np.zeros((256, 3), np.uint8)
    for c in LEGEND.classes:
        colors[c.code] = c.rgb
    panels = {48: natural_colors(SCENE), 48 + 1024 + 36: colors[codes]}
    for left, expected in panels.items():
        # Every scene pixel is two by two picture pixels; the hairline covers the outermost ones.
        shown = picture[150 : 150 + 1024 : 2, left : left + 1024 : 2][1:-1, 1:-1]
        same = (shown == expected[1:-1, 1:-1]).all(axis=-1)
        assert same.mean() > 0.98  # all but scale bar and its words
        assert same[:400].all()
    legend = picture[150:, 48 + 2 * (1024 + 36) :]
    for c in LEGEND.classes:
        assert (legend == c.rgb).all(axis=-1).sum() >= 50 * 50


def test_natural_colours_are_red_green_blue() -> None:
    with rasterio.open(SCENE.image) as file:
        blue, green, red, _ = file.read()
    np.testing.assert_array_equal(natural_colors(SCENE), np.stack([red, green, blue], axis=-1))


def test_a_second_run_leaves_everything_as_it_is_and_needs_no_torch(
    demo: tuple[Path, str], model: Path
) -> None:
    folder, text = demo
    before = contents(folder)
    script = (
        "import sys; from pathlib import Path; from geoseg.demo.run import run_demo, SCENES\n"
        "print(run_demo(Path(sys.argv[1]), model=Path(sys.argv[2]), scenes=SCENES[1:], overwrite=True))\n"
        "print('heavy:', {'torch', 'matplotlib', 'geopandas', 'numba'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, folder, model], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{text}\nheavy: set()\n"
    assert contents(folder) == before


def test_a_missing_picture_alone_is_drawn_again(demo: tuple[Path, str], model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(demo[0], tmp_path / "demo")
    preview = Products.of(folder, SCENE).preview
    before = contents(folder)
    preview.unlink()
    assert run_demo(folder, model=model, scenes=[SCENE]) == demo[1].replace(str(demo[0]), str(folder))
    after = contents(folder)
    assert after.pop(preview.name)[1] == before.pop(preview.name)[1]
    assert after == before


@pytest.mark.parametrize("key", ["version", "weights", "tile", "scene"])
def test_what_another_demo_made_is_replaced_only_when_told(
    demo: tuple[Path, str], model: Path, tmp_path: Path, key: str
) -> None:
    folder = shutil.copytree(demo[0], tmp_path / "demo")
    record = run_file(Products.of(folder, SCENE).polygons)
    content = json.loads(record.read_text())
    content["fingerprint"][key] = "another"
    record.write_text(json.dumps(content))
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run_demo(folder, model=model, scenes=[SCENE])
    if key == "weights":
        before = contents(folder)
        run_demo(folder, model=model, scenes=[SCENE], overwrite=True)
        after = contents(folder)
        assert after.keys() == before.keys()
        changed = [name for name in after if after[name][1] != before[name][1]]
        assert changed == [record.name]  # equal work, equal bytes; run.json alone tells the time
        assert all(after[name][0] > before[name][0] for name in after)


def test_a_run_json_that_cannot_be_read_counts_as_another(
    demo: tuple[Path, str], model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(demo[0], tmp_path / "demo")
    run_file(Products.of(folder, SCENE).polygons).write_text("[]")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run_demo(folder, model=model, scenes=[SCENE])


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        run_demo(tmp_path / "file" / "demo")
