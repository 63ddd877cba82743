"""Proposals are a pure function of the results before them, inside their ranges; a search goes on by replaying."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.experiments.configuration import Base
from geoseg.experiments.ranges import Range, drawn, space_of
from geoseg.experiments.run import SweepOptions, run_sweep
from geoseg.experiments.search import Search, searched
from geoseg.experiments.stages import stages_of

GRID = ["train.learning_rate={low: 1.0e-4, high: 1.0e-1, log: true}", "train.loss=ce,dice"]


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e4), st.booleans(), st.integers())
def test_what_is_drawn_lies_in_the_range(low: float, factor: float, log: bool, seed: int) -> None:
    found = float(Range(low=low, high=low * factor, log=log).drawn(random.Random(seed)))
    assert low * 0.999 <= found <= low * factor * 1.001


def test_whole_numbers_stay_whole_and_magnitudes_are_drawn_alike() -> None:
    source = random.Random(1)
    assert {Range(low=1, high=4).drawn(source) for _ in range(100)} == {"1", "2", "3", "4"}
    logs = [float(Range(low=1e-4, high=1.0, log=True).drawn(source)) for _ in range(2000)]
    assert statistics.median(logs) == pytest.approx(1e-2, rel=0.3)


def test_more_draws_continue_fewer() -> None:
    space = space_of({"a": ("{low: 0, high: 100}",), "b": ("x", "y")})
    assert drawn(space, 10)[:5] == drawn(space, 5)
    (stage,) = stages_of(GRID, None, 6)
    assert len(stage.values) == 6
    assert {each["train.loss"] for each in stage.values} == {"ce", "dice"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{low: 2, high: 1}", "is no range; expected numbers low below high"),
        ("{low: 0, high: 1, log: true}", "above 0 where log is true"),
        ("{low: a, high: b}", "is no range"),
    ],
)
def test_a_range_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        space_of({"a": (text,)})


def test_a_range_is_for_draws_and_a_list_for_combinations() -> None:
    with pytest.raises(OptionError, match=r"draw from it with random= or optuna=, or list its values"):
        stages_of(GRID, None, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optuna": 3}, "there is nothing to search; say what varies with grid="),
        ({"optuna": 3, "grid": GRID, "random": 2}, "optuna= and random= are two ways"),
        ({"optuna": 3, "grid": GRID, "halving": 2}, "optuna= and halving= are two ways"),
        ({"prune": True}, "prune=True is for a search with optuna=; leave it out"),
        ({"workers": 2, "scheduler": "tcp://localhost:1"}, "leave one out"),
        ({"optuna": 3, "grid": ["train.epochs={low: -1, high: 3}"]}, "train.epochs: "),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    toy: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    from geoseg.errors import GeosegError

    with pytest.raises(GeosegError, match=said):
        run_sweep(Base(source=toy), tmp_path / "sweep", SweepOptions(**options), None)
    assert not (tmp_path / "sweep").exists()


class Scored:
    """Trials without a training: the score of a configuration is a function of its values."""

    def __init__(self) -> None:
        self.goal = "max"
        self.asked: list[dict[str, str]] = []
        self.ran: list[str] = []
        self._scores: dict[str, float] = {}
        self.roster = SimpleNamespace(record=self, candidates=self._candidates)
        self.results = SimpleNamespace(
            score=self._scores.get, standing=lambda name: SimpleNamespace(status="finished")
        )

    def _candidates(self, stage: str, wanted: Sequence[Mapping[str, str]], texts: object) -> list[Any]:
        found = []
        for values in wanted:
            self.asked.append(dict(values))
            rate = yaml.safe_load(values["train.learning_rate"])
            name = f"{values}"
            self._scores[name] = -((rate - 0.01) ** 2) + (values["train.loss"] == "dice")
            found.append(SimpleNamespace(values=values, trials=(SimpleNamespace(name=name),)))
        return found

    def plan(self, candidates: object) -> None: ...

    def finish(self, candidates: Sequence[Any], judge: object = None) -> bool:
        self.ran += [trial.name for each in candidates for trial in each.trials]
        return True


def proposals(count: int, at_once: int = 1) -> list[dict[str, str]]:
    work: Any = Scored()
    assert searched(work, Search.of(GRID, count, at_once, prune=False))
    return list(work.asked)


def test_a_search_is_replayed_and_goes_on() -> None:
    first = proposals(12)
    assert len(first) == 12
    assert proposals(12) == first
    assert proposals(18)[:12] == first
    assert all(1e-4 <= float(each["train.learning_rate"]) <= 0.1 for each in first)
    assert len(proposals(7, at_once=3)) == 7


def test_a_search_learns() -> None:
    """Of the last ones more have the loss that scores a whole point better."""
    found = proposals(30)
    assert sum(each["train.loss"] == "dice" for each in found[15:]) > 10
