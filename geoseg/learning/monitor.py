"""Scores of an epoch: as plain values for files, and the one of them that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.errors import ConfigError
from geoseg.learning.scoring import Score
from geoseg.models.card import Card

_OF_ALL = ("mean_iou", "mean_dice", "accuracy", "loss")
_OF_ONE = ("iou", "dice", "precision", "recall")


def class_names(card: Card) -> tuple[str, ...]:
    """Names of the classes that a `Score` speaks of, in its order."""
    codes = (0, 1) if card.task == "binary" else card.channels
    return tuple(card.classes[code].name for code in codes)


def report(score: Score, names: Sequence[str]) -> dict[str, Any]:
    """Scores as JSON: over all classes, and by class name; null where a class does not occur."""
    confusion = score.confusion
    return {
        "loss": _number(score.loss),
        "mean_iou": _number(confusion.mean_iou),
        "mean_dice": _number(confusion.mean_dice),
        "accuracy": _number(confusion.accuracy),
        **{
            kind: {n: _number(v) for n, v in zip(names, getattr(confusion, kind), strict=True)}
            for kind in _OF_ONE
        },
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if value == value else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The score that says which epoch is the best.

    Parameters
    ----------
    name : str
        ``mean_iou``, ``mean_dice``, ``accuracy``, ``loss``, or ``iou/NAME`` and the like of one class.
    """

    name: str

    @classmethod
    def of(cls, name: str, names: Sequence[str]) -> Monitor:
        """Check a name against the classes there are.

        Raises
        ------
        ConfigError
        """
        kind, slash, class_name = name.partition("/")
        if not (name in _OF_ALL or (slash and kind in _OF_ONE and class_name in names)):
            raise ConfigError(
                f"train.monitor is {name!r}, expected {', '.join(_OF_ALL)}, or one of {', '.join(_OF_ONE)} with a "
                f"class, as in iou/{names[-1]}"
            )
        return cls(name=name)

    def value(self, scores: dict[str, Any]) -> float | None:
        """Return the score from a `report`, None where it is no number."""
        kind, slash, class_name = self.name.partition("/")
        found = scores[kind][class_name] if slash else scores[kind]
        return None if found is None else float(found)

    def better(self, new: float | None, old: float | None) -> bool:
        """Whether a score beats another; any beats none."""
        if new is None:
            return False
        return old is None or (new < old if self.name == "loss" else new > old)
