"""The short form of `quality.py`: what a few steps must be worth, and that its parts do what they say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import geoseg
from geoseg.errors import ConfigError
from geoseg.grid.window import Window
from geoseg.learning.config import Config
from geoseg.learning.metrics import Confusion
from geoseg.learning.preparation import prepare_training
from geoseg.learning.train import train
from geoseg.models.card_file import read_card
from tests.datasets.sets import write_tif

HERE = Path(__file__).parent


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of this folder, which are scripts and no package."""
    monkeypatch.syspath_prepend(str(HERE))
    return {
        name: importlib.import_module(name)
        for name in ("protocols", "forests", "pixels", "curves", "quality")
    }


def test_places_are_trained_or_validated_or_tested_on(
    parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    protocol = parts["protocols"].PROTOCOLS["hls"]
    splits = [protocol.config(part).data.split for part in protocol.parts]
    for split in splits:
        together = [*split.train, *split.val, *split.test]
        assert sorted(together) == list(range(30))
    assert sorted(place for split in splits for place in split.test) == list(range(30)), "each is tested once"


def test_every_part_of_every_set_is_a_configuration(
    parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    for protocol in parts["protocols"].PROTOCOLS.values():
        configs = [protocol.config(part) for part in protocol.parts]
        assert all(config.train.threads == 1 for config in configs)
        assert len({json.dumps(config.fields(), default=str) for config in configs}) == len(configs)
    with pytest.raises(ConfigError):
        protocol.config("seed 0", ["train.epochs=none"])


def test_surroundings_are_means_and_deviations(parts: Any) -> None:
    image = np.random.default_rng(0).normal(size=(2, 20, 21)).astype(np.float32)
    features = parts["forests"].surrounded(image)
    assert features.shape == (10, 20, 21)
    around = image[:, 7:10, 4:7]
    np.testing.assert_allclose(features[2:4, 8, 5], around.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features[4:6, 8, 5], around.std(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_the_table_has_a_column_for_each_method_and_the_best_is_bold(parts: Any, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    made = [
        ("fold 0", "forest", 0.5),
        ("fold 1", "forest", 0.6),
        ("fold 0", "geoseg", 0.55),
        ("fold 0", "geoai", 0.1),
    ]
    lines = [
        {"set": "hls", "part": part, "method": method, "cpu_seconds": 10.0, "scores": {"mean_iou": iou}}
        for part, method, iou in made
    ]
    lines[-1]["with_symmetries"] = {"mean_iou": 0.2}
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    title, _, *rows = parts["quality"].table(results).splitlines()
    assert title == "| set | score | geoseg | plain loop | forest | forest, 7 px | geoai |"
    assert rows == [
        "| hls | mean_iou | **0.550** (fold 0; 10 s) |  | 0.550 ± 0.071 (fold 0, fold 1; 10 s) |  "
        "| 0.100, `--tta` 0.200 (fold 0; 10 s) |"
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=arrays(np.int64, (3, 4, 4), elements=st.integers(0, 50)))
def test_folds_are_pooled_as_counts_are_added(parts: Any, counts: np.ndarray) -> None:
    counts[0] += np.eye(4, dtype=np.int64)
    quality = parts["quality"]
    folds = [quality._counts(Confusion(each), "abcd") for each in counts]
    assert quality.pooled(folds) == pytest.approx(Confusion(counts.sum(axis=0)).mean_iou)


def test_the_table_says_pooled_scores_of_whole_folds_only(parts: Any) -> None:
    numbers = {"right": 1, "predicted": 2, "labelled": 3}
    found = [
        {"part": str(i), "cpu_seconds": 9.0, "scores": {"iou": i / 2, "counts": {"a": numbers}}}
        for i in range(2)
    ]
    said = parts["quality"].said
    assert said(found, "iou", ("0", "1"), folds=True) == "0.250 ± 0.354, pooled 0.250 (9 s)"
    assert said(found, "iou", ("0", "1", "2"), folds=True) == "0.250 ± 0.354 (0, 1; 9 s)"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(classes=st.lists(st.integers(1, 4), min_size=4, max_size=40), seed=st.integers(0, 99), data=st.data())
def test_drawn_polygons_are_nested_and_of_every_class(
    parts: Any, classes: list[int], seed: int, data: st.DataObject
) -> None:
    draw, kinds = parts["curves"].draw, set(classes)
    fewer = data.draw(st.integers(len(kinds), len(classes)))
    more = data.draw(st.integers(fewer, len(classes) + 5))
    few, many = draw(classes, fewer, seed), draw(classes, more, seed)
    assert len(few) == len(set(few)) == fewer
    assert len(many) == min(more, len(classes))
    assert set(few) <= set(many)
    assert {classes[i] for i in few} == kinds
    with pytest.raises(ValueError, match="draw more"):
        draw(classes, len(kinds) - 1, seed)


def test_beside_a_drawn_polygon_is_background_and_one_that_was_not_drawn_is_unknown(parts: Any) -> None:
    around = parts["curves"].AROUND
    codes = np.zeros((10, 3 * around), dtype=np.uint8)
    codes[2:4, 3:6] = codes[6:8, 3:6] = 1  # drawn, and not drawn though beside it
    drawn = np.zeros(codes.shape, dtype=bool)
    drawn[2:4, 3:6] = True
    inside = np.ones(codes.shape, dtype=bool)
    inside[:, 4] = False
    found = parts["curves"].known(codes, [drawn], inside, 0)
    expected = np.full(codes.shape, 255)
    expected[:, : 6 + around] = 0
    expected[2:4, 3:6], expected[6:8, 3:6], expected[:, 4] = 1, 255, 255
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        parts["curves"].known(codes, [drawn], inside, None), np.where(drawn & inside, 1, 255)
    )


def test_few_polygons_are_tested_on_the_same_pixels(parts: Any, tmp_path: Path) -> None:
    """Two classes on a scene of made-up values, whose recipe divides it into blocks."""
    fields = _scene(tmp_path / "scene")
    config = Config.of(fields, "recipe", tmp_path)
    whole = Window(row=0, col=0, height=120, width=120)
    recipe = prepare_training(config).splits
    least: Any = None
    inside = recipe["train"][0].area.inside(whole)
    half = sum(2 * inside[row : row + 8, col : col + 8].sum() >= 64 for row, col in _SQUARES)
    for count in (3, 99):
        folder = tmp_path / str(count)
        folder.mkdir()
        few, polygons = parts["curves"].few_polygons(config, recipe, count, 0, folder)
        splits = prepare_training(few).splits
        assert polygons == min(count, half)
        for split in ("val", "test"):
            for mine, theirs in zip(splits[split][0].read(whole), recipe[split][0].read(whole), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        _, valid, mask = splits["train"][0].read(whole)
        labelled, trained = mask >= 0, recipe["train"][0].mask(whole)
        np.testing.assert_array_equal(mask[labelled], trained[labelled])
        held_back = np.logical_or.reduce([recipe[split][0].area.inside(whole) for split in ("val", "test")])
        np.testing.assert_array_equal(valid, ~held_back)
        assert least is None or labelled[least].all()
        least = labelled


_SQUARES = [(row, col) for row in range(6, 120, 20) for col in range(6, 120, 20)]
"""First row and column of labelled squares of 8 px."""


def _scene(folder: Path) -> dict[str, Any]:
    """Write a scene with 36 squares of two classes; return the fields of a configuration in blocks."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(1, 255, (3, 120, 120), dtype=np.uint8)
    write_tif(folder / "scene.tif", pixels, at=0)
    squares = [
        shapely.box(500_000 + 10 * col, 4e6 - 10 * (row + 8), 500_000 + 10 * (col + 8), 4e6 - 10 * row)
        for row, col in _SQUARES
    ]
    for number, layer in enumerate(("left", "right")):
        frame = geopandas.GeoDataFrame(geometry=squares[number::2], crs=32652)
        frame.to_file(folder / "labels.gpkg", layer=layer)
    return {
        "data": {
            "root": str(folder), "images": "scene.tif", "labels": "labels.gpkg", "bands": ["red", "green", "blue"],
            "classes": {1: {"name": "left"}, 2: {"name": "right"}},
            "split": {"method": "blocks", "val": 0.2, "test": 0.2, "size": 25},
        },
        "model": {"encoder_weights": "none"},
        "train": {"chip_size": 64, "epochs": 1, "device": "cpu"},
    }  # fmt: skip


def test_the_table_of_curves_has_a_row_for_each_number_of_polygons(parts: Any) -> None:
    made = [
        {"set": "zion", "count": count, "seed": seed, "method": method, "polygons": min(count, 9), "cpu_seconds": 30.0,
         "scores": {"accuracy": accuracy}}
        for count, seed, method, accuracy in (
            (40, 0, "forest, 7 px", 0.75),
            (5, 0, "geoseg", 0.5),
            (5, 1, "geoseg", 0.6),
            (5, 0, "geoseg, consistency", 0.6),
        )
    ]  # fmt: skip
    assert parts["curves"].table(made, {"zion": "accuracy"}).splitlines() == [
        "| set | score | polygons | seeds | geoseg | geoseg, consistency | forest, 7 px |",
        "|---|---|---|---|---|---|---|",
        "| zion | accuracy | 5 | 2 | 0.550 ± 0.071 (30 s) | 0.600 (30 s) |  |",
        "| zion | accuracy | 9 | 1 |  |  | 0.750 (30 s) |",
    ]


@pytest.mark.long
def test_what_is_there_is_not_made_again(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path / "nothing"))
    results, done = tmp_path / "curves.jsonl", ("kampala", "5", "0", "geoseg")
    results.write_text(json.dumps(dict(zip(("set", "count", "seed", "method"), done, strict=True))) + "\n")
    parts["quality"].make([done], results, "curve")
    assert capsys.readouterr().err == ""
    parts["quality"].make([done, ("kampala", "10", "0", "geoseg")], results, "curve")
    assert "1 of 1: kampala, 10, 0, geoseg\nfailed: " in capsys.readouterr().err
    assert len(results.read_text().splitlines()) == 1


@pytest.mark.long
def test_forty_steps_find_roofs(
    parts: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forest of 7 px has 0.51 on the test images; random weights hardly find a roof in forty steps."""
    monkeypatch.setenv("GEOSEG_DATA", str(shared))
    changes = ["train.chip_size=128", "train.epochs=4", "data.split.test=[]", "train.precision=fp32"]
    config = parts["protocols"].PROTOCOLS["roofs"].config("seed 0", changes)
    training = read_card(train(config, output=tmp_path / "run")).training or {}
    metrics: Any = training["metrics"]
    assert metrics["val"]["per_image"]["dice"]["roof"] > 0.6


@pytest.mark.long
def test_a_forest_scores_what_it_did(parts: Any, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(shared))
    found = parts["quality"].cell("roofs", "seed 0", "forest")["scores"]
    assert found["accuracy"] == pytest.approx(0.869, abs=0.005)


@pytest.mark.long
def test_maps_with_symmetries_are_scored_by_class(
    parts: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their classes have the numbers of the legend, 10 to 80, and masks those of the network's channels."""
    monkeypatch.setenv("GEOSEG_DATA", str(shared))
    protocol = parts["protocols"].PROTOCOLS["hls"]
    run = prepare_training(protocol.config("fold 2"))
    model = tmp_path / "untrained.safetensors"
    run.model.save(model)
    right = []
    for pair in run.splits["test"]:
        predicted = geoseg.predict(pair.image, model, tta=True, device="cpu")["landcover"].values
        labels = np.array(Image.open(shared / "hls_worldcover" / "labels" / f"{pair.name}.tif"))
        counts = np.isin(labels, pair.channels.codes) & (predicted != 255)
        right.append((predicted == labels)[counts])
    score = parts["quality"]._with_symmetries(protocol, "fold 2", model)
    assert score["accuracy"] == pytest.approx(np.concatenate(right).mean(), abs=1e-6)
    assert score["accuracy"] > 0
