"""What comes with the package: complete, unchanged, licensed, and fitting together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.demo.scenes import BANDS, GRAPH, MODEL, SCENES, DemoScene, data_file
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import predict
from geoseg.models.card import read_card
from geoseg.models.exported import read_exported
from geoseg.models.model import Model

LABEL_CODES = (10, 30, 50, 70, 100)


def test_the_data_are_complete_and_nothing_else() -> None:
    files = {path.name for scene in SCENES for path in (scene.image, scene.labels)}
    folder = data_file("LICENSE").parent
    assert {path.name for path in folder.iterdir()} == files | {
        MODEL,
        GRAPH,
        "korea.bin",
        "LICENSE",
        "ATTRIBUTION.md",
    }


def test_licence_and_attribution_say_what_they_must() -> None:
    licence = data_file("LICENSE").read_text()
    assert licence.startswith("MIT License")
    assert "Copyright (c) 2025 minuex" in licence
    attribution = " ".join(data_file("ATTRIBUTION.md").read_text().split())
    assert "Contains modified Copernicus Sentinel data 2023, 2024" in attribution
    assert "minuex/Satellite-Land-Cover-Segmentation" in attribution
    for scene in SCENES:
        assert scene.image.name in attribution
        assert scene.labels.name in attribution


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_scene_and_labels_lie_on_each_other(scene: DemoScene) -> None:
    with rasterio.open(scene.image) as image, rasterio.open(scene.labels) as labels:
        assert image.shape == labels.shape == (512, 512)
        assert (image.transform, image.crs) == (labels.transform, labels.crs)
        assert set(np.unique(labels.read())) <= set(LABEL_CODES)
        # The tags name red first; blue is first. Over the sea of these coasts blue is brighter than red.
        assert [tag.name for tag in image.colorinterp] == ["red", "green", "blue", "alpha"]
        blue, red = image.read(BANDS["blue"]), image.read(BANDS["red"])
        assert blue.mean() > red.mean()


def test_the_model_fits_scenes_and_labels() -> None:
    card = read_card(data_file(MODEL))
    assert set(card.band_names) <= set(BANDS)
    assert card.classes.codes == LABEL_CODES
    assert (card.tile.size, card.tile.overlap) == (256, 64)
    assert data_file(MODEL).stat().st_size <= 8e6


def test_the_graph_is_the_model_with_halves() -> None:
    """Its map of a scene that the model was not trained on is the model's, but where two classes are as probable."""
    card, exported = read_card(data_file(MODEL)), read_exported(data_file(GRAPH))
    assert exported.card == card.changed(created_by=exported.card.created_by)
    assert (exported.about.weights, exported.about.multiple) == ("fp16", 32)
    options = PredictOptions(device="cpu", precision="fp32", bands=(1, 2, 3))
    found, expected = (
        predict(SCENES[0].image, Model.open(data_file(name)), options=options)["landcover"].to_numpy()
        for name in (GRAPH, MODEL)
    )
    assert (found != expected).mean() < 1e-4


def test_files_are_those_of_the_data_set(shared: Path) -> None:
    origin = shared / "korea_sentinel2"
    for scene in SCENES:
        assert scene.image.read_bytes() == (origin / "images" / scene.image.name).read_bytes()
        assert scene.labels.read_bytes() == (origin / "labels" / scene.image.name).read_bytes()
    assert data_file("LICENSE").read_bytes() == (origin / "LICENSE").read_bytes()
