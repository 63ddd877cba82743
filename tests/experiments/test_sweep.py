"""A sweep's trials are the trainings that `geoseg.train` makes, and growing it runs only what is new."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import geoseg
from geoseg.experiments.table import SweepTable
from geoseg.models.card_file import read_card
from tests.toys import WriteRaster

QUICK = ["train.epochs=2", "train.chips_per_epoch=8", "data.split={train: [a], val: [b], test: [c]}"]


@pytest.fixture
def three(toy: Path, write_raster: WriteRaster) -> Path:
    """The toy with a third image to test on."""
    import numpy as np

    labels = np.where(np.arange(64) < 32, 10, 20)[None].repeat(48, axis=0).astype(np.uint8)
    labels[:5] = 0
    image = np.random.default_rng(5).normal(100, 10, size=(2, 48, 64)) + np.where(labels == 20, 80, 0)
    write_raster(toy.parent / "images" / "c.tif", image.astype(np.uint8), at_col=200)
    write_raster(toy.parent / "labels" / "c.tif", labels, at_col=200)
    return toy


@pytest.mark.long
def test_trials_are_trainings_and_a_sweep_grows(three: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "sweep", []
    rows = geoseg.sweep(
        three, output=output, changes=QUICK, grid={"train.loss": ["ce"]}, seeds=2,
        progress=lambda done, total, what: seen.append((done, total)),
    )  # fmt: skip
    assert isinstance(rows, pd.DataFrame)
    assert set(rows["status"]) == {"finished"}
    assert seen[-1] == (4, 4)
    weights = [
        read_card(output / "trials" / name / "model.safetensors").weights_sha256
        for name in ("t0001", "t0002")
    ]
    run = tmp_path / "run"
    geoseg.train(three, output=run, changes=[*QUICK, "train.loss=ce", "train.seed=1"])
    assert read_card(run / "model.safetensors").weights_sha256 == weights[1]
    # Nobody has looked at the test images.
    for name in ("t0001", "t0002"):
        folder = output / "trials" / name
        assert set(json.loads((folder / "run.json").read_text())["scores"]) == {"val"}
        assert "scoring the best epoch on the validation images\n" in (folder / "trial.log").read_text()
        training = read_card(folder / "model.safetensors").training
        assert training is not None
        assert set(training["metrics"]) == {"val"}  # type: ignore[arg-type]
    assert not [name for name in rows.columns if name.startswith("test/")]
    stamps = [(output / "trials" / name / "trial.log").stat().st_mtime_ns for name in ("t0001", "t0002")]
    grown = geoseg.sweep(
        three, output=output, changes=QUICK, grid={"train.loss": ["ce", "dice"]}, seeds=1, workers=2,
        reveal_test=True,
    )  # fmt: skip
    kept = [(output / "trials" / name / "trial.log").stat().st_mtime_ns for name in ("t0001", "t0002")]
    assert kept[1] == stamps[1]
    assert sorted(grown["trial"].unique()) == ["t0001", "t0002", "t0003"]
    # Of the two of this call the better one is revealed, with what its training would have said.
    table = SweepTable.read(output)
    best = table.best_rows().set_index("trial")
    shown = best.index[best["test/mean_iou"].notna()]
    assert list(shown) == [best.loc[["t0001", "t0003"], "val/mean_iou"].idxmax()]
    seed = best.loc[shown[0], "param/train.loss"]
    whole = tmp_path / "whole"
    geoseg.train(three, output=whole, changes=[*QUICK, f"train.loss={seed}"])
    training = read_card(whole / "model.safetensors").training
    assert training is not None
    assert best.loc[shown[0], "test/mean_iou"] == training["metrics"]["test"]["mean_iou"]  # type: ignore[index, call-overload]
    assert (output / "dashboard.html").exists()


@pytest.mark.long
def test_halving_prunes_the_worst_and_finishes_the_best_as_if_nothing_had_been(
    three: Path, tmp_path: Path
) -> None:
    output = tmp_path / "sweep"
    changes = [*QUICK, "train.epochs=4"]
    rows = geoseg.sweep(
        three, output=output, changes=changes, grid={"train.learning_rate": [0.01, 1e-6]}, seeds=1, halving=2
    )
    last = rows.groupby("trial").tail(1).set_index("trial")
    assert last["status"].to_dict() == {"t0001": "finished", "t0002": "pruned"}
    assert last["epoch"].to_dict() == {"t0001": 4, "t0002": 2}
    assert last.loc["t0002", "reason"] == "place 2 of 2 after 2 epochs, of which 1 went on"
    run = tmp_path / "run"
    geoseg.train(three, output=run, changes=[*changes, "train.learning_rate=0.01"])
    halved = read_card(output / "trials" / "t0001" / "model.safetensors").weights_sha256
    assert halved == read_card(run / "model.safetensors").weights_sha256
