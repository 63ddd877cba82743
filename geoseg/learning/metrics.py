"""How good a map is: counts first, one division at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Pixels counted by (reference class, predicted class).

    Law: counts of parts add up to the counts of the whole, so scores never depend on how images were cut,
    which a mean of scores would.

    Parameters
    ----------
    counts : (class, class) int64
        Row: reference; column: prediction.
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """Start with no pixel."""
        return cls(np.zeros((classes, classes), dtype=np.int64))

    @classmethod
    def of(
        cls, reference: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], classes: int
    ) -> Confusion:
        """Count pixels; those whose reference is negative (ignored) do not count.

        Parameters
        ----------
        reference, predicted : integer arrays of one shape
            Class indices 0 to ``classes - 1``.
        """
        counted = reference >= 0
        pairs = reference[counted].astype(np.int64) * classes + predicted[counted]
        counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        return cls(counts.astype(np.int64, copy=False))

    def __add__(self, other: Confusion) -> Confusion:
        """Add the pixels of another part."""
        return Confusion(self.counts + other.counts)

    @property
    def iou(self) -> Numbers:
        """Intersection over union of each class; NaN for a class in neither reference nor prediction."""
        hits = np.diag(self.counts)
        return _ratio(hits, self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN where none does."""
        iou = self.iou[np.isfinite(self.iou)]
        return float(iou.mean()) if iou.size else float("nan")

    @property
    def recall(self) -> Numbers:
        """Share of each reference class that was found (producer's accuracy)."""
        return _ratio(np.diag(self.counts), self.counts.sum(axis=1))

    @property
    def precision(self) -> Numbers:
        """Share of each predicted class that is right (user's accuracy)."""
        return _ratio(np.diag(self.counts), self.counts.sum(axis=0))

    @property
    def accuracy(self) -> float:
        """Share of all pixels that is right; NaN without any."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else float("nan")


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Numbers:
    """Divide once; 0 / 0 is NaN, said without a warning."""
    result = np.full(len(part), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
