"""Fit the temperature by which logits are divided, to labelled pixels whose number in memory is bounded."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import Task

Numbers = npt.NDArray[np.float64]
Shares = npt.NDArray[np.float32]
"""Probabilities (channel, row, col)."""
Mask = npt.NDArray[np.int16]
"""Channel of each pixel (row, col), of a binary task 0 or 1, of a multilabel one (channel, row, col); negative where
nothing counts."""

MOST: Final = 20.0
"""Largest temperature, and the smallest one is its inverse: beyond it nothing is left to soften or to sharpen."""
_HELD: Final = 2**22
"""Logits that are kept: of eight classes half a million pixels, which leave an error of a thousandth."""
_TOGETHER: Final = 2**20
"""Logits that are computed with at once."""
_CLOSEST: Final = {"multiclass": 1e-30, "binary": 1e-7, "multilabel": 1e-7}
"""Smallest distance of a probability from 0 and, by sigmoid, from 1, where float32 has steps of 6e-8."""
_STEPS: Final = 200


def fitted(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Return the temperature with the smallest negative log-likelihood of labels.

    Guo et al. 2017 (arXiv:1706.04599), section 4.2. In the inverse of the temperature the likelihood is concave, so
    that Newton's steps, kept within an interval that shrinks, find its only maximum.

    Law: no temperature from 1 / `MOST` to `MOST` has a smaller one.

    Parameters
    ----------
    logits : ndarray, (pixel, class)
        Logits before softmax; of a sigmoid 0 and the logit.
    labels : ndarray of int, (pixel,)
        Class of each pixel.
    """
    low, high, inverse = 1 / MOST, MOST, 1.0
    if _slopes(logits, labels, low)[0] >= 0:
        return MOST
    if _slopes(logits, labels, high)[0] <= 0:
        return 1 / MOST
    for _ in range(_STEPS):
        slope, curvature = _slopes(logits, labels, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        found = inverse - slope / curvature if curvature > 0 else low
        found = found if low < found < high else (low + high) / 2
        if abs(found - inverse) <= 1e-9 * inverse:
            break
        inverse = found
    return 1 / inverse


def _slopes(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], inverse: float
) -> tuple[float, float]:
    """Return the first and second derivative of the negative log-likelihood by the inverse of the temperature."""
    slope = curvature = 0.0
    together = max(1, _TOGETHER // logits.shape[1])
    for first in range(0, len(logits), together):
        some = logits[first : first + together].astype(np.float64)
        odds = np.exp(inverse * (some - some.max(axis=1, keepdims=True)))
        odds /= odds.sum(axis=1, keepdims=True)
        mean = (odds * some).sum(axis=1)
        own = np.take_along_axis(some, labels[first : first + together, None].astype(np.intp), axis=1)[:, 0]
        slope += float((mean - own).sum())
        curvature += float((odds * (some - mean[:, None]) ** 2).sum())
    return slope, curvature


def likelihoods(shares: Shares, mask: Mask, task: Task) -> Shares:
    """Return the probability of what each pixel is labelled as, in the shape of the mask.

    Of pixels that do not count it is that of the first class.
    """
    if task == "multiclass":
        found = np.take_along_axis(shares, np.maximum(mask, 0)[None].astype(np.intp), axis=0)[0]
    else:
        own = shares[0] if task == "binary" else shares
        found = np.where(mask == 1, own, 1 - own)
    return np.asarray(np.maximum(found, np.float32(_CLOSEST[task])))


class _Part(NamedTuple):
    """Kept pixels: their keys (pixel,), logits (pixel, channel) and labels (pixel, 1) or (pixel, channel)."""

    keys: npt.NDArray[np.uint64]
    logits: Shares
    labels: Mask

    def below(self, level: int) -> _Part:
        """Return the pixels whose keys begin with that many zeros."""
        chosen = self.keys >> np.uint64(64 - level) == 0 if level else np.ones(len(self.keys), bool)
        return _Part(*(each[chosen] for each in self))


class HeldPixels:
    """A random part of all labelled pixels, as many as fit in bounded memory.

    Laws: which pixels are kept depends on their order alone, not on how they come in strips; every pixel is kept with
    the same probability.

    Parameters
    ----------
    task : str
        ``multiclass``, ``binary`` or ``multilabel``.
    most : int
        Largest number of logits that are kept.
    """

    def __init__(self, task: Task, most: int = _HELD) -> None:
        self._task: Task = task
        self._most = most
        self._seen = self._level = 0
        self._parts: list[_Part] = []

    def add(self, shares: Shares, mask: Mask) -> None:
        """Offer the labelled pixels of some rows.

        Parameters
        ----------
        shares : ndarray of float32, (channel, row, col)
            Probabilities.
        mask : ndarray of int16
            Their labels.
        """
        labels = mask.reshape(len(mask) if mask.ndim == 3 else 1, mask.shape[-2] * mask.shape[-1])
        places = np.flatnonzero((labels >= 0).any(axis=0))
        keys = _keys(self._seen, len(places))
        self._seen += len(places)
        chosen = keys >> np.uint64(64 - self._level) == 0 if self._level else slice(None)
        keys, places = keys[chosen], places[chosen]
        logits = self._logits(shares.reshape(len(shares), labels.shape[1])[:, places].T)
        self._parts.append(_Part(keys, logits, labels[:, places].T))
        while sum(part.logits.size for part in self._parts) > self._most:
            self._level += 1
            self._parts = [part.below(self._level) for part in self._parts]

    def _logits(self, shares: Shares) -> Shares:
        """Return logits that give probabilities (pixel, channel)."""
        closest = np.float32(_CLOSEST[self._task])
        if self._task == "multiclass":
            return np.log(np.maximum(shares, closest))
        sure = np.clip(shares, closest, 1 - closest)
        return np.asarray(np.log(sure / (1 - sure)))

    def temperature(self, channel: int | None = None) -> float:
        """Return the temperature of the kept pixels; of a multilabel task that of a channel."""
        logits = np.concatenate([part.logits for part in self._parts])
        labels = np.concatenate([part.labels for part in self._parts])
        if self._task == "multiclass":
            return fitted(logits, labels[:, 0])
        own, known = logits[:, channel or 0], labels[:, channel or 0]
        counted = known >= 0
        return fitted(np.stack([np.zeros_like(own[counted]), own[counted]], axis=1), known[counted])


def _keys(first: int, count: int) -> npt.NDArray[np.uint64]:
    """Return the random keys of pixels by their number, by Steele et al.'s SplitMix64."""
    mixed = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
