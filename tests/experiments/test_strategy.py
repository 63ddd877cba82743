"""Stages, halving, budget and retries, with trials that are not trained: a pool writes what a run would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from geoseg.experiments.configuration import Base, base_settings
from geoseg.experiments.record import SweepRecord
from geoseg.experiments.results import Results
from geoseg.experiments.roster import Roster
from geoseg.experiments.stages import stages_of
from geoseg.experiments.strategy import ranked, run_stages
from geoseg.experiments.table import SweepTable
from geoseg.experiments.trial_process import Outcome
from geoseg.experiments.work import Work, WorkOptions
from tests.experiments.made import MONITOR, put

Score = Callable[[Mapping[str, Any], int], float]
"""Score of a configuration's training section after an epoch."""


class MadePool:
    """Ends every trial at once, with the metrics that a function says."""

    def __init__(self, folder: Path, score: Score, size: int = 1) -> None:
        self.size, self.running = size, set[str]()
        self.begun: list[tuple[str, int]] = []
        self.fails: dict[str, str] = {}
        self._folder, self._score = folder, score
        self._outcomes: list[tuple[str, Outcome]] = []

    def start(self, name: str, order: Mapping[str, Any]) -> None:
        train = yaml.safe_load(order["config"])["train"]
        epochs = order["until"] or train["epochs"]
        self.begun.append((name, epochs))
        self.running.add(name)
        outcome = Outcome(status="finished" if epochs == train["epochs"] else "paused")
        if name in self.fails:
            outcome = Outcome(status="failed", reason=self.fails[name])
            epochs = 0
        put(self._folder, name, [self._score(train, epoch) for epoch in range(1, epochs + 1)])
        if outcome.status == "finished":
            (self._folder / "trials" / name / "model.safetensors").touch()
        self._outcomes.append((name, outcome))

    def ended(self, timeout: float) -> list[tuple[str, Outcome]]:
        found, self._outcomes = self._outcomes, []
        self.running -= {name for name, _ in found}
        return found

    def stop(self) -> None: ...


@pytest.fixture
def made(toy: Path, tmp_path: Path) -> Callable[..., tuple[Work, MadePool]]:
    """Return a maker of work on the toy's configuration."""
    folder = tmp_path / "sweep"
    folder.mkdir()

    def make(
        score: Score, seeds: int = 2, seconds: float | None = None, epochs: int = 4
    ) -> tuple[Work, MadePool]:
        base = Base(source=toy, changes=[f"train.epochs={epochs}"])
        record = SweepRecord.read(folder) or SweepRecord(
            name="made", created_by="tests", score=f"val/{MONITOR.name}", goal="max",
            base=base_settings(base.config(), ()),
        )  # fmt: skip
        pool = MadePool(folder, score)
        roster, results = Roster(folder, base, record, range(seeds)), Results(folder, MONITOR)
        return Work(roster, results, pool, WorkOptions(seconds=seconds), None), pool

    return make


Made = Callable[..., tuple[Work, MadePool]]
LEVELS = {"ce": 0.5, "dice": 0.8, "focal": 0.3, "jaccard": 0.6}


def level(train: Mapping[str, Any], epoch: int) -> float:
    """A score that grows with the epochs, by loss and seed; sgd is a little worse."""
    noise = {"ce": 0.02, "dice": -0.01, "focal": 0.0, "jaccard": 0.01}[train["loss"]["terms"]]
    worse = 0.2 * (train["optimizer"]["name"] == "sgd")
    return LEVELS[train["loss"]["terms"]] - worse + 0.01 * epoch + noise * train["seed"]


def test_every_configuration_has_its_first_seed_before_any_has_its_second(made: Made) -> None:
    work, pool = made(level)
    assert run_stages(work, stages_of(["train.loss=ce,dice,focal"], None, None), None)
    assert [name for name, _ in pool.begun] == ["t0001", "t0003", "t0005", "t0002", "t0004", "t0006"]
    again, pool = made(level)
    assert run_stages(again, stages_of(["train.loss=ce,dice,focal,jaccard"], None, None), None)
    assert [name for name, _ in pool.begun] == ["t0007", "t0008"], "only what is new"


