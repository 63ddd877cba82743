"""Table and leaderboard are what the runs' own files say, put together by a loop."""

from __future__ import annotations

import statistics
from pathlib import Path

import pandas as pd
import pytest

from geoseg.errors import DataError, OutputError
from geoseg.experiments.leaderboard import leaderboard, of_table, write_leaderboard
from geoseg.experiments.record import SWEEP, SweepRecord
from geoseg.experiments.results import Results, Standings
from geoseg.experiments.table import SweepTable
from geoseg.experiments.trial_process import Outcome
from tests.experiments.made import MONITOR, put, record, trial

DONE = Outcome(status="finished")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Three configurations, two seeds: one failed trial, one pruned, one that waits."""
    known = record(
        trial(1, 0, loss="ce"), trial(2, 1, loss="ce"), trial(3, 0, loss="dice"), trial(4, 1, loss="dice"),
        trial(5, 0, loss="focal"), trial(6, 1, loss="focal"),
    )  # fmt: skip
    put(tmp_path, "t0001", [0.5, 0.7, 0.6], DONE)
    put(tmp_path, "t0002", [0.4, 0.4, 0.8], DONE)
    put(tmp_path, "t0003", [0.9, None, 0.2], DONE)
    put(tmp_path, "t0004", [], Outcome(status="failed", reason="out of memory"))
    put(tmp_path, "t0005", [0.1], Outcome(status="pruned", reason="place 3 of 3"))
    known.write(tmp_path)
    results = Results(tmp_path, MONITOR)
    rows = results.write(known, {each.trial: results.standing(each.trial) for each in known.trials})
    write_leaderboard(leaderboard(rows, known), tmp_path)
    return tmp_path


def test_a_row_for_each_trial_and_epoch(made: Path) -> None:
    table = SweepTable.read(made)
    rows = table.rows
    assert list(rows["trial"]) == ["t0001"] * 3 + ["t0002"] * 3 + ["t0003"] * 3 + ["t0004", "t0005", "t0006"]
    assert list(rows["epoch"].dropna()) == [1, 2, 3] * 3 + [1]
    assert dict(zip(rows["trial"], rows["status"], strict=True)) == {
        "t0001": "finished", "t0002": "finished", "t0003": "finished", "t0004": "failed", "t0005": "pruned",
        "t0006": "waiting",
    }  # fmt: skip
    assert rows.loc[rows["trial"] == "t0004", "reason"].item() == "out of memory"
    best = table.best_rows().set_index("trial")["epoch"]
    assert best.to_dict() == {"t0001": 2, "t0002": 3, "t0003": 1, "t0005": 1}
    assert rows["val/per_image/iou/roof"].iloc[1] == 0.7
    assert rows["train/loss"].dtype == rows["seconds"].dtype == "float64"
    assert rows["fold"].isna().all()
    assert table.score in rows.columns
    assert not [name for name in rows.columns if name.startswith("test/")], "nobody has asked for them"
    assert list(rows["param/train.loss"].unique()) == ["ce", "dice", "focal"]


def test_the_leaderboard_is_what_a_loop_finds(made: Path) -> None:
    board = pd.read_csv(made / "leaderboard.csv").set_index("param/train.loss")
    assert list(board.index) == ["dice", "ce", "focal"], "the best mean first, without a finished trial last"
    scores = {"ce": [0.7, 0.8], "dice": [0.9]}
    for loss, found in scores.items():
        row = board.loc[loss]
        assert row["mean"] == pytest.approx(statistics.mean(found))
        assert (row["min"], row["max"], row["count"]) == (min(found), max(found), len(found))
    assert board.loc["ce", "spread"] == pytest.approx(statistics.stdev(scores["ce"]))
    assert board.loc["ce", "cpu_seconds"] == 6
    assert (board.loc["dice", "failed"], board.loc["focal", "pruned"], board.loc["focal", "count"]) == (
        1,
        1,
        0,
    )
    assert board.loc["ce", "trials"] == "t0001 t0002"
    again = of_table(SweepTable.read(made))
    assert list(again["rank"]) == [1, 2, 3]


def test_with_nothing_that_varies_there_is_one_configuration(tmp_path: Path) -> None:
    known = record(trial(1, 0), trial(2, 1))
    put(tmp_path, "t0001", [0.5], DONE)
    put(tmp_path, "t0002", [0.6], DONE)
    results = Results(tmp_path, MONITOR)
    rows = results.write(known, {each.trial: results.standing(each.trial) for each in known.trials})
    board = leaderboard(rows, known)
    assert board["mean"].tolist() == [0.55]


def test_lower_is_better_for_a_loss(tmp_path: Path) -> None:
    from dataclasses import replace

    from geoseg.learning.monitor import Monitor

    known = replace(record(trial(1, 0, loss="ce"), trial(2, 0, loss="dice")), score="val/loss", goal="min")
    for name in ("t0001", "t0002"):
        put(tmp_path, name, [0.5, 0.6], DONE)
    (tmp_path / "trials/t0002/metrics.jsonl").write_text(
        (tmp_path / "trials/t0002/metrics.jsonl")
        .read_text()
        .replace('"val_loss": 0.5', '"val_loss": 0.25', 1)
    )
    results = Results(tmp_path, Monitor(name="loss"))
    rows = results.write(known, {each.trial: results.standing(each.trial) for each in known.trials})
    assert leaderboard(rows, known)["param/train.loss"].tolist() == ["dice", "ce"]
    assert results.score_at("t0002", 1) == 0.25


def test_a_line_that_is_half_written_does_not_count(tmp_path: Path) -> None:
    put(tmp_path, "t0001", [0.5, 0.6])
    path = tmp_path / "trials/t0001/metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "val')
    assert len(Results(tmp_path, MONITOR).epochs("t0001")) == 2


def test_a_finished_trial_whose_model_is_gone_waits(tmp_path: Path) -> None:
    put(tmp_path, "t0001", [0.5], DONE)
    (tmp_path / "trials/t0001/model.safetensors").unlink()
    assert Results(tmp_path, MONITOR).standing("t0001") == Standings(status="waiting")


def test_a_folder_without_a_sweep_and_a_broken_record_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no sweep"):
        SweepTable.read(tmp_path)
    (tmp_path / SWEEP).write_text("{}")
    with pytest.raises(OutputError, match="is no record of a sweep"):
        SweepRecord.read(tmp_path)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    known = record(trial(1, 0, loss="bce + dice"), trial(2, 1, loss="ce"))
    known.write(tmp_path)
    assert SweepRecord.read(tmp_path) == known


def test_a_trial_that_keeps_its_last_epoch_is_scored_by_it(tmp_path: Path) -> None:
    """The best epoch is not the one whose weights its model has."""
    put(tmp_path, "t0001", [0.5, 0.9, 0.6], DONE)
    (tmp_path / "trials" / "t0001" / "config.yaml").write_text("train: {keep: last}\n")
    results = Results(tmp_path, MONITOR)

    assert results.score("t0001") == 0.6
    assert results.score_at("t0001", 2) == 0.9
    line = results.kept_epoch("t0001")
    assert line is not None
    assert line["epoch"] == 3
