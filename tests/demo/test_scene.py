"""What comes with the package: complete, unchanged, licensed, small, and fitting together."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import rasterio

from geoseg.demo.scene import BANDS, PACKAGED
from geoseg.learning.config import Config
from geoseg.models.card_file import read_card
from geoseg.models.exported import read_exported

ROOT = Path(__file__).parents[2]


def test_the_data_are_complete_and_nothing_else() -> None:
    files = [*PACKAGED.bands.values(), PACKAGED.training, PACKAGED.held_back, PACKAGED.recipe, PACKAGED.model]
    names = {path.name for path in files} | {"zion.bin", "LICENSE", "ATTRIBUTION.md"}
    assert {path.name for path in PACKAGED.folder.iterdir()} == names
    assert sum(path.stat().st_size for path in PACKAGED.folder.iterdir()) <= 10e6


def test_licence_and_attribution_say_what_they_must() -> None:
    assert (
        (PACKAGED.folder / "LICENSE")
        .read_text()
        .startswith("Creative Commons Legal Code\n\nCC0 1.0 Universal")
    )
    attribution = " ".join((PACKAGED.folder / "ATTRIBUTION.md").read_text().split())
    for words in (
        "U.S. Geological Survey",
        "Multi-Resolution Land Characteristics",
        "Nowosad/spDataLarge",
        "CC0",
    ):
        assert words in attribution
    files = {path.name for path in PACKAGED.folder.iterdir()} - {"LICENSE", "ATTRIBUTION.md"}
    assert all(f"`{name}`" in attribution for name in files)


def test_no_label_is_both_held_back_and_trained_on() -> None:
    with rasterio.open(PACKAGED.training) as file:
        training, grid = file.read(1), (file.transform, file.crs, file.shape, file.nodata)
    with rasterio.open(PACKAGED.held_back) as file:
        assert (file.transform, file.crs, file.shape, file.nodata) == grid
        held_back = file.read(1)
    assert ((training == 255) != (held_back == 255)).all()
    for labels in (training, held_back):
        assert {1, 2, 3, 4, 5, 6, 7, 8, 255} == set(np.unique(labels))
    # It is a strip from top to bottom, and a fifth.
    inside = (held_back != 255).all(axis=0)
    assert ((held_back != 255) == inside).all()
    assert np.count_nonzero(np.diff(inside.astype(int))) == 2
    assert 0.2 < inside.mean() < 0.23


def test_labels_lie_on_a_grid_of_their_own() -> None:
    with rasterio.open(PACKAGED.training) as labels, rasterio.open(PACKAGED.bands["red"]) as image:
        assert labels.crs != image.crs
        assert labels.res != image.res
        left, bottom, right, top = image.bounds
        assert labels.bounds.left < left < right < labels.bounds.right
        assert labels.bounds.bottom < bottom < top < labels.bounds.top


def test_the_model_is_that_of_the_recipe_and_fits_the_scene() -> None:
    config, exported = Config.read(PACKAGED.recipe), read_exported(PACKAGED.model)
    card = read_card(PACKAGED.model)
    assert card.band_names == BANDS == config.data.bands
    assert card.classes == config.data.legend
    assert exported.about.weights == "fp16"
    assert card.training is not None
    trained = card.training["config"]
    assert isinstance(trained, dict)
    # What has got a default since then has it in both.
    assert Config.of(trained, "card", PACKAGED.folder).fields() == config.fields()
    with rasterio.open(PACKAGED.bands["nir"]) as image:
        assert image.dtypes == (card.dtype,)
        assert image.res[0] == card.gsd_m


def test_the_script_cuts_what_comes_with_the_package(shared: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_demo", ROOT / "scripts" / "make_demo.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.cut(shared / "zion_landsat8_nlcd", tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == sorted(path.name for path in PACKAGED.folder.glob("*.tif"))
    for name in files:  # the pixels, not the bytes: GDAL's libraries compress one way or another
        with rasterio.open(tmp_path / name) as made, rasterio.open(PACKAGED.folder / name) as kept:
            assert made.profile == kept.profile
            np.testing.assert_array_equal(made.read(), kept.read())
    origin = shared / "zion_landsat8_nlcd" / "landsat_b5.tif"
    with rasterio.open(origin) as file, rasterio.open(PACKAGED.bands["nir"]) as kept:
        np.testing.assert_array_equal(file.read(1, window=file.window(*kept.bounds)), kept.read(1))
