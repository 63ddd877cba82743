"""Trials keep their names; more values, paths and seeds only add new ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geoseg.errors import ConfigError
from geoseg.experiments.configuration import Base, base_settings, digest, text_at
from geoseg.experiments.parameters import combinations, parse_grid
from geoseg.experiments.record import SweepRecord
from geoseg.experiments.roster import Roster
from geoseg.learning.config import Config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sweep").mkdir()
    return tmp_path / "sweep"


def roster(toy: Path, folder: Path, seeds: int = 2, folds: int | None = None) -> Roster:
    changes = ["data.split={method: blocks, size: 16, buffer: 2}"] if folds else []
    base = Base(source=toy, changes=changes, folds=folds)
    record = SweepRecord.read(folder) or SweepRecord(
        name="a", created_by="tests", score="val/mean_iou", goal="max", base=base_settings(base.config(), ())
    )
    return Roster(folder, base, record, range(seeds))


def names(made: Roster, *grid: str, stage: str = "grid") -> list[str]:
    """Names of the trials that a grid needs."""
    values = parse_grid(grid)
    candidates = made.candidates(stage, combinations(values), values)
    return [trial.name for each in candidates for trial in each.trials]


def test_more_values_and_seeds_add_trials_and_keep_the_others(toy: Path, folder: Path) -> None:
    first = roster(toy, folder)
    assert names(first, "train.loss=ce,dice") == ["t0001", "t0002", "t0003", "t0004"]
    assert names(roster(toy, folder), "train.loss=focal,dice") == ["t0005", "t0006", "t0003", "t0004"]
    assert names(roster(toy, folder, 3), "train.loss=ce") == ["t0001", "t0002", "t0007"]
    record = SweepRecord.read(folder)
    assert record is not None
    assert [(each.parameters["train.loss"], each.seed) for each in record.trials] == [
        ("ce", 0), ("ce", 1), ("dice", 0), ("dice", 1), ("focal", 0), ("focal", 1), ("ce", 2),
    ]  # fmt: skip


def test_a_path_that_varies_only_later_is_filled_in(toy: Path, folder: Path) -> None:
    assert names(roster(toy, folder, 1), "train.loss=ce,dice") == ["t0001", "t0002"]
    grown = roster(toy, folder, 1)
    # adamw is the default: those trials are there already, by whatever text it is called.
    assert names(grown, "train.loss=ce,dice", "train.optimizer=sgd,{name: adamw}") == [
        "t0003", "t0001", "t0004", "t0002"
    ]  # fmt: skip
    record = SweepRecord.read(folder)
    assert record is not None
    assert record.parameters == ("train.loss", "train.optimizer")
    assert [each.parameters["train.optimizer"] for each in record.trials] == [
        "{name: adamw}", "{name: adamw}", "sgd", "sgd"
    ]  # fmt: skip


def test_a_configuration_that_an_earlier_stage_trained_is_found_again(toy: Path, folder: Path) -> None:
    made = roster(toy, folder, 1)
    assert names(made, "train.loss=ce,dice", stage="loss") == ["t0001", "t0002"]
    values = parse_grid(["train.optimizer=adamw,sgd"])
    wanted = [{"train.loss": "dice", **each} for each in combinations(values)]
    found = made.candidates("optimizer", wanted, {"train.loss": ["ce", "dice"], **values})
    assert [trial.name for each in found for trial in each.trials] == ["t0002", "t0003"]
    assert [each.stage for each in made.record.trials] == ["loss", "loss", "optimizer"]
    assert made.record.stages == ("loss", "optimizer")


def test_folds_are_trials_of_their_own(toy: Path, folder: Path) -> None:
    made = roster(toy, folder, 1, folds=3)
    values = parse_grid(["train.loss=ce,dice"])
    found = made.candidates("grid", combinations(values), values)
    assert [(t.name, t.record.fold) for each in found for t in each.trials] == [
        ("t0001", 1), ("t0002", 2), ("t0003", 3), ("t0004", 1), ("t0005", 2), ("t0006", 3),
    ]  # fmt: skip
    splits = [t.config.data.split for each in found for t in each.trials]
    assert splits[:3] == splits[3:], "all see the same folds"
    assert len({split.model_dump_json() for split in splits}) == 3


def test_a_mapping_and_a_config_are_varied_as_a_file_is(toy: Path) -> None:
    values = {"train.loss": "dice", "train.optimizer": "{name: sgd, momentum: 0.9}"}
    config = Config.read(toy)
    of_file = Base(source=toy).config(values, 3)
    of_config = Base(source=config).config(values, 3)
    assert digest(of_file) == digest(Base(source=yaml.safe_load(toy.read_text())).config(values, 3))
    assert (of_config.train.optimizer, of_config.train.loss.terms) == (of_file.train.optimizer, "dice")
    assert (of_file.data_root, of_file.folder) == (of_config.data_root, of_config.folder)
    assert of_file.train.seed == 3
    assert digest(of_file) != digest(Base(source=toy).config(values, 4))
    with pytest.raises(ConfigError, match="no loss is called"):
        Base(source=config).config({"train.loss": "no_such"})


def test_values_are_found_by_their_paths(toy: Path) -> None:
    config = Config.read(toy)
    assert text_at(config, "data.classes.10.name") == "left"
    assert text_at(config, "data.split.train.0") == "a"
    assert text_at(config, "train.patience") == "null"
    settings = base_settings(config, ["train.loss", "data"])
    assert not [key for key in settings if key.startswith(("train.loss", "data", "train.seed"))]
    assert settings["train.epochs"] == 2
