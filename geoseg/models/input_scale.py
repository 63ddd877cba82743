"""What was done to stored numbers before a network saw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScale:
    """How stored numbers become the network's input: ``(x * scale - mean) / std``.

    Each has one number, or one for each band. Without `scale`, the value range becomes 0 to 1.
    """

    scale: Sequence[float] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def for_bands(self, count: int) -> tuple[list[float] | None, list[float], list[float]]:
        """Scale (None where the value range becomes 0 to 1), mean and std of each band.

        Raises
        ------
        OptionError
            If there are more or fewer numbers than bands.
        """
        scale = None if self.scale is None else _for_each(self.scale, count, "scale")
        mean = _for_each(self.mean or (0.0,), count, "mean")
        return scale, mean, _for_each(self.std or (1.0,), count, "std")


def _for_each(numbers: Sequence[float], count: int, word: str) -> list[float]:
    if len(numbers) not in (1, count):
        raise OptionError(
            f"--{word} has {len(numbers)} numbers, expected one, or one for each of {count} bands"
        )
    return list(numbers) * (count if len(numbers) == 1 else 1)
