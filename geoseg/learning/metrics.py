"""Scores of maps from summed pixel counts, divided once at the end; or per image, then averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

Kind = Literal["iou", "dice", "precision", "recall"]
KINDS: Final[tuple[Kind, ...]] = ("iou", "dice", "precision", "recall")
"""Scores of each class."""


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Pixels counted by (reference class, predicted class).

    Law: counts of parts add up to the counts of the whole, so scores do not depend on how images were cut,
    unlike means of scores.

    Parameters
    ----------
    counts : int64, (class, class); or (class, 2, 2) where classes may overlap
        Row: reference; column: prediction. Of overlapping classes: absent and present, class by class.
    """

    counts: Counts

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """Return counts of zero pixels."""
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
        classes : int
            Number of classes.
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
        """Add the counts of another part."""
        return Confusion(self.counts + other.counts)

    @property
    def hits(self) -> Counts:
        """Correctly predicted pixels of each class."""
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
    def counted(self) -> Counts:
        """Labelled pixels, for each class."""
        totals = self.counts.sum(axis=(-2, -1))
        return np.broadcast_to(totals, self.hits.shape)

    @property
    def iou(self) -> Numbers:
        """Intersection over union of each class; NaN for a class in neither reference nor prediction."""
        return self.each("iou")

    @property
    def dice(self) -> Numbers:
        """Dice coefficient (F1) of each class; NaN for a class in neither reference nor prediction."""
        return self.each("dice")

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN if none does."""
        return self.mean("iou")

    @property
    def mean_dice(self) -> float:
        """Mean of `dice` over the classes that occur; NaN if none does."""
        return self.mean("dice")

    @property
    def recall(self) -> Numbers:
        """Share of each reference class that was found (producer's accuracy)."""
        return self.each("recall")

    @property
    def precision(self) -> Numbers:
        """Share of each predicted class that is correct (user's accuracy)."""
        return self.each("precision")

    def each(self, kind: Kind) -> Numbers:
        """Return a score of each class, NaN where it would be 0 / 0."""
        hits, predicted, referenced = self.hits, self.predicted, self.referenced
        if kind == "iou":
            return _ratio(hits, predicted + referenced - hits)
        if kind == "dice":
            return _ratio(2 * hits, predicted + referenced)
        return _ratio(hits, predicted if kind == "precision" else referenced)

    def mean(self, kind: Kind, classes: Sequence[int] | None = None) -> float:
        """Return the mean of a score over the classes (or the given ones) that have one."""
        numbers = self.each(kind)
        return _mean(numbers if classes is None else numbers[list(classes)])

    @property
    def accuracy(self) -> float:
        """Share of labelled pixels (and classes, if they may overlap) that is correct; NaN if there are none."""
        total = int(self.counts.sum())
        right = int(np.trace(self.counts, axis1=-2, axis2=-1).sum())
        return right / total if total else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class ImageMeans:
    """Sums of per-image scores: each image counts equally, however large its classes are.

    A class in neither reference nor prediction of an image scores 1 there, as in Kaggle's cloud competition;
    a class in only one of the two scores 0, also in precision and recall. An image of which
    no pixel is labelled (for overlapping classes: none for the class) does not count.

    Laws: sums of subsets of images add up to those of all; for one image the scores are its own, with
    1 instead of NaN.

    Parameters
    ----------
    sums : float64, (kind, class)
        Sums over the images, in the order of `KINDS`.
    images : int64, (class,)
        Number of images that count, for each class.
    accuracies : float64, (2,)
        Sum of the images' accuracies, and number of the images that have one.
    """

    sums: Numbers
    images: Counts
    accuracies: Numbers

    @classmethod
    def of(cls, image: Confusion) -> ImageMeans:
        """Return the scores of one whole image, given its counts."""
        counted = image.counted > 0
        empty = (image.predicted + image.referenced) == 0
        scores = np.stack([np.where(empty, 1.0, np.nan_to_num(image.each(kind))) for kind in KINDS])
        accuracy = image.accuracy
        known = not np.isnan(accuracy)
        return cls(
            sums=np.where(counted, scores, 0.0),
            images=counted.astype(np.int64),
            accuracies=np.array([accuracy if known else 0.0, float(known)]),
        )

    def __add__(self, other: ImageMeans) -> ImageMeans:
        """Add the scores of other images."""
        return ImageMeans(
            sums=self.sums + other.sums,
            images=self.images + other.images,
            accuracies=self.accuracies + other.accuracies,
        )

    def each(self, kind: Kind) -> Numbers:
        """Return the mean over the images of a score of each class; NaN if there is no image."""
        return _ratio(self.sums[KINDS.index(kind)], self.images)

    def mean(self, kind: Kind, classes: Sequence[int] | None = None) -> float:
        """Return the mean of a score over all pairs of an image and a class (or one of the given classes)."""
        chosen = slice(None) if classes is None else list(classes)
        pairs = int(self.images[chosen].sum())
        return float(self.sums[KINDS.index(kind)][chosen].sum() / pairs) if pairs else float("nan")

    @property
    def accuracy(self) -> float:
        """Mean of the images' accuracies; NaN if there is no image."""
        total, images = self.accuracies
        return float(total / images) if images else float("nan")


def _ratio(part: Counts | Numbers, whole: Counts) -> Numbers:
    """Divide elementwise; 0 / 0 is NaN, without a warning."""
    result = np.full(len(part), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _mean(numbers: Numbers) -> float:
    """Return the mean of the finite values, NaN if there are none."""
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")
