"""Accuracy of a class map against a reference map, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError, plural
from geoseg.grid.legend import Legend
from geoseg.learning.metrics import Confusion
from geoseg.raster.classmap import ClassMap

_UNKNOWN = -1
"""Class index of codes that the legend does not have."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accuracy:
    """Pixels of a class map counted against a reference.

    Laws: the accuracy of two maps together is the sum of both, so scores do not depend on how a map was
    cut. Pixels that are no data in either map, or whose reference code the legend does not have (unlabelled),
    count only in `excluded`.

    Parameters
    ----------
    legend : Legend
        The classes, in the order of the confusion matrix.
    confusion : Confusion
        Counts by (reference, map).
    excluded : int
        Number of pixels that were not compared.
    """

    legend: Legend
    confusion: Confusion
    excluded: int

    def __add__(self, other: Accuracy) -> Accuracy:
        """Add the pixels of another map with the same classes."""
        if other.legend.codes != self.legend.codes:
            raise ClassMapError(
                f"accuracies of classes {', '.join(map(str, self.legend.codes))} and "
                f"{', '.join(map(str, other.legend.codes))} cannot be added; assess both with one legend"
            )
        return Accuracy(
            legend=self.legend,
            confusion=self.confusion + other.confusion,
            excluded=self.excluded + other.excluded,
        )

    @property
    def pixels(self) -> int:
        """Number of pixels that were compared."""
        return int(self.confusion.counts.sum())

    @property
    def overall(self) -> float:
        """Share of the compared pixels that agree; NaN if there are none."""
        return self.confusion.accuracy

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union of the classes that occur; NaN if none does."""
        return self.confusion.mean_iou

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per class, in the legend's order.

        Returns
        -------
        list of dict
            ``code``, ``name``, ``iou``, ``recall`` (producer's accuracy) and ``precision`` (user's accuracy),
            0 to 1 or NaN where the class does not occur, and ``reference_pixels`` and ``map_pixels``.
        """
        scores = self.confusion
        return [
            {
                "code": c.code,
                "name": c.name,
                "iou": float(scores.iou[i]),
                "recall": float(scores.recall[i]),
                "precision": float(scores.precision[i]),
                "reference_pixels": int(scores.counts[i].sum()),
                "map_pixels": int(scores.counts[:, i].sum()),
            }
            for i, c in enumerate(self.legend.classes)
        ]

    def lines(self) -> Iterator[str]:
        """Yield a table for people, line by line."""
        width = max(len("class"), *(len(name) for name in self.legend.names))
        yield f"{'class':<{width}}      IoU   recall  precision   labelled px     mapped px"
        for row in self.rows():
            yield (
                f"{row['name']:<{width}} {_percent(row['iou']):>8} {_percent(row['recall']):>8} "
                f"{_percent(row['precision']):>10} {row['reference_pixels']:>13,} {row['map_pixels']:>13,}"
            )
        yield f"overall accuracy {_percent(self.overall)}, mean IoU {_percent(self.mean_iou)}"
        if self.excluded:
            yield f"left out: {plural(self.excluded, 'pixel')} without data or label"


def compare(predicted: ClassMap, reference: ClassMap, *, legend: Legend | None = None) -> Accuracy:
    """Compare a class map with a reference on the same grid.

    Parameters
    ----------
    predicted, reference : ClassMap
        The class map and the reference.
    legend : Legend, optional
        The classes to count; those of `predicted` by default.

    Raises
    ------
    ClassMapError
        If the grids differ, there is no legend, or `predicted` has a code that is not in it.
    """
    _check_grids(predicted, reference)
    legend = legend or predicted.legend
    if legend is None:
        raise ClassMapError("the class map carries no legend; pass one, so that its classes are known")
    found = _indices(predicted.codes, legend)
    strange = predicted.codes[(found == _UNKNOWN) & predicted.valid]
    if strange.size:
        raise ClassMapError(
            f"the class map has code {int(strange[0])}, expected {', '.join(map(str, legend.codes))}; "
            "assess it with its own legend"
        )
    counted = predicted.valid & reference.valid
    truth = np.where(counted, _indices(reference.codes, legend), _UNKNOWN)
    return Accuracy(
        legend=legend,
        confusion=Confusion.of(truth, found, len(legend.codes)),
        excluded=int((truth == _UNKNOWN).sum()),
    )


def _check_grids(predicted: ClassMap, reference: ClassMap) -> None:
    """Raise ClassMapError if the grids of two maps differ."""
    if problem := reference.grid.differs_from(predicted.grid):
        raise ClassMapError(
            f"the reference does not lie on the grid of the class map: {problem}; warp the reference to the map's "
            "grid with gdalwarp -r near"
        )


def _indices(codes: npt.NDArray[np.integer[Any]], legend: Legend) -> npt.NDArray[np.int64]:
    """Return the index of each code in the legend, `_UNKNOWN` if it has none."""
    known = np.asarray(legend.codes, dtype=np.int64)  # ascending, as Legend promises
    wide = codes.astype(np.int64)
    place = np.minimum(np.searchsorted(known, wide), len(known) - 1)
    return np.where(known[place] == wide, place, _UNKNOWN)


def _percent(share: float) -> str:
    """Format a share as a percentage; a dash if it is undefined."""
    return "–" if np.isnan(share) else f"{share:.1%}"
