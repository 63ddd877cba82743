"""Scores of an epoch as plain values, and the monitored score that chooses the best epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from geoseg.errors import ConfigError
from geoseg.learning.metrics import KINDS, Confusion, ImageMeans, Kind
from geoseg.learning.scoring import Score
from geoseg.models.card import Card

_MEANS: Final[tuple[Kind, ...]] = ("iou", "dice")
Standing = tuple[float, float]
"""Rank of an epoch: score and negative loss, larger is better."""
_FULL: Final = 0.99
"""IoU or Dice above which epochs count as equal, because labels themselves are seldom more exact (Foody 2010,
doi:10.1016/j.rse.2010.05.003): a few polygons are found whole by many epochs, and their last pixels are chance."""
PER_IMAGE: Final = "per_image"
"""Key of the means over images in a `report`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClasses:
    """The classes of a `Score`.

    Parameters
    ----------
    names : tuple of str
        Names of the classes in the score's order.
    without : tuple of str
        Classes excluded from a second mean.
    """

    names: tuple[str, ...]
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, card: Card, without: Sequence[str] = ()) -> ScoredClasses:
        """Return the classes of a card; for a binary task the background and the class.

        Raises
        ------
        ConfigError
            If `without` names other classes, or all of them.
        """
        names = tuple(card.classes[code].name for code in card.scored)
        strange = [name for name in without if name not in names]
        if strange or set(without) == set(names):
            found = f"{strange[0]!r}, no class of the data" if strange else "every class"
            raise ConfigError(f"train.score_without names {found}; expected some of {', '.join(names)}")
        return cls(names=names, without=tuple(without))

    @property
    def within(self) -> tuple[int, ...]:
        """Indices of the classes that are not excluded."""
        return tuple(i for i, name in enumerate(self.names) if name not in self.without)

    @property
    def of_all(self) -> tuple[str, ...]:
        """Names of the scores over several classes."""
        means = [f"mean_{kind}" for kind in _MEANS]
        return (*means, *(f"{mean}_without" for mean in means if self.without), "accuracy")


def report(score: Score, classes: ScoredClasses) -> dict[str, Any]:
    """Return scores as JSON values: over all classes, and by class name; null for classes that do not occur.

    Scores of the summed counts come first; ``per_image`` holds the means over images.
    """
    return {
        "loss": _number(score.loss),
        **report_counts(score.confusion, classes),
        PER_IMAGE: report_counts(score.image_means, classes),
    }


def report_counts(scores: Confusion | ImageMeans, classes: ScoredClasses) -> dict[str, Any]:
    """Return scores of counted pixels, or means over images, as `report` does: no loss is known of them."""
    means = {f"mean_{kind}": _number(scores.mean(kind)) for kind in _MEANS}
    if classes.without:
        means |= {f"mean_{kind}_without": _number(scores.mean(kind, classes.within)) for kind in _MEANS}
    return {
        **means,
        "accuracy": _number(scores.accuracy),
        **{
            kind: {n: _number(v) for n, v in zip(classes.names, scores.each(kind), strict=True)}
            for kind in KINDS
        },
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if value == value else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The score that determines the best epoch.

    Parameters
    ----------
    name : str
        Path of the score in a `report`: ``mean_iou``, ``mean_dice``, ``accuracy``, ``loss``, or ``iou/NAME`` and
        the like for one class; with the prefix ``per_image/`` the mean over images.
    """

    name: str

    @classmethod
    def of(cls, name: str, classes: ScoredClasses) -> Monitor:
        """Return a monitor, checking its name against the classes.

        Raises
        ------
        ConfigError
        """
        kind, slash, class_name = name.removeprefix(f"{PER_IMAGE}/").partition("/")
        known = class_name in classes.names if slash else name == "loss" or kind in classes.of_all
        if not (known and (kind in KINDS or not slash)):
            raise ConfigError(
                f"train.monitor is {name!r}, expected {', '.join((*classes.of_all, 'loss'))}, or one of "
                f"{', '.join(KINDS)} with a class, as in iou/{classes.names[-1]}; with {PER_IMAGE}/ before it "
                "the mean over images"
            )
        return cls(name=name)

    def standing(self, scores: dict[str, Any]) -> Standing | None:
        """Return the rank of an epoch from its `report`; None if the score is not a number.

        The larger of two is better: by the score, and for equal scores by the lower loss. IoU and Dice of the summed
        pixels are equal from 0.99 on; of other scores that much may come from common classes, or from empty images.
        """
        found = self.value(scores)
        if found is None:
            return None
        if self.name == "loss":
            found = -found
        elif self.name.partition("/")[0].removesuffix("_without").removeprefix("mean_") in _MEANS:
            found = min(found, _FULL)
        loss = scores["loss"]
        return found, (-math.inf if loss is None else -loss)

    def value(self, scores: dict[str, Any]) -> float | None:
        """Return the score from a `report`; None if it is not a number."""
        name = self.name
        if name.startswith(f"{PER_IMAGE}/"):
            scores, name = scores[PER_IMAGE], name.removeprefix(f"{PER_IMAGE}/")
        kind, slash, class_name = name.partition("/")
        found = scores[kind][class_name] if slash else scores[kind]
        return None if found is None else float(found)


def beats(new: Standing | None, old: Standing | None) -> bool:
    """Return whether an epoch is better than another; any rank is better than None."""
    return new is not None and (old is None or new > old)
