"""Scores of a map against its reference, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.evaluation.blocks import Counts, Numbers, intervals
from geoseg.assessment.evaluation.counted import Counted
from geoseg.assessment.evaluation.objects import THRESHOLDS, Objects
from geoseg.grid.html import html_table
from geoseg.grid.legend import Legend
from geoseg.learning.metrics import KINDS, Confusion
from geoseg.learning.reliability import Reliability

if TYPE_CHECKING:
    import pandas as pd

_BOUNDARY: Final = "boundary_iou"
SCORES: Final = (*KINDS, _BOUNDARY)
"""Scores of each class; ``dice`` is the F1 score."""
TOTALS: Final = ("accuracy", "mean_iou", "mean_dice", "mean_boundary_iou")
"""Scores of the map; means are over the classes that occur."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stress:
    """Scores of what a model makes of a changed scene.

    Parameters
    ----------
    change : str
        What was changed, for people.
    confusion : Confusion
        Pixels by (reference, map).
    """

    change: str
    confusion: Confusion


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """How good a class map is.

    Parameters
    ----------
    names : tuple of str
        The maps.
    legend : Legend
        Their classes.
    layered : bool
        Whether classes may overlap, as in a multilabel map.
    counted : tuple of Counted
        One, with all classes; of a multilabel map one for each class, whose classes are absent and present.
    distance : int
        Distance from a boundary within which pixels count for the boundary IoU, px.
    drawn : str
        What the intervals draw anew: ``blocks of 64 px`` or ``maps``.
    unlabelled, unmapped : int
        Pixels of the maps without a label, and labelled pixels where the maps have no data. Of a multilabel map
        summed over its layers.
    stress : tuple of Stress
        The same of a changed scene; empty where that was not asked for.
    """

    names: tuple[str, ...]
    legend: Legend
    layered: bool
    counted: tuple[Counted, ...]
    distance: int
    drawn: str
    unlabelled: int
    unmapped: int
    stress: tuple[Stress, ...] = ()

    @cached_property
    def confusion(self) -> Confusion:
        """Pixels by (reference, map)."""
        totals = [each.blocks.sum(axis=0) for each in self.counted]
        return Confusion(np.stack(totals) if self.layered else totals[0])

    @cached_property
    def pixels(self) -> int:
        """Number of compared pixels; of a multilabel map summed over its layers."""
        return int(self.confusion.counts.sum())

    @cached_property
    def scores(self) -> dict[str, dict[str, float | None]]:
        """Scores of the map by name: ``value``, and ``low`` and ``high``, the ends of the 95 % interval.

        None where a score or an interval cannot be had. Of a multilabel map there are no intervals of means, since
        the layers are counted each by itself.
        """
        if self.layered:
            values = [
                self.confusion.accuracy, self.confusion.mean_iou, self.confusion.mean_dice,
                _mean(np.array([_boundary_iou(each.boundary.sum(axis=0))[1] for each in self.counted])),
            ]  # fmt: skip
            return {name: _scored(value) for name, value in zip(TOTALS, values, strict=True)}
        (counted,) = self.counted
        found = _with_interval(counted.blocks, _totals) + _with_interval(
            counted.boundary, lambda counts: np.array([_mean(_boundary_iou(counts))])
        )
        return dict(zip(TOTALS, found, strict=True))

    @cached_property
    def class_scores(self) -> list[dict[str, dict[str, float | None]]]:
        """Scores of each class, in the legend's order, as in `scores`; their names are `SCORES`."""
        if not self.layered:
            return self._of_counted(self.counted[0])
        return [self._of_counted(each)[1] for each in self.counted]

    @staticmethod
    def _of_counted(counted: Counted) -> list[dict[str, dict[str, float | None]]]:
        classes = counted.blocks.shape[1]
        found = _with_interval(
            counted.blocks, lambda counts: np.concatenate([Confusion(counts).each(kind) for kind in KINDS])
        ) + _with_interval(counted.boundary, _boundary_iou)
        return [dict(zip(SCORES, found[number::classes], strict=True)) for number in range(classes)]

    @cached_property
    def objects(self) -> Objects:
        """Objects of each class, in the legend's order."""
        if not self.layered:
            return self.counted[0].objects
        found = [each.objects for each in self.counted]
        return Objects(
            reference=np.array([each.reference[1] for each in found]),
            mapped=np.array([each.mapped[1] for each in found]),
            matched=np.stack([each.matched[:, 1] for each in found], axis=1),
        )

    @cached_property
    def calibration(self) -> Reliability | None:
        """Pixels by confidence; None where the map has none."""
        found = [each.calibration for each in self.counted if each.calibration is not None]
        return sum(found[1:], found[0]) if found else None

    @property
    def classes(self) -> pd.DataFrame:
        """Scores of each class with their intervals, one row a class."""
        import pandas as pd

        return pd.DataFrame(self._class_rows())

    @property
    def matrix(self) -> pd.DataFrame:
        """Counts of pixels: rows of the reference, columns of the map; of a multilabel map one row a class."""
        import pandas as pd

        names, counts = list(self.legend.names), self.confusion.counts
        if not self.layered:
            return pd.DataFrame(counts, index=pd.Index(names, name="reference"), columns=names)
        columns = ["true_negative", "false_positive", "false_negative", "true_positive"]
        return pd.DataFrame(counts.reshape(-1, 4), index=pd.Index(names, name="class"), columns=columns)

    @property
    def object_curve(self) -> pd.DataFrame:
        """Precision, recall and F1 of the objects of each class at each threshold of the matching."""
        import pandas as pd

        return pd.DataFrame(self._object_rows())

    @property
    def reliability(self) -> pd.DataFrame:
        """Confidence and accuracy by bins of confidence, as `Reliability.bins` has them; empty without confidence."""
        import pandas as pd

        return pd.DataFrame(self.calibration.bins() if self.calibration is not None else [])

    @property
    def stress_table(self) -> pd.DataFrame:
        """Accuracy, mean IoU and its fall under each change of the scene, and the IoU of each class; see `stress`."""
        import pandas as pd

        return pd.DataFrame(self._stress_rows())

    def _stress_rows(self) -> list[dict[str, Any]]:
        whole = self.confusion.mean_iou
        return [
            {
                "change": each.change,
                "accuracy": _finite(each.confusion.accuracy),
                "mean_iou": _finite(each.confusion.mean_iou),
                "difference": _finite(each.confusion.mean_iou - whole),
                **{
                    f"iou of {name}": _finite(value)
                    for name, value in zip(self.legend.names, each.confusion.iou, strict=True)
                },
            }
            for each in self.stress
        ]

    def _class_rows(self) -> list[dict[str, Any]]:
        confusion, objects = self.confusion, self.objects
        rows = []
        for number, (each, scores) in enumerate(zip(self.legend.classes, self.class_scores, strict=True)):
            row: dict[str, Any] = {
                "code": each.code,
                "name": each.name,
                "reference_pixels": int(confusion.referenced[number]),
                "map_pixels": int(confusion.predicted[number]),
            }
            for name, found in scores.items():
                row |= {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
            row |= {
                "reference_objects": int(objects.reference[number]),
                "map_objects": int(objects.mapped[number]),
                "object_precision": _finite(objects.precision[0, number]),
                "object_recall": _finite(objects.recall[0, number]),
                "object_f1": _finite(objects.f1[0, number]),
            }
            rows.append(row)
        return rows

    def _object_rows(self) -> list[dict[str, Any]]:
        objects = self.objects
        return [
            {
                "threshold": threshold,
                "code": each.code,
                "name": each.name,
                "matched": int(objects.matched[step, number]),
                "precision": _finite(objects.precision[step, number]),
                "recall": _finite(objects.recall[step, number]),
                "f1": _finite(objects.f1[step, number]),
            }
            for step, threshold in enumerate(THRESHOLDS)
            for number, each in enumerate(self.legend.classes)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers and text, as ``geoseg evaluate --json`` prints it."""
        calibration = self.calibration
        return {
            "maps": list(self.names),
            "pixels": self.pixels,
            "unlabelled_pixels": self.unlabelled,
            "unmapped_pixels": self.unmapped,
            "scores": self.scores,
            "classes": self._class_rows(),
            "confusion": self.confusion.counts.tolist(),
            "intervals": {"drawn": self.drawn, "level": 0.95},
            "boundary_distance_px": self.distance,
            "objects": self._object_rows(),
            "stress": self._stress_rows(),
            "calibration": None
            if calibration is None
            else {"expected_error": _finite(calibration.expected_error), "bins": calibration.bins()},
        }

    def lines(self) -> Iterator[str]:
        """Yield tables for a terminal, line by line."""
        names = [each.name for each in self.legend.classes]
        width = max(len("class"), *map(len, names))
        yield (
            f"{'class':<{width}} {'IoU':^19} {'precision':>9} {'recall':>7} {'F1':>6} {'boundary':>8} "
            f"{'objects':>7} {'labelled px':>12} {'mapped px':>12}"
        )
        for row in self._class_rows():
            yield (
                f"{row['name']:<{width}} {_ranged(row, 'iou'):^19} {_text(row['precision']):>9} "
                f"{_text(row['recall']):>7} {_text(row['dice']):>6} {_text(row[_BOUNDARY]):>8} "
                f"{_text(row['object_f1']):>7} {row['reference_pixels']:>12,} {row['map_pixels']:>12,}"
            )
        words = {"accuracy": "overall accuracy", "mean_iou": "mean IoU", "mean_dice": "mean F1"}
        for name, said in words.items():
            yield f"{said} {_text(self.scores[name]['value'])}{_interval(self.scores[name])}"
        if self.calibration is not None:
            yield f"expected calibration error {_text(_finite(self.calibration.expected_error))}"
        yield (
            f"{self.pixels:,} pixels compared, {self.unlabelled:,} of the map without a label, "
            f"{self.unmapped:,} labelled where the map has no data"
        )
        yield (
            f"in brackets: 95 % intervals from {self.drawn}"
            if self.scores["accuracy"]["low"] is not None
            else f"no intervals: fewer than 5 {self.drawn} have labels"
        )
        for row in self._stress_rows():
            difference = "" if row["difference"] is None else f" ({row['difference']:+.3f})"
            yield f"{row['change']:<17} mean IoU {_text(row['mean_iou'])}{difference}"

    def _repr_html_(self) -> str:
        """Show the classes as a table in a notebook."""
        heads = ("class", "IoU", "precision", "recall", "F1", "boundary IoU", "object F1")
        rows = [
            (
                row["name"], _ranged(row, "iou"),
                *(_text(row[key]) for key in ("precision", "recall", "dice", _BOUNDARY, "object_f1")),
            )
            for row in self._class_rows()
        ]  # fmt: skip
        return html_table(heads, rows)


def _totals(counts: Counts) -> Numbers:
    confusion = Confusion(counts)
    return np.array([confusion.accuracy, confusion.mean_iou, confusion.mean_dice])


def _boundary_iou(counts: Counts) -> Numbers:
    """Return the boundary IoU of each class; the last row and column are pixels far from a boundary."""
    hits = np.diag(counts)[:-1]
    union = counts.sum(axis=1)[:-1] + counts.sum(axis=0)[:-1] - hits
    result = np.full(len(hits), np.nan)
    np.divide(hits, union, out=result, where=union > 0)
    return result


def _with_interval(blocks: Counts, score: Callable[[Counts], Numbers]) -> list[dict[str, float | None]]:
    values, ends = score(blocks.sum(axis=0)), intervals(blocks, score)
    if ends is None:
        return [_scored(value) for value in values]
    return [_scored(*each) for each in zip(values, *ends, strict=True)]


def _scored(value: float, low: float = np.nan, high: float = np.nan) -> dict[str, float | None]:
    return {"value": _finite(value), "low": _finite(low), "high": _finite(high)}


def _finite(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(numbers: npt.NDArray[np.float64]) -> float:
    known = numbers[np.isfinite(numbers)]
    return float(known.mean()) if len(known) else float("nan")


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(found: dict[str, float | None]) -> str:
    low, high = found["low"], found["high"]
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def _ranged(row: dict[str, Any], name: str) -> str:
    found = {"low": row[f"{name}_low"], "high": row[f"{name}_high"]}
    return f"{_text(row[name])}{_interval(found)}"
