"""Calibrate a model: give its card the temperature that makes its probabilities say how often it is right.

The temperature divides the logits of each tile, in the network's graph; where tiles overlap, probabilities that are
calibrated are blended. It is fitted to what comes out of the engine, and kept only if the engine does better with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from geoseg.datasets.dataset import Pair
from geoseg.engine.strip_work import StripResult
from geoseg.errors import plural
from geoseg.grid.legend import Task
from geoseg.learning.reliability import Reliability
from geoseg.learning.scoring import Mask, Score, Scorer
from geoseg.learning.temperature import HeldPixels, likelihoods
from geoseg.models.card import SHARPEST, SOFTEST, Calibration, Card

FEWEST: Final = 1000
"""Labelled pixels that a temperature needs at least."""
_LOOKS: Final = 4
"""Most looks at the images: the first one fits, the second one sees what that brings, and mostly nothing is left. Where
probabilities were rounded to 1, or many tiles overlap, what a look fits is refined by the next."""
_ALIKE: Final = 0.02
"""Relative change of a temperature that is not worth another look."""
OnImage = Callable[[int, int], object]
"""Called with (done, total) images, each of which is looked at several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A calibrated model.

    Parameters
    ----------
    card : Card
        The card, with temperature and calibration; the old one if no temperature could be fitted.
    scores : list of Score
        Of each image by that card.
    refusal : str
        Why no temperature could be fitted; empty if one was.
    """

    card: Card
    scores: list[Score]
    refusal: str = ""


def calibrated(
    scorer: Scorer, network: nn.Module, pairs: Sequence[Pair], card: Card, told: OnImage | None = None
) -> Calibrated:
    """Fit a temperature to labelled images.

    Multiclass and binary: one temperature; multilabel: one for each class. Thresholds move with it, so that where one
    tile covers a pixel its class stays.

    Laws: the negative log-likelihood of the labels is never larger than before; the weights are not changed.

    Parameters
    ----------
    scorer : Scorer
        How images are scored; its thresholds, region sizes and temperature are replaced by the card's.
    network : nn.Module
        The network.
    pairs : sequence of Pair
        Images and labels.
    card : Card
        The model's card.
    told : callable, optional
        Told of each image.
    """
    looks: list[_Look] = []
    at = card
    while len(looks) < _LOOKS:
        look = _looked(scorer, network, pairs, at, None if told is None else _counting(told, len(looks)))
        if not looks and (refusal := look.sums.refusal()):
            return Calibrated(card=card, scores=look.scores, refusal=refusal)
        looks.append(look)
        ratios = look.sums.ratios(look.held)
        if len(looks) > 1 and max(abs(math.log(ratio)) for ratio in ratios) < _ALIKE:
            break
        at = _softened(at, ratios)
    before, best = looks[0].sums, min(looks, key=lambda look: look.sums.likelihood)
    found = Calibration(
        pixels=before.count,
        nll_before=before.likelihood,
        nll=best.sums.likelihood,
        ece_before=before.reliability.expected_error,
        ece=best.sums.reliability.expected_error,
    )
    return Calibrated(card=best.card.changed(calibration=found), scores=best.scores)


class _Look(NamedTuple):
    """What is seen of the images with a card."""

    card: Card
    sums: _Sums
    held: HeldPixels
    scores: list[Score]


def _looked(
    scorer: Scorer, network: nn.Module, pairs: Sequence[Pair], card: Card, told: OnImage | None
) -> _Look:
    """Look at all images with a card."""
    look = _Look(card, _Sums.of(card), HeldPixels(card.task), [])
    as_card = scorer.deciding_as(card.changed(min_regions=None))
    for done, pair in enumerate(pairs, start=1):
        look.scores.append(
            as_card.image(network, pair, lambda result, mask: look.sums.add(result, mask, look.held))
        )
        if told is not None:
            told(done, len(pairs))
    return look


def _counting(told: OnImage, before: int) -> OnImage:
    """Return what counts the images of a look after so many others."""
    return lambda done, images: told(before * images + done, max(2, before + 1) * images)


def _softened(card: Card, ratios: Sequence[float]) -> Card:
    """Return a card whose temperature is so many times the old one, with the thresholds of the same logits.

    Beyond what a card may hold nothing is left to soften or to sharpen.
    """
    old = card.divisor if isinstance(card.divisor, tuple) else (card.divisor,) * len(ratios)
    wanted = (each * ratio for each, ratio in zip(old, ratios, strict=True))
    found = [float(f"{min(max(each, SHARPEST), SOFTEST):.6g}") for each in wanted]
    thresholds = card.thresholds and [
        _moved(each, new / before) for each, new, before in zip(card.thresholds, found, old, strict=True)
    ]
    return card.changed(temperature=found if card.task == "multilabel" else found[0], thresholds=thresholds)


def _moved(threshold: float, ratio: float) -> float:
    """Return the probability of a logit that is divided by so much, where it was the threshold."""
    if not 0 < threshold < 1:
        return threshold
    return 0.5 + 0.5 * math.tanh(math.log(threshold / (1 - threshold)) / ratio / 2)


@dataclass(slots=True, kw_only=True, eq=False)
class _Sums:
    """Sums over labelled pixels, of a multilabel task for each channel."""

    task: Task
    pixels: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]
    reliability: Reliability = field(default_factory=Reliability.empty)

    @classmethod
    def of(cls, card: Card) -> _Sums:
        """Return the sums of no pixels."""
        count = len(card.channels) if card.task == "multilabel" else 1
        pixels, wrong = np.zeros((2, count), dtype=np.int64)
        return cls(task=card.task, pixels=pixels, wrong=wrong, losses=np.zeros(count))

    def add(self, result: StripResult, mask: Mask, held: HeldPixels) -> None:
        """Add a strip, and offer its pixels to those that are kept."""
        assert result.probabilities is not None
        shares = result.probabilities.cpu().numpy()
        held.add(shares, mask)
        counted, right = mask >= 0, result.codes == mask
        self.reliability.add(right, counted, result.confidence)
        losses = -np.log(likelihoods(shares, mask, self.task), dtype=np.float64)
        layers = (len(self.pixels), -1)
        self.pixels += counted.reshape(layers).sum(axis=1)
        self.wrong += (counted & ~right).reshape(layers).sum(axis=1)
        self.losses += np.where(counted, losses, 0.0).reshape(layers).sum(axis=1)

    @property
    def count(self) -> int:
        """Number of labelled pixels."""
        return int(self.pixels.sum())

    @property
    def likelihood(self) -> float:
        """Mean negative log-likelihood of the labels."""
        return float(self.losses.sum() / max(self.count, 1))

    @property
    def _enough(self) -> npt.NDArray[np.bool_]:
        """Whether a temperature can be fitted: a network that is always right would be sharpened without end."""
        return np.asarray((self.pixels >= FEWEST) & (self.wrong > 0))

    def refusal(self) -> str:
        """Return why no temperature can be fitted, or nothing."""
        if self._enough.any():
            return ""
        if self.pixels.max() < FEWEST:
            return f"found {plural(int(self.pixels.max()), 'labelled pixel')}, expected at least {FEWEST}"
        return f"all {plural(self.count, 'labelled pixel')} are mapped right, which says nothing of doubtful ones"

    def ratios(self, held: HeldPixels) -> list[float]:
        """Return what the logits are to be divided by, besides what divides them already."""
        return [
            held.temperature(channel) if enough else 1.0
            for channel, enough in enumerate(self._enough.tolist())
        ]