STAGES = {
    "stages": [
        {"name": "loss", "grid": {"train.loss": ["ce", "dice", "focal"]}},
        {"name": "optimizer", "grid": {"train.optimizer": ["sgd", "adamw"]}},
    ]
}


def test_a_stage_keeps_the_best_of_the_one_before(made: Made) -> None:
    work, pool = made(level)
    assert run_stages(work, stages_of((), STAGES, None), None)
    # dice with adamw, the default, is there from the first stage.
    assert len(pool.begun) == 6 + 2
    table = SweepTable.read(work.roster.folder)
    assert table.stages == ("loss", "optimizer")
    loss, optimizer = table.decisions
    assert loss.chosen == {"train.loss": "dice"}
    assert optimizer.chosen == {"train.loss": "dice", "train.optimizer": "adamw"}
    assert loss.said.startswith("train.loss=dice with 0.83")
    assert "further from all others than noise explains" in optimizer.said
    new = [each for each in table.trials if each.stage == "optimizer"]
    assert [dict(each.parameters) for each in new] == [{"train.loss": "dice", "train.optimizer": "sgd"}] * 2
    assert {each.parameters["train.optimizer"] for each in table.trials if each.stage == "loss"} == {"adamw"}


def test_a_value_that_does_not_go_with_a_choice_is_left_out(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    work, _ = made(level)
    stages = {
        "stages": [
            {"name": "decay", "grid": {"train.weight_decay": [0.1], "train.loss": ["dice"]}},
            {"name": "optimizer", "grid": {"train.optimizer": ["sgd", "rprop"]}},
        ]
    }
    assert run_stages(work, stages_of((), stages, None), None)
    assert "left out: " in caplog.text
    assert "rprop has none" in caplog.text
    assert [each.parameters["train.optimizer"] for each in work.roster.record.trials] == [
        "{name: adamw}", "{name: adamw}", "sgd", "sgd"
    ]  # fmt: skip


def test_failed_trials_are_tried_again_by_the_next_call_only(made: Made) -> None:
    work, pool = made(level)
    pool.fails = {"t0001": "out of memory"}
    stages = stages_of(["train.loss=ce,dice"], None, None)
    assert run_stages(work, stages, None)
    assert work.failed == {"t0001": "out of memory"}
    assert [name for name, _ in pool.begun].count("t0001") == 1
    rows = SweepTable.read(work.roster.folder).rows.groupby("trial").tail(1).set_index("trial")
    assert (rows.loc["t0001", "status"], rows.loc["t0001", "reason"]) == ("failed", "out of memory")
    again, pool = made(level)
    assert run_stages(again, stages, None)
    assert pool.begun == [("t0001", 4)]
    assert not again.failed


def test_what_lost_a_seed_comes_after_what_has_all(made: Made) -> None:
    work, pool = made(level)
    pool.fails = {"t0004": "killed"}
    assert run_stages(work, stages_of(["train.loss=ce,dice"], None, None), None)
    first, second = ranked(work, work.candidates)
    assert first.candidate.values == {"train.loss": "ce"}
    assert second.mean > first.mean


def test_halving_prunes_by_the_mean_and_continues_the_best(made: Made) -> None:
    work, pool = made(level, epochs=8)
    assert run_stages(work, stages_of(["train.loss=ce,dice,focal,jaccard"], None, None), 2)
    # A quarter of the epochs for four, half for two, all for one; two seeds each.
    assert [epochs for _, epochs in pool.begun] == [2] * 8 + [4] * 4 + [8] * 2
    rows = SweepTable.read(work.roster.folder).rows.groupby("trial").tail(1).set_index("trial")
    ends = {row["param/train.loss"]: (row["status"], row["epoch"]) for _, row in rows.iterrows()}
    assert ends == {
        "dice": ("finished", 8), "jaccard": ("pruned", 4), "ce": ("pruned", 2), "focal": ("pruned", 2)
    }  # fmt: skip
    assert rows.loc["t0001", "reason"] == "place 3 of 4 after 2 epochs, of which 2 went on"
    again, pool = made(level, epochs=8)
    assert run_stages(again, stages_of(["train.loss=ce,dice,focal,jaccard"], None, None), 2)
    assert pool.begun == [], "pruned is an end"


def test_halving_that_prunes_nothing_says_so(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    work, pool = made(level, epochs=2)
    stages = stages_of(["train.loss=ce,dice,focal"], None, None)
    assert run_stages(work, stages, 3)
    assert [epochs for _, epochs in pool.begun] == [2] * 6
    assert "halving=3 prunes none of 3 configurations of 2 epochs: it takes as many of both" in caplog.text


def test_nothing_starts_after_the_time_and_the_next_call_goes_on(made: Made) -> None:
    work, pool = made(level, seconds=0.0)
    stages = stages_of((), STAGES, None)
    assert not run_stages(work, stages, None)
    assert pool.begun == []
    rows = SweepTable.read(work.roster.folder).rows
    assert set(rows["status"]) == {"waiting"}
    again, pool = made(level)
    assert run_stages(again, stages, None)
    assert len(pool.begun) == 8


def test_progress_counts_epochs_of_all_trials(made: Made) -> None:
    work, _ = made(level, seeds=1)
    seen: list[tuple[int, int, str]] = []
    work._told = lambda done, total, what: seen.append((done, total, what))
    run_stages(work, stages_of(["train.loss=ce,dice"], None, None), None)
    assert seen[-1] == (8, 8, "trial 2 of 2")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_a_search_goes_on_where_it_was_and_to_a_larger_number(made: Made) -> None:
    from geoseg.experiments.search import Search, searched

    grid = ["train.loss=ce,dice,focal", "train.learning_rate={low: 1.0e-4, high: 1.0e-1, log: true}"]
    work, pool = made(level, seeds=2)
    assert searched(work, Search.of(grid, 4, 1, prune=False))
    assert [name for name, _ in pool.begun] == [f"t{number:04d}" for number in range(1, 9)]
    again, pool = made(level, seeds=2)
    assert searched(again, Search.of(grid, 5, 1, prune=False))
    assert [name for name, _ in pool.begun] == ["t0009", "t0010"]
    table = SweepTable.read(again.roster.folder)
    assert table.stages == ("optuna",)
    rates = [float(each.parameters["train.learning_rate"]) for each in table.trials]
    assert rates[::2] == rates[1::2], "all seeds of a configuration are told by their mean"
    assert len(set(rates)) == 5


def test_a_trial_below_the_median_is_pruned_with_its_other_seeds(made: Made) -> None:
    from geoseg.experiments.search import Search, _give_up, _judge

    work, _ = made(level, seeds=2)
    grid = {"train.loss": ["dice"], "train.learning_rate": [0.1, 0.2, 0.3, 0.4]}
    assert run_stages(work, stages_of(grid, None, None), None)
    before = list(work.candidates)
    for loss, reason in (("focal", "below the median of the trials before it after epoch 2"), ("dice", None)):
        values = {"train.loss": loss, "train.learning_rate": "0.5"}
        (candidate,) = work.roster.candidates("optuna", [values], {})
        first, second = (trial.name for trial in candidate.trials)
        put(work.roster.folder, first, [LEVELS[loss] + 0.02] * 2)
        assert _judge(work, before)(candidate.trials[0]) == reason
        if reason is not None:
            work.results.keep(first, Outcome(status="pruned", reason=reason))
        _give_up(work, candidate)
        found = work.results.standing(second)
        assert found.status == ("waiting" if reason is None else "pruned")
    assert Search.of(["train.loss=ce"], 1, 1, prune=True).prune
