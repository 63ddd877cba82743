"""Pixels counted by blocks of ground, and intervals of scores from resampled blocks.

Neighbouring pixels are alike, so that an interval from resampled pixels would be far too narrow; blocks that are larger
than the reach of that likeness are nearly independent (Efron and Tibshirani 1993, chapter 8; Roberts et al. 2017,
doi:10.1111/ecog.02881).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.assessment.evaluation.reference import IGNORED, Indices

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

FEWEST = 5
"""Blocks with labels that an interval needs at least."""
_RESAMPLES = 2000
_SEED = 0
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockCounts:
    """Pixels of a map counted by (block, reference class, class of the map).

    Law: the sum over the blocks does not depend on their size.

    Parameters
    ----------
    edge : int
        Edge of the blocks, px.
    counts : (block row, block column, class, class) int64
        Row of the matrix: reference; column: map.
    """

    edge: int
    counts: Counts

    @classmethod
    def empty(cls, shape: tuple[int, int], edge: int, kinds: int) -> BlockCounts:
        """Return the counts of a map before any pixel is counted."""
        rows, cols = (-(-length // edge) for length in shape)
        return cls(edge=edge, counts=np.zeros((rows, cols, kinds, kinds), dtype=np.int64))

    def add(self, first: int, truth: Indices, found: Indices) -> None:
        """Count pixels of consecutive rows, of which `first` is the first; IGNORED ones do not count."""
        _, cols, kinds, _ = self.counts.shape
        column = np.arange(truth.shape[1]) // self.edge * kinds**2
        stop = first + len(truth)
        for row in range(first // self.edge, -(-stop // self.edge)):
            part = slice(max(row * self.edge - first, 0), (row + 1) * self.edge - first)
            counted = truth[part] != IGNORED
            pairs = truth[part].astype(np.int64) * kinds + found[part] + column
            summed = np.bincount(pairs[counted], minlength=cols * kinds**2)
            self.counts[row] += summed.reshape(cols, kinds, kinds)

    @property
    def total(self) -> Counts:
        """Counts of the whole map, (class, class)."""
        whole: Counts = self.counts.sum(axis=(0, 1))
        return whole

    @property
    def labelled(self) -> Counts:
        """Counts (block, class, class) of the blocks that have compared pixels."""
        flat = self.counts.reshape(-1, *self.counts.shape[2:])
        return flat[flat.any(axis=(1, 2))]


def intervals(blocks: Counts, score: Callable[[Counts], Numbers]) -> Numbers | None:
    """Return the 95 % intervals of scores, from blocks that are drawn anew with replacement.

    Parameters
    ----------
    blocks : (block, class, class) int64
        Counts of the blocks, or of maps, that have compared pixels.
    score : callable
        From counts (class, class) to one or several scores.

    Returns
    -------
    (2, score) float64 or None
        Lower and upper ends, percentiles of 2,000 resamples with a fixed seed, NaN where a score has none; None
        where there are fewer than five blocks.
    """
    draws = _draws(len(blocks))
    return None if draws is None else _ends(_resampled(blocks, draws, score))


def paired_intervals(first: Counts, second: Counts, score: Callable[[Counts], Numbers]) -> Numbers | None:
    """Return the 95 % intervals of the difference of scores, second minus first, where both draw the same blocks.

    Parameters
    ----------
    first, second : (block, class, class) int64
        Counts of the same blocks by two maps.
    score : callable
        As for `intervals`, which also says what is returned.
    """
    draws = _draws(len(first))
    if draws is None:
        return None
    return _ends(_resampled(second, draws, score) - _resampled(first, draws, score))


def _draws(blocks: int) -> Counts | None:
    """Return how often each block is drawn, (resample, block)."""
    if blocks < FEWEST:
        return None
    generator = np.random.default_rng(_SEED)
    draws: Counts = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=_RESAMPLES)
    return draws


def _resampled(blocks: Counts, draws: Counts, score: Callable[[Counts], Numbers]) -> Numbers:
    """Return the scores of each resample, (resample, score)."""
    # In floats the product is a library's; counts below 2**53 stay exact.
    flat = draws.astype(np.float64) @ blocks.reshape(len(blocks), -1).astype(np.float64)
    return np.stack([np.atleast_1d(score(each.reshape(blocks.shape[1:]))) for each in flat])


def _ends(found: Numbers) -> Numbers:
    ends = np.full((2, found.shape[1]), np.nan)
    for number, values in enumerate(found.T):
        known = values[np.isfinite(values)]
        if len(known):
            ends[:, number] = np.percentile(known, _TAILS)
    return ends
