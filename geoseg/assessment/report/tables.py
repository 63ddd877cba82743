"""Tables and numbers of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from geoseg.assessment.report.charts import score_name
from geoseg.assessment.report.reading import TrainingRecord
from geoseg.grid.legend import LegendClass
from geoseg.learning.monitor import PER_IMAGE
from geoseg.learning.story import counts_of
from geoseg.models.card import Card

SPLITS: Final = {"train": "Training", "val": "Validation", "test": "Test"}
KINDS: Final = {"iou": "IoU", "dice": "Dice", "precision": "Precision", "recall": "Recall"}
_STEPS: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def classes_of(card: Card) -> tuple[LegendClass, ...]:
    """Return the scored classes, in order."""
    return tuple(card.classes[code] for code in card.scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """A class with its scores and its share of the labelled pixels, by split."""

    name: str
    color: str
    scores: Mapping[str, Mapping[str, float | None]]
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Counts by (reference, prediction), and their shares of the reference class.

    `title` is the class if classes overlap, since each then has its own matrix; else empty.
    """

    title: str
    classes: tuple[tuple[str, str], ...]
    counts: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float | None, ...], ...]


def class_rows(record: TrainingRecord, card: Card) -> list[ClassRow]:
    """Return one row per class."""
    metrics: Mapping[str, Any] = record.training.get("metrics", {})
    shares = {split: _shares(record, split) for split in ("train", *metrics)}
    return [
        ClassRow(
            name=each.name,
            color=each.color,
            scores={
                split: {kind: found[kind].get(each.name) for kind in KINDS}
                for split, found in metrics.items()
            },
            shares={split: found[place] for split, found in shares.items() if found is not None},
        )
        for place, each in enumerate(classes_of(card))
    ]


def _shares(record: TrainingRecord, split: str) -> list[float] | None:
    """Return the share of each class in the labelled pixels of a split, or None if unknown."""
    counts = counts_of(record.story, split)
    if counts is not None:
        labelled = counts.counts.sum(axis=(-2, -1))
        return [float(share) for share in counts.referenced / np.maximum(labelled, 1)]
    pixels = record.training.get("class_pixels")
    # If classes overlap, pixels by class do not give the number of labelled pixels.
    if split != "train" or not pixels or record.config["data"].get("task") == "multilabel":
        return None
    return [pixel / sum(pixels) for pixel in pixels]


def matrices(record: TrainingRecord, card: Card, split: str) -> list[Matrix]:
    """Return the confusion matrix of a split; for overlapping classes one per class, absent and present."""
    counts = counts_of(record.story, split)
    if counts is None:
        return []
    classes = tuple((each.name, each.color) for each in classes_of(card))
    if counts.counts.ndim == 2:
        return [_matrix("", classes, counts.counts)]
    return [
        _matrix(name, (("absent", ""), ("present", color)), layer)
        for (name, color), layer in zip(classes, counts.counts, strict=True)
    ]


def _matrix(title: str, classes: tuple[tuple[str, str], ...], counts: Any) -> Matrix:
    sums = counts.sum(axis=1)
    return Matrix(
        title=title,
        classes=classes,
        counts=tuple(tuple(int(n) for n in row) for row in counts),
        shares=tuple(
            tuple(None if not total else float(n / total) for n in row)
            for row, total in zip(counts, sums, strict=True)
        ),
    )


def totals(metrics: Mapping[str, Any], without: Sequence[str] = ()) -> dict[str, float | None]:
    """Return the scores over all classes by display name; `without`: classes left out of the second mean."""
    found = {}
    for before, scores in (("", metrics), (f"{PER_IMAGE}/", metrics.get(PER_IMAGE, {}))):
        for key, value in scores.items():
            if value is None or isinstance(value, int | float):
                name = key.removesuffix("_without")
                words = (
                    score_name(name) if name == key else f"{score_name(name)} without {', '.join(without)}"
                )
                found[f"{words}, mean of images" if before else words] = value
    return found


def compact(number: float) -> str:
    """Format a count with three digits: 12 345 678 as 12.3 M."""
    for step, unit in _STEPS:
        if number >= 0.9995 * step:  # 999 999 is 1 M
            return f"{number / step:.3g} {unit}"
    return f"{number:g}"


def duration(seconds: float) -> str:
    """Format a duration for people."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def score(value: float | None) -> str:
    """Format a score with three decimals; a dash if there is none."""
    return "–" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Format a share with at least two digits; a small share is never shown as 0 %."""
    if value is None:
        return "–"
    if 0 < value < 0.0005:
        return "< 0.1 %"
    return f"{value:.1%}".replace("%", " %")
