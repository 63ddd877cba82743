"""A sample that trained the model of the map is found out, by what a training on its points leaves."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml

import geoseg
from geoseg.errors import DataError
from geoseg.learning.preparation import prepare_training
from geoseg.learning.quick import LabelChoices, quick_config
from geoseg.learning.story import write_story
from tests.assessment.accuracy.samples import UTM, map_of, write_labels

EAST = np.indices(UTM.shape)[1] >= 80
CODES = np.where(EAST, 2, 1).astype(np.uint8)


def labelled(path: Path, seed: int, points: int = 150) -> Path:
    places = geoseg.design_sample(map_of(CODES), output=path, points=points, seed=seed).record.places
    write_labels(path, CODES[places.row, places.col].tolist())
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a scene, a sample of it, its points again as labels in degrees, and the training on these."""
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    pixels = (random.normal(80, 10, (3, *UTM.shape)) + 60 * EAST).astype(np.uint8)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", count=3, height=UTM.height, width=UTM.width, dtype="uint8",
        crs=UTM.crs, transform=UTM.transform,
    ) as file:  # fmt: skip
        file.write(pixels)
        file.descriptions = ("blue", "green", "red")
    frame = gpd.read_file(labelled(folder / "sample.gpkg", 0), layer="sample")
    named = frame.assign(kind=np.where(frame["reference"] == 1, "water", "forest"))[["kind", "geometry"]]
    named.to_crs("EPSG:4326").to_file(folder / "labels.gpkg")
    _train(folder)
    return folder


def _train(folder: Path) -> None:
    """Leave what a training leaves: all of it but the epochs."""
    changes = ("data.split.size=16", "train.chip_size=32", "train.batch_size=2", "train.learning_rate=0.001")
    choices = LabelChoices(class_field="kind")
    config = quick_config(folder / "scene.tif", folder / "labels.gpkg", choices, changes)
    run, model = prepare_training(config), folder / "model.safetensors"
    (folder / "model.run").mkdir()
    (folder / "model.run" / "config.yaml").write_text(yaml.safe_dump(config.fields()))
    training = {"data_fingerprint": run.statistics.fingerprint, "images": {}}
    run.model.card = run.model.card.changed(training=training)
    run.model.save(model)
    write_story(folder / "model.run", run, model)


def seed_of_others(path: Path, trained: Path) -> Path:
    """Draw a sample that shares no pixel with the one that trained the model."""
    mine = set(gpd.read_file(trained / "sample.gpkg", layer="sample").geometry.to_wkt())
    for seed in itertools.count(1):
        path.unlink(missing_ok=True)
        labelled(path, seed, 20)
        if not mine & set(gpd.read_file(path, layer="sample").geometry.to_wkt()):
            return path
    raise AssertionError


def estimate(sample: Path, training: Path) -> None:
    geoseg.estimate_accuracy(sample, class_map=map_of(CODES), training=training)


def test_points_that_were_labels_are_refused_and_others_are_not(trained: Path, tmp_path: Path) -> None:
    said = r"sample.gpkg: 150 points \(1, 2, .*\) trained the model, as labels in .*labels.gpkg; it knows the answers"
    for training in ("model.safetensors", "model.run"):
        with pytest.raises(DataError, match=said):
            estimate(trained / "sample.gpkg", trained / training)
    others = seed_of_others(tmp_path / "others.gpkg", trained)
    mine, theirs = (
        gpd.read_file(path, layer="sample").geometry for path in (trained / "sample.gpkg", others)
    )
    assert set(mine.to_wkt()) & set(theirs.to_wkt()) == set(), "no pixel was drawn twice by chance"
    estimate(others, trained / "model.safetensors")


def test_labels_must_be_those_that_trained_the_model(trained: Path, tmp_path: Path) -> None:
    """Their file may have been touched, but not changed: the card's data fingerprint says so."""
    others = seed_of_others(tmp_path / "others.gpkg", trained)
    labels = trained / "labels.gpkg"
    whole, status = labels.read_bytes(), labels.stat()
    os.utime(labels, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    try:
        estimate(others, trained / "model.safetensors")
        gpd.read_file(labels).iloc[:100].to_file(labels)
        with pytest.raises(
            DataError, match="the data have changed since they trained the model .fingerprint"
        ):
            estimate(others, trained / "model.safetensors")
        labels.unlink()
        with pytest.raises(DataError, match="the data that trained the model cannot be opened any more"):
            estimate(others, trained / "model.safetensors")
    finally:
        labels.write_bytes(whole)
        os.utime(labels, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_run_of_another_model_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "model.run", tmp_path / "model.run")
    shutil.copy(trained / "model.safetensors", tmp_path)
    story = json.loads((tmp_path / "model.run" / "run.json").read_text())
    story["fingerprint"]["data"] = "0" * 64
    (tmp_path / "model.run" / "run.json").write_text(json.dumps(story))
    with pytest.raises(
        DataError, match="that of the run 000000000000, expected a finished training whose folder belo"
    ):
        estimate(trained / "sample.gpkg", tmp_path / "model.safetensors")


def test_labels_in_rasters_are_not_compared(
    trained: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.assessment.accuracy.training_labels._is_vector", lambda path: False)
    with caplog.at_level(logging.WARNING, "geoseg"):
        estimate(trained / "sample.gpkg", trained / "model.safetensors")
    assert "its labels are no vectors, so it cannot be told whether the sample was among them" in caplog.text
