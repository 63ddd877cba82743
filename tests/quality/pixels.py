"""Images of a split as arrays, for methods that are no part of geoseg."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.datasets.dataset import Pair
from geoseg.grid.window import Window
from geoseg.learning.metrics import Confusion, ImageMeans
from geoseg.learning.scoring import Score

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """An image as a network takes it, and what is known of it.

    Parameters
    ----------
    image : float32, (band, row, col)
        Normalised, 0 where not valid.
    mask : int64, (row, col)
        Channel, or 0 and 1 of a binary task; negative where nothing counts.
    """

    image: Floats
    mask: npt.NDArray[np.int64]


def pictures(pairs: Iterable[Pair]) -> list[Picture]:
    """Read whole images."""
    found = []
    for pair in pairs:
        sample = pair.sample(Window(row=0, col=0, height=pair.grid.height, width=pair.grid.width))
        found.append(Picture(sample["image"].numpy(), sample["mask"].numpy()))
    return found


def scored(predict: Callable[[Floats], npt.NDArray[Any]], pairs: Iterable[Pair], *, kinds: int) -> Score:
    """Score a function from an image (band, row, col) to the channel of every pixel (row, col)."""
    counted = [Confusion.of(each.mask, predict(each.image), kinds) for each in pictures(pairs)]
    each = [Score(confusion=one, image_means=ImageMeans.of(one)) for one in counted]
    return sum(each[1:], each[0])
