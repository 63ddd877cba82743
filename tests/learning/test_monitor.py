"""The score that decides, by name."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import ConfigError
from geoseg.learning.metrics import Confusion, ImageMeans
from geoseg.learning.monitor import Monitor, ScoredClasses, Standing, beats, report
from geoseg.learning.scoring import Score
from geoseg.models.model import Model

CLASSES = ScoredClasses(names=("water", "land"))


def of_images(*images: list[list[int]], losses: tuple[float, int] = (0.0, 0)) -> Score:
    counts = [Confusion(np.array(image)) for image in images]
    means = [ImageMeans.of(each) for each in counts]
    return Score(confusion=sum(counts[1:], counts[0]), image_means=sum(means[1:], means[0]), losses=losses)


SCORE = of_images([[3, 0], [1, 0]], [[0, 1], [1, 4]], losses=(5.0, 10))


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
        ("per_image/mean_iou", (3 / 4 + 0 + 0 + 4 / 6) / 4),
        ("per_image/mean_dice", (6 / 7 + 0 + 0 + 8 / 10) / 4),
        ("per_image/accuracy", (3 / 4 + 4 / 6) / 2),
        ("per_image/iou/land", (0 + 4 / 6) / 2),
        ("per_image/dice/water", (6 / 7 + 0) / 2),
        ("per_image/precision/water", (3 / 4 + 0) / 2),
        ("per_image/recall/land", (0 + 4 / 5) / 2),
    ],
)
def test_a_name_finds_its_score(name: str, value: float) -> None:
    monitor = Monitor.of(name, CLASSES)
    assert monitor.value(report(SCORE, CLASSES)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", ["mean_iou", "loss"])
def test_the_better_score_counts_and_of_equal_ones_the_lower_loss(name: str) -> None:
    monitor = Monitor(name=name)

    def standing(score: float | None, loss: float) -> Standing | None:
        return monitor.standing({"loss": loss, name: score})

    good, bad = (0.1, 0.2) if name == "loss" else (0.2, 0.1)
    assert beats(standing(good, good), standing(bad, bad))
    assert not beats(standing(bad, bad), standing(good, good))
    assert not beats(standing(bad, bad), standing(bad, bad))
    assert beats(standing(bad, bad), None)
    assert not beats(standing(None, 0.1), standing(bad, bad))
    if name != "loss":
        assert beats(standing(bad, 0.3), standing(bad, 0.4))
        assert not beats(standing(bad, 0.4), standing(bad, 0.3))
        assert not beats(standing(bad, 0.1), standing(good, 0.9))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("mean_iou", True),
        ("mean_dice_without", True),
        ("iou/water", True),
        ("dice/water", True),
        ("accuracy", False),
        ("precision/water", False),
        ("per_image/mean_dice_without", False),
    ],
)
def test_from_an_iou_or_dice_of_099_on_the_loss_counts(name: str, full: bool) -> None:
    def standing(score: float, loss: float) -> Standing | None:
        scores: dict[str, object] = {"mean_iou": score, "mean_dice_without": score, "accuracy": score}
        scores |= {kind: {"water": score} for kind in ("iou", "dice", "precision")}
        return Monitor(name=name).standing({**scores, "loss": loss, "per_image": scores})

    assert beats(standing(0.996, 0.1), standing(0.999, 0.2)) == full
    assert beats(standing(0.98, 0.2), standing(0.97, 0.1))
    assert beats(standing(0.99, 0.2), standing(0.98, 0.1))


@pytest.mark.parametrize(
    "name",
    [
        "iou", "iou/sea", "miou", "loss/water", "accuracy/water", "per_image", "per_image/loss", "per_image/iou",
        "per_image/per_image/mean_iou", "mean_iou_without", "mean_iou/water", "",
    ],
)  # fmt: skip
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="expected mean_iou, .*iou/land.*per_image/"):
        Monitor.of(name, CLASSES)


def test_a_second_mean_is_without_some_classes() -> None:
    classes = ScoredClasses(names=("water", "land", "unknown"), without=("unknown",))
    score = of_images([[5, 1, 4], [0, 3, 0], [2, 0, 9]], [[2, 0, 0], [0, 0, 0], [3, 0, 0]])
    found = report(score, classes)
    iou = found["iou"]
    assert found["mean_iou"] == pytest.approx((iou["water"] + iou["land"] + iou["unknown"]) / 3, abs=1e-6)
    assert found["mean_iou_without"] == pytest.approx((iou["water"] + iou["land"]) / 2, abs=1e-6)
    each = found["per_image"]
    assert each["dice"]["land"] == pytest.approx((6 / 7 + 1) / 2, abs=1e-6)
    assert each["mean_dice_without"] == pytest.approx((10 / 17 + 6 / 7 + 4 / 7 + 1) / 4, abs=1e-6)
    for name in ("mean_iou_without", "per_image/mean_dice_without"):
        assert Monitor.of(name, classes).value(found) is not None
    with pytest.raises(ConfigError, match="expected mean_iou, mean_dice, mean_iou_without, "):
        Monitor.of("miou", classes)


@pytest.mark.parametrize(
    ("without", "said"), [(["sea"], "'sea', no class"), (["water", "town", "forest"], "every class")]
)
def test_only_some_classes_can_be_left_out(without: list[str], said: str, model: Model) -> None:
    with pytest.raises(ConfigError, match=f"{said}.*expected some of water, forest, town"):
        ScoredClasses.of(model.card, without)
    assert ScoredClasses.of(model.card, ["town"]).within == (0, 1)


def test_a_class_that_does_not_occur_has_no_score() -> None:
    score = of_images([[3, 0], [0, 0]])
    found = report(score, CLASSES)
    assert found["iou"] == {"water": 1.0, "land": None}
    assert found["loss"] is None
    assert found["per_image"]["iou"] == {"water": 1.0, "land": 1.0}
    assert Monitor.of("iou/land", CLASSES).value(found) is None
