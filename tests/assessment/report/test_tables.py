"""Numbers as people read them."""

from __future__ import annotations

import pytest

from geoseg.assessment.report.tables import compact, duration, percent, score, totals


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (12_345, "12.3 k"), (676_000, "676 k"), (4_190_000, "4.19 M"),
     (2.5e9, "2.5 G"), (999_999, "1 M")],
)  # fmt: skip
def test_counts(number: float, words: str) -> None:
    assert compact(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
     (368, "6 min 08 s"), (3599.7, "1 h 00 min"),
     (90_061, "25 h 01 min")],
)  # fmt: skip
def test_times(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_scores_and_shares() -> None:
    assert (score(None), score(0.12345), score(1.0)) == ("–", "0.123", "1.000")
    assert [percent(x) for x in (None, 0.0, 0.0004, 0.0005, 0.1234, 1.0)] == [
        "–", "0.0 %", "< 0.1 %", "0.1 %", "12.3 %", "100.0 %",
    ]  # fmt: skip


def test_totals_name_means_over_images_and_means_without_classes() -> None:
    metrics = {
        "loss": 1.5,
        "mean_iou": 0.5,
        "mean_iou_without": None,
        "iou": {"a": 0.5},
        "per_image": {"mean_iou": 0.4, "iou": {"a": 0.4}},
    }
    assert totals(metrics, ["unknown"]) == {
        "Loss": 1.5,
        "Mean IoU": 0.5,
        "Mean IoU without unknown": None,
        "Mean IoU, mean of images": 0.4,
    }
