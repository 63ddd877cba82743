"""The page of an evaluation: self-contained HTML in the style of the training report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoseg.assessment.evaluation.objects import THRESHOLDS
from geoseg.assessment.evaluation.result import SCORES, Evaluation
from geoseg.assessment.rendering import rendered
from geoseg.assessment.report.charts import Chart, Line
from geoseg.errors import plural

_TEMPLATE: Final = "evaluation/page.html.j2"
_MOST_CLASSES: Final = 40
"""A confusion matrix of more classes is not shown, since nobody can read it."""


def page_of(found: Evaluation) -> str:
    """Return an evaluation as a page that loads nothing.

    Parameters
    ----------
    found : Evaluation
        The evaluation.
    """
    names = [Path(name).name for name in found.names]
    contents = {
        "title": names[0] if len(names) == 1 else plural(len(names), "map"),
        "names": names,
        "facts": _facts(found),
        "rows": [
            {"color": each.color, **row} for each, row in zip(found.legend.classes, _rows(found), strict=True)
        ],
        "scores": [name.replace("_", " ").replace("iou", "IoU").replace("dice", "F1") for name in SCORES],
        "drawn": found.drawn,
        "intervals": found.scores["accuracy"]["low"] is not None or found.layered,
        "distance": found.distance,
        "matrix": _matrix(found),
        "classes": [(each.name, each.color) for each in found.legend.classes],
        "objects": _objects(found),
        "object_chart": _object_chart(found),
        "reliability": _reliability_chart(found),
        "calibration_error": None if found.calibration is None else f"{found.calibration.expected_error:.3f}",
        "stress": [
            (
                row["change"],
                _text(row["accuracy"]),
                _text(row["mean_iou"]),
                "–" if row["difference"] is None else f"{row['difference']:+.3f}",
            )
            for row in found.stress_table.to_dict("records")
        ],
        "unlabelled": found.unlabelled,
        "unmapped": found.unmapped,
        "pixels": found.pixels,
    }
    return rendered(_TEMPLATE, contents, _FILTERS)


def _facts(found: Evaluation) -> list[tuple[str, str, str]]:
    """Return the key figures at the top: name, value and comment."""
    facts = []
    words = {"accuracy": "Overall accuracy", "mean_iou": "Mean IoU", "mean_dice": "Mean F1"}
    for name, said in words.items():
        score = found.scores[name]
        known = score["low"] is not None and score["high"] is not None
        facts.append(
            (
                said,
                _text(score["value"]),
                f"{score['low']:.3f} to {score['high']:.3f}" if known else "no interval",
            )
        )
    facts.append(
        (
            "Mean boundary IoU",
            _text(found.scores["mean_boundary_iou"]["value"]),
            f"within {found.distance} px",
        )
    )
    if found.calibration is not None:
        facts.append(("Calibration error", f"{found.calibration.expected_error:.3f}", "expected, 15 bins"))
    return facts


def _rows(found: Evaluation) -> list[dict[str, Any]]:
    """Return the cells of each class."""
    confusion = found.confusion
    return [
        {
            "name": each.name,
            "cells": [
                (
                    _text(score["value"]),
                    "" if score["low"] is None else f"{score['low']:.3f} to {score['high']:.3f}",
                )
                for score in scores.values()
            ],
            "reference": f"{int(confusion.referenced[number]):,}",
            "mapped": f"{int(confusion.predicted[number]):,}",
        }
        for number, (each, scores) in enumerate(zip(found.legend.classes, found.class_scores, strict=True))
    ]


def _matrix(found: Evaluation) -> list[list[tuple[float, str, str]]]:
    """Return shade, share of the row and count of each cell; nothing for very many or overlapping classes."""
    counts = found.confusion.counts
    if found.layered or len(counts) > _MOST_CLASSES:
        return []
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, sums, out=np.zeros(counts.shape), where=sums > 0)
    return [
        [(float(share), f"{share:.1f} %", f"{int(count):,}") for share, count in zip(row, line, strict=True)]
        for row, line in zip(shares, counts, strict=True)
    ]


def _objects(found: Evaluation) -> list[tuple[str, ...]]:
    """Return name, colour, numbers and scores of the objects of each class."""
    objects = found.objects
    return [
        (
            each.name, each.color, f"{objects.reference[n]:,}", f"{objects.mapped[n]:,}",
            *(_text(scores[0, n]) for scores in (objects.precision, objects.recall, objects.f1)),
        )
        for n, each in enumerate(found.legend.classes)
    ]  # fmt: skip


def _object_chart(found: Evaluation) -> Chart:
    """Return precision and recall of all objects by the threshold of the matching."""
    objects = found.objects
    matched = objects.matched.sum(axis=1)
    lines = [
        Line(name=name, ink=ink, at=THRESHOLDS, values=[n / total if total else None for n in matched])
        for name, ink, total in (
            ("precision", "val", int(objects.mapped.sum())),
            ("recall", "best", int(objects.reference.sum())),
        )
    ]
    return Chart(
        title="Objects that match", lines=tuple(lines), across="intersection over union above", whole=False
    )


def _reliability_chart(found: Evaluation) -> Chart | None:
    """Return the reliability diagram, or None without confidence."""
    if found.calibration is None:
        return None
    rows = found.calibration.bins()
    at = [row["confidence"] for row in rows]
    lines = (
        Line(name="accuracy", ink="val", at=at, values=[row["accuracy"] for row in rows]),
        Line(name="perfect", ink="train", at=at, values=at),
    )
    return Chart(title="Reliability", lines=lines, across="confidence", whole=False)


def _text(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}"


def _drawn(chart: Chart) -> str:
    """Return a chart as markup."""
    from markupsafe import Markup

    return Markup(chart.svg())  # noqa: S704 - matplotlib and `Chart` escape what is text


_FILTERS: Final[dict[str, Callable[..., str]]] = {"svg": _drawn}
