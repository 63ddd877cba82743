"""Tune thresholds and minimum region sizes of each class on the validation images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from geoseg.datasets.dataset import Pair
from geoseg.engine.small_regions import regions
from geoseg.grid.legend import NODATA, THRESHOLD
from geoseg.learning.config import TuneConfig
from geoseg.learning.scoring import Scorer, scored_sizes
from geoseg.models.card import Card

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

_HUNDREDTHS: Final = tuple(step / 100 for step in range(1, 100))
_TWENTIETHS: Final = tuple(step / 20 for step in range(1, 20))
_SIZES: Final = (0, *(step * 10**power // 2 for power in (1, 2, 3, 4, 5) for step in (2, 3, 4, 6, 10, 14)))
"""Sizes in px: 0, then six per power of ten, from 10 to 700 000."""
_ALIKE: Final = 1e-12
"""Tolerance for equal scores, since sums in another order differ by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The best setting of one class, and its effect.

    Parameters
    ----------
    threshold : float
        Probability above which the class is present.
    min_region : int
        Minimum region size in px of the images' own grid; 0 if region sizes were not tuned.
    before, after : float or None
        Score with the defaults and with this setting; None if the class does not occur in the labels.
    """

    threshold: float
    min_region: int
    before: float | None
    after: float | None


def tune(scorer: Scorer, network: nn.Module, pairs: Iterable[Pair], config: TuneConfig) -> tuple[Tuned, ...]:
    """Find the setting of each channel that scores best on some images.

    Every threshold of a fixed grid is tried (0.01 to 0.99; in steps of 0.05 if region sizes are tuned, since each
    needs new regions in every image), and with it every minimum size of another grid. Nothing of an image is kept but
    counts by threshold and size: without region sizes images are processed in strips, with them one is in memory at a
    time, at two bytes per pixel and class.

    Laws: no setting of the grid scores better; the defaults are on it, so a tuned class is never worse on
    these images than an untuned one; among settings with equal scores the one nearest to the defaults is taken,
    by threshold first; classes are independent. A class that is not in the labels keeps the defaults, since
    never predicting it would score best.

    Parameters
    ----------
    scorer : Scorer
        How images are scored.
    network : nn.Module
        Network of a binary or multilabel task.
    pairs : iterable of Pair
        Images and labels.
    config : TuneConfig
        Which score is maximised.

    Returns
    -------
    tuple of Tuned
        One per network channel.
    """
    thresholds, sizes = (_TWENTIETHS, _SIZES) if config.regions else (_HUNDREDTHS, _SIZES[:1])
    count = _with_regions if config.regions else _in_strips
    parts = (count(scorer, network, pair, thresholds) for pair in pairs)
    summed = next(parts)
    each, images = summed.of_one_image(config.metric)
    for part in parts:
        scores, counted = part.of_one_image(config.metric)
        summed, each, images = summed + part, each + scores, images + counted
    if config.reduction == "dataset":
        table = summed.scores(config.metric)
    else:
        table = each / np.maximum(images, 1)[:, None, None]
    return tuple(
        _best(scores, thresholds, sizes, known=bool(referenced))
        for scores, referenced in zip(table, summed.referenced, strict=True)
    )


def decided_by(card: Card, tuned: Sequence[Tuned], config: TuneConfig) -> Card:
    """Return a card with the tuned settings, and in `training` how they were found and what they changed."""
    names = [card.classes[code].name for code in card.channels]
    found = {
        name: {
            "threshold": each.threshold, "min_region": each.min_region,
            "before": each.before, "after": each.after,
        }
        for name, each in zip(names, tuned, strict=True)
    }  # fmt: skip
    return card.changed(
        thresholds=[each.threshold for each in tuned],
        min_regions=[each.min_region for each in tuned] if config.regions else None,
        training={**(card.training or {}), "tuned": {**config.model_dump(), "classes": found}},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """Pixel counts of images by class, threshold and minimum region size: (class, threshold, size), or (class,)."""

    hits: Counts
    predicted: Counts
    referenced: Counts
    counted: Counts

    def __add__(self, other: _Counts) -> _Counts:
        """Add the counts of other images."""
        return _Counts(
            self.hits + other.hits,
            self.predicted + other.predicted,
            self.referenced + other.referenced,
            self.counted + other.counted,
        )

    def scores(self, metric: Literal["dice", "iou"]) -> Numbers:
        """Return the score of each setting; 1 if a class is neither referenced nor predicted."""
        both = self.predicted + self.referenced[:, None, None]
        part, whole = (2 * self.hits, both) if metric == "dice" else (self.hits, both - self.hits)
        scores = np.ones(part.shape)
        np.divide(part, whole, out=scores, where=whole > 0)
        return scores

    def of_one_image(self, metric: Literal["dice", "iou"]) -> tuple[Numbers, Counts]:
        """Return the score of each setting, 0 for classes without labelled pixels, and which classes have some."""
        known = self.counted > 0
        return np.where(known[:, None, None], self.scores(metric), 0.0), known.astype(np.int64)


def _in_strips(scorer: Scorer, network: nn.Module, pair: Pair, thresholds: Sequence[float]) -> _Counts:
    """Count the pixels of an image above each threshold, strip by strip, from their histogram."""
    steps, classes = len(thresholds) + 1, pair.channels.count
    histogram: Counts = np.zeros((classes, 2, steps), dtype=np.int64)
    for result, mask in scorer.strips(network, pair, probabilities=True):
        assert result.probabilities is not None
        places = _places(result.probabilities, thresholds)
        truth = torch.from_numpy(mask.reshape(places.shape)).to(places.device)
        offset = torch.arange(classes, device=places.device).view(-1, 1, 1)
        keys = (offset * 2 + truth) * steps + places
        found = torch.bincount(keys[truth >= 0], minlength=histogram.size)
        histogram += found.cpu().numpy().reshape(histogram.shape)
    above = np.flip(np.flip(histogram, -1).cumsum(axis=-1), -1)[..., 1:, None]
    referenced = histogram[:, 1].sum(axis=-1)
    return _Counts(above[:, 1], above.sum(axis=1), referenced, histogram.sum(axis=(1, 2)))


def _places(probabilities: torch.Tensor, thresholds: Sequence[float]) -> torch.Tensor:
    """Return how many thresholds each probability is above, compared as the engine does."""
    grid = torch.tensor(thresholds, dtype=torch.float32, device=probabilities.device)
    return torch.bucketize(probabilities.contiguous(), grid, out_int32=True)


def _with_regions(scorer: Scorer, network: nn.Module, pair: Pair, thresholds: Sequence[float]) -> _Counts:
    """Count the pixels of an image in regions of each size above each threshold; the image is in memory."""
    shape = (pair.channels.count, -1, pair.grid.width)
    strips = []
    for result, mask in scorer.strips(network, pair, everywhere=True, probabilities=True):
        assert result.probabilities is not None
        places = _places(result.probabilities, thresholds).to(torch.uint8).cpu().numpy()
        places[result.codes.reshape(shape) == NODATA] = 0
        strips.append((places, mask.reshape(shape).astype(np.int8)))
    places, truth = (np.concatenate(parts, axis=1) for parts in zip(*strips, strict=True))
    truth = np.where(truth < 0, 0, truth + 1).astype(np.int8)
    sizes = np.array(scored_sizes(pair, _SIZES))
    hits, predicted = np.zeros((2, len(places), len(thresholds), len(sizes)), dtype=np.int64)
    for index, (layer, labels) in enumerate(zip(places, truth, strict=True)):
        for step in range(int(layer.max())):
            hits[index, step], predicted[index, step] = _by_size(layer > step, labels, sizes)
    return _Counts(hits, predicted, (truth == 2).sum(axis=(1, 2)), (truth > 0).sum(axis=(1, 2)))


def _by_size(layer: npt.NDArray[np.bool_], labels: npt.NDArray[np.int8], sizes: Counts) -> Counts:
    """Return hits and predicted labelled pixels, (2, size), of the regions of at least each size.

    Labels: 0 without label, 1 where the class is absent, 2 where it is present.
    """
    numbers, extents = regions(layer)
    # One pass over the image; the rest works on regions.
    found = np.bincount((numbers * 3 + labels).ravel(), minlength=3 * len(extents)).reshape(-1, 3)[1:]
    # A region is kept for all minimum sizes up to its own; this is their number.
    kept = np.searchsorted(sizes, extents[1:], side="right")
    by_size = np.zeros((len(sizes) + 1, 2), dtype=np.int64)
    np.add.at(by_size, kept, np.stack([found[:, 2], found[:, 1] + found[:, 2]], axis=1))
    above: Counts = np.flip(np.flip(by_size, 0).cumsum(axis=0), 0)[1:].T
    return above


def _best(scores: Numbers, thresholds: Sequence[float], sizes: Sequence[int], *, known: bool) -> Tuned:
    """Choose the best (threshold, size), the nearest to the defaults among equal scores."""
    middle = thresholds.index(THRESHOLD)
    if not known:
        return Tuned(threshold=THRESHOLD, min_region=sizes[0], before=None, after=None)
    alike = np.argwhere(scores >= scores.max() - _ALIKE)
    step, size = min(alike.tolist(), key=lambda place: (abs(place[0] - middle), place[1]))
    return Tuned(
        threshold=thresholds[step],
        min_region=sizes[size],
        before=float(scores[middle, 0]),
        after=float(scores[step, size]),
    )
