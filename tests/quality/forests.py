"""What is done without a network: random forests, of each pixel alone and of its surroundings too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pixels import Floats, Picture
from scipy.ndimage import uniform_filter
from sklearn.ensemble import RandomForestClassifier

_PIXELS = 200_000
"""Labelled pixels that a forest grows on: a tree gains little from the millionth of a kind."""
_WIDTHS = (3, 7)


def alone(image: Floats) -> Floats:
    """Features (feature, row, col) of a pixel: its bands."""
    return image


def surrounded(image: Floats) -> Floats:
    """Features of a pixel: its bands, and their means and standard deviations in squares of 3 and 7 px."""
    features = [image]
    for width in _WIDTHS:
        size = (1, width, width)
        mean = uniform_filter(image.astype(np.float64), size, mode="nearest")
        square = uniform_filter(image.astype(np.float64) ** 2, size, mode="nearest")
        features += [mean.astype(np.float32), np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)]
    return np.concatenate(features)


class Forest:
    """A random forest of scikit-learn's: 100 trees, otherwise as it comes, every class of the same weight.

    Parameters
    ----------
    features : callable
        From an image (band, row, col) to features (feature, row, col).
    seed : int
    most : int
        Labelled pixels that it grows on.
    """

    def __init__(self, features: Callable[[Floats], Floats], seed: int, most: int = _PIXELS) -> None:
        self._features = features
        self._forest = RandomForestClassifier(n_estimators=100, random_state=seed, n_jobs=1)
        self._seed, self._most = seed, most

    def fit(self, pictures: list[Picture]) -> Forest:
        """Grow it on labelled pixels of images, drawn at random where there are too many."""
        values = [self._features(each.image)[:, each.mask >= 0].T for each in pictures]
        classes = [each.mask[each.mask >= 0] for each in pictures]
        every, kinds = np.concatenate(values), np.concatenate(classes)
        size = min(self._most, len(kinds))
        chosen = np.random.default_rng(self._seed).choice(len(kinds), size=size, replace=False)
        self._forest.fit(every[chosen], kinds[chosen])
        return self

    def __call__(self, image: Floats) -> npt.NDArray[np.int64]:
        """Predict the channel of every pixel."""
        features = self._features(image)
        found = self._forest.predict(features.reshape(len(features), -1).T)
        return np.asarray(found, dtype=np.int64).reshape(image.shape[1:])
