"""Regions too small to be believed are taken away, class by class, where a whole picture is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Present = npt.NDArray[np.bool_]
_TOUCHING = np.ones((3, 3), dtype=np.uint8)


def regions(layer: Present) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the connected regions of one class; pixels that touch at a corner are connected.

    With 8 neighbours, as competitions count them, a region here may be several polygons, whose rings never
    cross a corner.

    Parameters
    ----------
    layer : bool, (row, col)

    Returns
    -------
    numbers : int32, (row, col)
        0 where absent, else the region's number, from 1.
    sizes : int64, (region + 1,)
        px of each number; of 0 too.
    """
    from scipy import ndimage  # a tenth of a second that few predictions need

    label: Any = ndimage.label
    numbers, count = label(layer, structure=_TOUCHING, output=np.int32)
    return numbers, np.bincount(numbers.ravel(), minlength=count + 1)


def without_small(present: Present, sizes: Sequence[int]) -> Present:
    """Take away connected regions of fewer pixels than their class needs.

    Laws: what is left was there; every region is left whole or taken away whole; 0 and 1 change nothing;
    a second time changes nothing; a larger size never leaves more.

    Parameters
    ----------
    present : bool, (class, row, col)
        Where each class is; of one whole picture: a region that is cut would be judged by its parts.
    sizes : sequence of int
        The fewest px a region of each class must have.

    Returns
    -------
    bool, (class, row, col)
        A new array.
    """
    kept = np.array(present, dtype=bool)
    for layer, size in zip(kept, sizes, strict=True):
        if size > 1 and layer.any():
            numbers, counts = regions(layer)
            layer &= (counts >= size)[numbers]
    return kept
