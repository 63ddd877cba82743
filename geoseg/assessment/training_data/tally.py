"""Statistics of the values of a band, collected window by window; those of several images add up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.datasets.statistics import Moments

BINS: Final = 256
"""Most bins of a histogram."""
_EXACT: Final = 50
"""Bits of the largest bin number, so that floats count bins exactly."""

Values = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Histogram:
    """Counts of values in bins whose width is a power of two, as narrow as `BINS` of them allow.

    Law: the counts depend on the values only, not on their order or on how they are divided among histograms that are
    added.

    Parameters
    ----------
    exponent : int or None
        The width of a bin is ``2 ** exponent``; None while there are no values.
    first : int
        Number of the first bin: it begins at ``first * 2 ** exponent``.
    counts : (bin,) int64
        Values in each bin.
    """

    exponent: int | None = None
    first: int = 0
    counts: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self.exponent or 0)

    @property
    def start(self) -> float:
        """Lower edge of the first bin."""
        return self.first * self.width

    def add(self, values: Values) -> None:
        """Count finite numbers, (value,), at least one."""
        low, high = values.min(), values.max()
        exponent = _exponent(low, high)
        index = _numbers(values, exponent)
        first = int(_numbers(np.array([low]), exponent)[0])
        self.merge(Histogram(exponent, first, np.bincount(index - first)))

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        if other.exponent is None:
            return
        if self.exponent is None:
            self.exponent, self.first, self.counts = other.exponent, other.first, other.counts.copy()
            return
        exponent = max(self.exponent, other.exponent)
        while True:
            parts = [(*_coarser(each, exponent), each) for each in (self, other)]
            first = min(start for start, _, _ in parts)
            stop = max(start + length for start, length, _ in parts)
            if stop - first <= BINS:
                break
            exponent += 1
        counts = np.zeros(stop - first, dtype=np.int64)
        for _, _, each in parts:
            assert each.exponent is not None
            place = (each.first + np.arange(len(each.counts))) >> (exponent - each.exponent)
            np.add.at(counts, place - first, each.counts)
        self.exponent, self.first, self.counts = exponent, first, counts

    def to_dict(self) -> dict[str, Any]:
        """Return the histogram as JSON values."""
        return {"start": self.start, "width": self.width, "counts": self.counts.tolist()}


def _exponent(low: Any, high: Any) -> int:
    """Return the exponent of the narrowest bins of which `BINS` hold all values from `low` to `high`."""
    if isinstance(low, np.integer):
        exponent = 0
    else:
        largest = max(abs(float(low)), abs(float(high)), 1e-300)
        exponent = math.frexp(largest)[1] - _EXACT
        span = float(high) / 2 - float(low) / 2  # halves, since the difference may be infinite
        exponent = max(exponent, math.frexp(span)[1] + 1 - BINS.bit_length()) if span else exponent
    ends = np.array([low, high])
    while True:
        first, last = _numbers(ends, exponent).tolist()
        if last - first < BINS:
            return exponent
        exponent += 1


def _numbers(values: Values, exponent: int) -> Ints:
    """Return the number of the bin of each value."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64) >> exponent
    return np.floor(np.ldexp(values.astype(np.float64), -exponent)).astype(np.int64)


def _coarser(histogram: Histogram, exponent: int) -> tuple[int, int]:
    """Return the first bin and the number of bins that a histogram has with wider bins."""
    assert histogram.exponent is not None
    steps = exponent - histogram.exponent
    first = histogram.first >> steps
    return first, ((histogram.first + len(histogram.counts) - 1) >> steps) - first + 1


@dataclass(slots=True)
class BandTally:
    """Range, mean, standard deviation and histogram of a band's valid pixels, as they are stored."""

    low: float = math.inf
    high: float = -math.inf
    moments: Moments = field(default_factory=lambda: Moments(1))
    histogram: Histogram = field(default_factory=Histogram)

    def add(self, values: Values) -> None:
        """Add the values of some pixels, (pixel,)."""
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        with np.errstate(over="ignore", invalid="ignore"):  # no data such as -3.4e38 that nobody declared
            self.moments.add(values.astype(np.float64)[None])
        self.histogram.add(values)

    def merge(self, other: BandTally) -> None:
        """Add the pixels of another image."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.moments.merge(other.moments)
        self.histogram.merge(other.histogram)

    @property
    def count(self) -> int:
        """Number of pixels."""
        return self.moments.count

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return float(self.moments.mean[0])

    @property
    def std(self) -> float:
        """Standard deviation of the values."""
        return math.sqrt(float(self.moments.squares[0]) / self.count) if self.count else math.nan

    @property
    def constant(self) -> bool:
        """Whether all pixels are alike."""
        return self.low == self.high
