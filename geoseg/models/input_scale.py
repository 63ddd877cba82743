"""How stored values become the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from geoseg.errors import Message, OptionError, plural

Factors: TypeAlias = float | Sequence[float]
"""One number for all bands, or one for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScale:
    """Normalisation of the network's input: ``(x * scale - mean) / std``.

    Each is one number, or one for each band. Without `scale`, the value range becomes 0 to 1.
    """

    scale: Factors | None = None
    mean: Factors | None = None
    std: Factors | None = None

    def for_bands(self, count: int) -> tuple[list[float] | None, list[float], list[float]]:
        """Return scale (None if the value range is scaled to 0 to 1), mean and std of each band.

        Raises
        ------
        OptionError
            If there are more or fewer numbers than bands.
        """
        scale = None if self.scale is None else _for_each(self.scale, count, "scale")
        mean = _for_each(0.0 if self.mean is None else self.mean, count, "mean")
        return scale, mean, _for_each(1.0 if self.std is None else self.std, count, "std")


def _for_each(given: Factors, count: int, word: str) -> list[float]:
    numbers = [float(given)] if isinstance(given, int | float) else [float(number) for number in given]
    if len(numbers) not in (1, count):
        raise OptionError(
            Message("{} has {}", Message("{" + word + "}"), plural(len(numbers), "number")),
            f"expected one, or one for each of {plural(count, 'band')}",
        )
    return numbers * (count if len(numbers) == 1 else 1)
