"""Ranges of numbers in place of lists of values, for searches that draw."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from geoseg.errors import Message, OptionError
from geoseg.experiments.parameters import value_text

_KEYS = {"low", "high", "log"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers between two ends.

    Parameters
    ----------
    low, high : int or float
        The ends; of whole numbers whole numbers are drawn.
    log : bool
        Whether all magnitudes are drawn equally often.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def text(self, number: float) -> str:
        """Return a number that was drawn as YAML, with the digits that matter."""
        return str(round(number)) if self.whole else value_text(float(f"{number:.4g}"))

    def drawn(self, source: random.Random) -> str:
        """Return a number at random."""
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        number = source.uniform(*ends)
        return self.text(math.exp(number) if self.log else number)


Space = Mapping[str, Sequence[str] | Range]
"""Values, or a range, by path."""


def space_of(grid: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str] | Range]:
    """Return a grid in which ``{low: 1.0e-4, high: 1.0e-2, log: true}`` as the only value of a path is a range.

    Parameters
    ----------
    grid : mapping of str to sequence of str
        YAML texts by path.

    Raises
    ------
    OptionError
        If the ends of a range make none.
    """
    return {path: _range(path, texts) or texts for path, texts in grid.items()}


def refuse_ranges(grid: Mapping[str, Sequence[str]]) -> None:
    """Raise OptionError for a range where every combination is to be trained."""
    for path, found in space_of(grid).items():
        if isinstance(found, Range):
            raise OptionError(
                f"{path} is a range, of which there are no combinations",
                Message("draw from it with {random} or {optuna}, or list its values"),
            )


def _range(path: str, texts: Sequence[str]) -> Range | None:
    """Return the range that a path has, None where it has values."""
    value = yaml.safe_load(texts[0])
    if len(texts) != 1 or not isinstance(value, Mapping) or not {"low", "high"} <= set(value) <= _KEYS:
        return None
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (low, high))
    if not numbers or not isinstance(log, bool) or not low < high or (log and low <= 0):
        raise OptionError(
            f"{path}: {texts[0]} is no range; expected numbers low below high, above 0 where log is true"
        )
    return Range(low=low, high=high, log=log)


def drawn(space: Space, count: int) -> list[dict[str, str]]:
    """Return configurations drawn at random, the same ones in every call, of which more continue fewer.

    Parameters
    ----------
    space : mapping
        Values, or a range, by path.
    count : int
        Number of draws; equal ones count once.
    """
    source = random.Random(0)  # noqa: S311 - no secret
    found = [
        {
            path: each.drawn(source) if isinstance(each, Range) else source.choice(list(each))
            for path, each in space.items()
        }
        for _ in range(count)
    ]
    return [each for place, each in enumerate(found) if each not in found[:place]]
