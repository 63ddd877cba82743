"""How good a map is: counts first, one division at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Pixels counted by (reference class, predicted class).

    Law: counts of parts add up to the counts of the whole, so scores never depend on how images were cut,
    which a mean of scores would.

    Parameters
    ----------
    counts : int64, (class, class); or (class, 2, 2) where classes may overlap
        Row: reference; column: prediction. Of overlapping classes: absent and present, class by class.
    """

    counts: Counts

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

    @classmethod
    def of_layers(cls, reference: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]) -> Confusion:
        """Count pixels of overlapping classes.

        Parameters
        ----------
        reference, predicted : integer arrays, (class, row, col)
            1 present, 0 absent; reference negative: not counted.
        """
        layers = [cls.of(r, p, 2).counts for r, p in zip(reference, predicted, strict=True)]
        return cls(np.stack(layers))

    def __add__(self, other: Confusion) -> Confusion:
        """Add the pixels of another part."""
        return Confusion(self.counts + other.counts)

    @property
    def hits(self) -> Counts:
        """Pixels of each class that were found."""
        return self.counts[:, 1, 1] if self.counts.ndim == 3 else np.diag(self.counts)

    @property
    def referenced(self) -> Counts:
        """Pixels of each class in the reference."""
        sums: Counts = self.counts.sum(axis=-1)
        return sums[:, 1] if self.counts.ndim == 3 else sums

    @property
    def predicted(self) -> Counts:
        """Pixels of each class in the prediction."""
        sums: Counts = self.counts.sum(axis=-2)
        return sums[:, 1] if self.counts.ndim == 3 else sums

    @property
    def iou(self) -> Numbers:
        """Intersection over union of each class; NaN for a class in neither reference nor prediction."""
        return _ratio(self.hits, self.predicted + self.referenced - self.hits)

    @property
    def dice(self) -> Numbers:
        """Dice coefficient (F1) of each class; NaN for a class in neither reference nor prediction."""
        return _ratio(2 * self.hits, self.predicted + self.referenced)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN where none does."""
        return _mean(self.iou)

    @property
    def mean_dice(self) -> float:
        """Mean of `dice` over the classes that occur; NaN where none does."""
        return _mean(self.dice)

    @property
    def recall(self) -> Numbers:
        """Share of each reference class that was found (producer's accuracy)."""
        return _ratio(self.hits, self.referenced)

    @property
    def precision(self) -> Numbers:
        """Share of each predicted class that is right (user's accuracy)."""
        return _ratio(self.hits, self.predicted)

    @property
    def accuracy(self) -> float:
        """Share of all counted pixels (and classes, where they may overlap) that is right; NaN without any."""
        total = int(self.counts.sum())
        right = int(np.trace(self.counts, axis1=-2, axis2=-1).sum())
        return right / total if total else float("nan")


def _ratio(part: Counts, whole: Counts) -> Numbers:
    """Divide once; 0 / 0 is NaN, said without a warning."""
    result = np.full(len(part), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _mean(numbers: Numbers) -> float:
    """Mean of those that are numbers."""
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")
