"""Losses written as text: ``bce + dice``, ``0.7*ce + 0.3*lovasz``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import BaseModel, model_validator

from geoseg.datasets.quantities import STRICT, Amount, Positive, Share
from geoseg.grid.legend import Task

NAMES: Final = ("ce", "bce", "dice", "jaccard", "focal", "tversky", "lovasz")
_OPTIONS: Final[Mapping[str, tuple[tuple[str, ...], float]]] = {
    "class_weights": (("ce", "bce", "focal"), 0.0),
    "label_smoothing": (("ce", "bce"), 0.0),
    "focal_gamma": (("focal",), 2.0),
    "tversky_alpha": (("tversky",), 0.3),
    "tversky_beta": (("tversky",), 0.7),
}
"""The terms that each option applies to, and its default."""
_EXAMPLE: Final = "0.7*ce + 0.3*lovasz"
_TERM: Final = re.compile(r"(?:(?P<share>\d+(?:\.\d*)?|\.\d+)\s*\*\s*)?(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a sum of losses.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    share : float
        Factor of the term, above 0.
    """

    name: str
    share: float = 1.0

    def __str__(self) -> str:
        """Format the term so that it can be parsed again."""
        return self.name if self.share == 1 else f"{self.share:f}*{self.name}"


def parse(text: str) -> tuple[Term, ...]:
    """Parse a sum: ``[NUMBER *] NAME`` joined by ``+``, each name at most once.

    Raises
    ------
    ValueError
        If the text is wrong; one line with the part that is wrong and what is known.
    """
    terms: list[Term] = []
    for part in text.split("+"):
        found = _TERM.fullmatch(part.strip())
        if found is None:
            raise ValueError(
                f"{part.strip()!r} is not a loss, expected {', '.join(NAMES)}, or sums as in {_EXAMPLE}"
            )
        term = Term(name=found["name"], share=float(found["share"] or 1))
        if term.name not in NAMES:
            raise ValueError(
                f"no loss is called {term.name!r}, expected {', '.join(NAMES)}, or sums as in {_EXAMPLE}"
            )
        if not 0 < term.share < float("inf"):
            raise ValueError(f"{term.name} is multiplied by {found['share']}, expected a number above 0")
        if term.name in (other.name for other in terms):
            raise ValueError(f"{term.name} stands twice, expected each loss once")
        terms.append(term)
    return tuple(terms)


def default_terms(task: Task) -> str:
    """Return the default loss of a task."""
    return "ce + dice" if task == "multiclass" else "bce + dice"


def check_task(terms: tuple[Term, ...], task: Task) -> None:
    """Raise ValueError for a term that is for another task.

    Raises
    ------
    ValueError
    """
    wrong, right = ("bce", "ce") if task == "multiclass" else ("ce", "bce")
    if any(term.name == wrong for term in terms):
        raise ValueError(f"{wrong} is not for {task} tasks, expected {right} in its place")


class LossConfig(BaseModel):
    """Training losses; text alone is its `terms`.

    Attributes
    ----------
    terms
        Sum of losses such as ``bce + dice`` or ``0.7*ce + 0.3*lovasz``; by default ``ce + dice``, for binary and
        multilabel tasks ``bce + dice``.
    class_weights
        Weights of pixels in ce, bce and focal: one for each class code, or a power p >= 0: a class that covers
        the share f of the training pixels weighs f ** -p, scaled so that the mean pixel weighs 1 (0: all equal).
    label_smoothing
        Share of every label in ce and bce that is spread equally over all classes.
    focal_gamma
        Focusing parameter of focal: how much less well-classified pixels count; 2 by default.
    tversky_alpha, tversky_beta
        Weights of false positives and false negatives in tversky; 0.3 and 0.7 by default.
    """

    model_config = STRICT

    terms: str | None = None
    class_weights: dict[int, Positive] | Amount = 0.0
    label_smoothing: Share = 0.0
    focal_gamma: Amount | None = None
    tversky_alpha: Positive | None = None
    tversky_beta: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | LossConfig):
            raise ValueError(f"expected text such as {_EXAMPLE}, or its keys")
        return {"terms": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _reads(self) -> Self:
        if self.terms is not None:
            parse(self.terms)
        return self

    def settled(self, task: Task) -> LossConfig:
        """Fill in defaults that depend on the task and the terms, and refuse options that do not apply.

        Raises
        ------
        ValueError
            If an option does not apply; one line that begins with the key.
        """
        text = self.terms or default_terms(task)
        terms = parse(text)
        try:
            check_task(terms, task)
        except ValueError as error:
            raise ValueError(f"train.loss: {error}") from None
        names = {term.name for term in terms}
        filled: dict[str, Any] = {"terms": text}
        for key, (users, default) in _OPTIONS.items():
            value = getattr(self, key)
            if names.isdisjoint(users) and value != type(self).model_fields[key].default:
                raise ValueError(
                    f"train.loss.{key} is of {', '.join(users)}, and the loss is {text}; remove one of them"
                )
            if value is None and not names.isdisjoint(users):
                filled[key] = default
        return self.model_copy(update=filled)
