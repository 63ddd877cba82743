"""The score that decides, by name."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import ConfigError
from geoseg.learning.metrics import Confusion
from geoseg.learning.monitor import Monitor, report
from geoseg.learning.scoring import Score

NAMES = ("water", "land")
SCORE = Score(confusion=Confusion(np.array([[3, 1], [2, 4]])), losses=(5.0, 10))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_iou", (3 / 6 + 4 / 7) / 2),
        ("mean_dice", (6 / 9 + 8 / 11) / 2),
        ("accuracy", 0.7),
        ("loss", 0.5),
        ("iou/land", 4 / 7),
        ("dice/water", 6 / 9),
        ("precision/water", 3 / 5),
        ("recall/water", 3 / 4),
    ],
)
def test_a_name_finds_its_score(name: str, value: float) -> None:
    monitor = Monitor.of(name, NAMES)
    assert monitor.value(report(SCORE, NAMES)) == pytest.approx(value, abs=1e-6)
    better, worse = (0.1, 0.2) if name == "loss" else (0.2, 0.1)
    assert monitor.better(better, worse)
    assert not monitor.better(worse, better)
    assert not monitor.better(worse, worse)
    assert monitor.better(worse, None)
    assert not monitor.better(None, worse)


@pytest.mark.parametrize("name", ["iou", "iou/sea", "miou", "loss/water", "accuracy/water"])
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="expected mean_iou, .*iou/land"):
        Monitor.of(name, NAMES)


def test_a_class_that_does_not_occur_has_no_score() -> None:
    score = Score(confusion=Confusion(np.array([[3, 0], [0, 0]])))
    found = report(score, NAMES)
    assert found["iou"] == {"water": 1.0, "land": None}
    assert found["loss"] is None
    assert Monitor.of("iou/land", NAMES).value(found) is None
