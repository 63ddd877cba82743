"""Folds: everything is held back once, what cannot be divided is refused, and scores are those of the models."""

from __future__ import annotations

import json
import logging
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

import geoseg
from geoseg.datasets.split_config import BlockFoldSplit, FoldSplit
from geoseg.errors import ConfigError, DataError, OptionError, OutputExistsError, ResumeError
from geoseg.learning import folds as folds_module
from geoseg.learning.config import Config
from geoseg.learning.folds import fold_configs, fold_table, train_folds
from geoseg.learning.preparation import prepare_training
from geoseg.learning.training_run import Trained, TrainOptions
from geoseg.models.card import Card
from geoseg.models.card_file import read_card
from geoseg.models.model import Model
from tests.toys import WriteRaster

BLOCKS = "data.split={method: blocks, size: 16, buffer: 2, seed: 3}"
QUICK = ["train.epochs=1", "train.chips_per_epoch=4", BLOCKS]


@pytest.fixture
def scenes(toy: Path, write_raster: WriteRaster) -> Path:
    """Four images, of which c and d overlap on the ground."""
    random = np.random.default_rng(2)
    for at_col, stem in ((200, "c"), (220, "d"), (300, "e")):
        labels = np.where(np.arange(64) < 20 + at_col // 20, 10, 20)[None].repeat(48, axis=0).astype(np.uint8)
        image = random.normal(100, 10, size=(2, 48, 64)) + np.where(labels == 20, 80, 0)
        write_raster(toy.parent / "images" / f"{stem}.tif", image.astype(np.uint8), at_col=at_col)
        write_raster(toy.parent / "labels" / f"{stem}.tif", labels, at_col=at_col)
    return toy


def test_folds_are_of_blocks_where_the_split_is_and_else_of_groups(scenes: Path) -> None:
    toy = scenes
    blocks = [each.data.split for each in fold_configs(Config.read(toy, [BLOCKS]), 4)]
    assert blocks == [
        BlockFoldSplit(k=4, fold=fold, size=16, buffer=2, seed=3, test=True) for fold in range(4)
    ]
    config = Config.read(toy, ["data.split={method: fraction, seed: 7}"])
    assert [each.data.split for each in fold_configs(config, 3)] == [
        FoldSplit(k=3, fold=fold, seed=7, test=True) for fold in range(3)
    ]
    for each in (config, Config.read(toy, [BLOCKS])):
        of_groups = [fold.data.split for fold in fold_configs(each, "groups")]
        assert [split.k for split in of_groups if isinstance(split, FoldSplit)] == [4] * 4, "c and d are one"
    held = [prepare_training(each).splits["test"] for each in fold_configs(config, "groups")]
    assert sorted([pair.name for pair in pairs] for pairs in held) == [["a"], ["b"], ["c", "d"], ["e"]]
    assert fold_configs(config, 3)[0].data_root == config.data_root


def test_what_a_split_leaves_out_is_in_no_fold(scenes: Path) -> None:
    config = Config.read(scenes, ["data.split={train: [a, b], val: [e]}"])
    configs = fold_configs(config, "groups")
    assert len(configs) == 3
    assert configs[0].data.exclude == ("c", "d")


def test_what_cannot_be_folded_is_refused_in_one_line(toy: Path, tmp_path: Path) -> None:
    config = Config.read(toy)
    refusals: list[tuple[type[Exception], str, Config, Any]] = [
        (OptionError, "folds is 2, expected 3 or more: one fold is scored", config, 2),
        (OptionError, "folds is 'all', expected a number or 'groups'", config, "all"),
        (DataError, "2 groups of images cannot make 3 folds; images that overlap", config, 3),
        (DataError, "2 groups of images cannot make 3 folds", config, "groups"),
        (ConfigError, "train.devices is 2, and folds", Config.read(toy, ["train.devices=2"]), 3),
    ]
    for error, said, of, folds in refusals:
        with pytest.raises(error, match=said) as refusal:
            train_folds(of, folds, tmp_path / "folds")
        assert "\n" not in str(refusal.value)
        assert not (tmp_path / "folds").exists()
    with pytest.raises(DataError, match="the labels are in 2 blocks, which make 2 folds, expected 3"):
        geoseg.train(
            toy, folds=3, output=tmp_path / "folds", changes=["data.split={method: blocks, size: 60}"]
        )
    assert not (tmp_path / "folds").exists()
    with pytest.raises(OptionError, match="folds make several models, expected a folder"):
        geoseg.train(toy, folds=3, output=tmp_path / "m.safetensors", changes=[BLOCKS])
    with pytest.raises(OptionError, match="folds are not extended; leave extend= out"):
        geoseg.train(toy, folds=3, output=tmp_path / "folds", changes=[BLOCKS], extend=True)


def test_a_fold_that_lacks_a_class_is_said(toy: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Class 10 lies in the left half, which the blocks of one fold may hold all of."""
    import rasterio

    with rasterio.open(toy.parent / "labels" / "a.tif", "r+") as file:
        labels = file.read(1)
        labels[:] = np.where(np.arange(64) < 16, 10, 20)
        labels[16:, :16] = 20
        file.write(labels, 1)
    changes = [BLOCKS, "data.images=images/a.tif", "data.labels=labels/a.tif"]
    lacking = []
    for config in fold_configs(Config.read(toy, changes), 3):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "geoseg"):
            run = prepare_training(config)
        lacking.append(0 in run.statistics.pixels)
        assert ("no training pixel is labelled as class 10" in caplog.text) == lacking[-1]
        assert all(np.isfinite(run.statistics.class_weights(0.5)))
    assert sorted(lacking) == [False, True, True], "where it is scored and where it validates"


def pooled_by_hand(output: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores of scikit-learn for the pixels of all folds, one after the other."""
    pairs: list[tuple[int, int]] = []
    for number in (1, 2, 3):
        story = json.loads((output / f"fold-{number}" / "run.json").read_text())
        counts = np.array(story["scores"]["test"]["confusion"])
        pairs += [pair for pair in np.ndindex(counts.shape) for _ in range(counts[pair])]
    reference, predicted = np.array(pairs).T
    iou, dice, precision, recall = (
        score(reference, predicted, labels=range(len(names)), average=None)
        for score in (jaccard_score, f1_score, precision_score, recall_score)
    )

    def by_name(values: Any) -> dict[str, Any]:
        return {name: pytest.approx(value, abs=1e-6) for name, value in zip(names, values, strict=True)}

    return {
        "mean_iou": pytest.approx(np.mean(iou), abs=1e-6),
        "mean_dice": pytest.approx(np.mean(dice), abs=1e-6),
        "accuracy": pytest.approx(accuracy_score(reference, predicted), abs=1e-6),
        "iou": by_name(iou),
        "dice": by_name(dice),
        "precision": by_name(precision),
        "recall": by_name(recall),
    }


@pytest.mark.long
def test_each_fold_is_a_run_and_their_scores_are_put_together(toy: Path, tmp_path: Path) -> None:
    output = tmp_path / "folds"
    path = geoseg.train(toy, folds=3, output=output, changes=QUICK)
    assert path == output / "folds.json"
    assert sorted(each.name for each in output.iterdir()) == ["fold-1", "fold-2", "fold-3", "folds.json"]
    table = json.loads(path.read_text())
    assert (table["folds"], table["of"], table["seed"]) == (3, "blocks", 3)
    cards = [read_card(output / f"fold-{number}" / "model.safetensors") for number in (1, 2, 3)]
    scores = [card.training["metrics"]["test"] for card in cards]  # type: ignore[call-overload, index]
    assert [each["scores"] for each in table["scores"]] == scores
    assert [each["images"] for each in table["scores"]] == [["a", "b"]] * 3
    for pick in (lambda s: s["mean_iou"], lambda s: s["iou"]["left"], lambda s: s["per_image"]["accuracy"]):
        assert pick(table["mean"]) == pytest.approx(statistics.mean(map(pick, scores)), abs=1e-6)
        assert pick(table["std"]) == pytest.approx(statistics.stdev(map(pick, scores)), abs=1e-6)
    assert table["pooled"] == pooled_by_hand(output, ("left", "right"))
    assert len({card.weights_sha256 for card in cards}) == 3
    # The same call again finds all of it done, and another one is refused.
    stamps = {each: each.stat().st_mtime_ns for each in output.rglob("*.safetensors")}
    text = path.read_bytes()
    assert geoseg.train(toy, folds=3, output=output, changes=QUICK, resume=False) == path
    assert {each: each.stat().st_mtime_ns for each in output.rglob("*.safetensors")} == stamps
    assert path.read_bytes() == text
    with pytest.raises(OutputExistsError, match=r"trained with data\.split\.k 3, and this command has 4"):
        geoseg.train(toy, folds=4, output=output, changes=QUICK)
    with pytest.raises(OutputExistsError, match=r"trained with train\.seed 0"):
        geoseg.train(toy, folds=3, output=output, changes=[*QUICK, "train.seed=4"])
    assert path.read_bytes() == text


def test_a_run_of_folds_goes_on_where_it_was(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished folds stay, also of a command that replaces them; another command is refused."""
    output, config = tmp_path / "folds", Config.read(toy, [BLOCKS])
    asked: list[tuple[str, bool]] = []

    def run(each: Config, folder: Path, options: TrainOptions, *_: object) -> Trained:
        assert isinstance(each.data.split, BlockFoldSplit)
        asked.append((folder.name, options.overwrite))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return Trained(model=folder / "model.safetensors", folder=folder)

    monkeypatch.setattr(folds_module, "train_run", run)
    monkeypatch.setattr(folds_module, "fold_table", lambda *_: {"format": 1})
    options = TrainOptions(overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        train_folds(config, 4, output, options)
    assert asked == [("fold-1", True), ("fold-2", True), ("fold-3", True)]
    with pytest.raises(ResumeError, match="holds unfinished folds with folds 4, this command has folds 3"):
        train_folds(config, 3, output, options)
    train_folds(config, 4, output, options)
    assert asked[3:] == [("fold-1", False), ("fold-2", False), ("fold-3", True), ("fold-4", True)]
    assert [each.name for each in output.iterdir()] == ["folds.json"]


def test_a_class_that_a_fold_does_not_have_is_left_out_of_the_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pooled, a class that one fold has three pixels of counts by its three pixels."""
    means = iter(
        [{"iou": {"a": 0.5, "b": None}}, {"iou": {"a": 0.7, "b": None}}, {"iou": {"a": None, "b": 0.2}}]
    )
    counts = ([[50, 50], [0, 0]], [[70, 30], [0, 0]], [[0, 0], [2, 1]])
    model = Model.new(architecture="Unet", encoder="resnet18", bands=["red"], classes="a,b")

    def read(_: Path) -> Card:
        return model.card.changed(training={"images": {"test": ["x"]}, "metrics": {"test": next(means)}})

    monkeypatch.setattr(folds_module, "read_card", read)
    trained = [Trained(model=tmp_path, folder=tmp_path / f"fold-{n}") for n in (1, 2, 3)]
    for each, found in zip(trained, counts, strict=True):
        each.folder.mkdir()
        (each.folder / "run.json").write_text(json.dumps({"scores": {"test": {"confusion": found}}}))
    table = fold_table(trained, FoldSplit(k=3, test=True), ["a"])
    assert table["mean"] == {"iou": {"a": 0.6, "b": 0.2}}
    assert table["std"] == {"iou": {"a": pytest.approx(0.141421), "b": None}}
    pooled = table["pooled"]
    assert pooled["iou"] == {"a": pytest.approx(120 / 202, abs=1e-6), "b": pytest.approx(1 / 83, abs=1e-6)}
    assert pooled["mean_iou_without"] == pooled["iou"]["b"]
    assert pooled["accuracy"] == pytest.approx(121 / 203, abs=1e-6)
