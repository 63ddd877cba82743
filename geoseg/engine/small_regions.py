"""Remove small regions from class layers: of a whole picture, or strip by strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import NODATA

Present = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Strip = tuple[Bytes, Bytes]
"""Codes and confidence of rows, (row, col) or (layer, row, col)."""
_CERTAIN = 254
"""Confidence of a probability of 1."""
_TOUCHING = np.ones((3, 3), dtype=np.uint8)


def regions(layer: Present) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Label the connected regions of one class; pixels that touch at a corner are connected.

    With 8 neighbours, as competitions count them, a region may be several polygons, since the rings of polygons never
    cross at a corner.

    Parameters
    ----------
    layer : bool, (row, col)
        True where the class is present.

    Returns
    -------
    numbers : int32, (row, col)
        0 where the class is absent, else the region's number, from 1.
    sizes : int64, (region + 1,)
        Pixels of each number, including 0.
    """
    from scipy import ndimage  # takes a tenth of a second to import; few predictions need it

    label: Any = ndimage.label
    numbers, count = label(layer, structure=_TOUCHING, output=np.int32)
    return numbers, np.bincount(numbers.ravel(), minlength=count + 1)


def without_small(present: Present, sizes: Sequence[int]) -> Present:
    """Remove connected regions with fewer pixels than the minimum of their class.

    Laws: nothing is added; every region is kept whole or removed whole; sizes 0 and 1 change nothing;
    a second time changes nothing; a larger size never keeps more.

    Parameters
    ----------
    present : bool, (class, row, col)
        True where each class is present, for one whole picture: a region that is cut would be judged by its parts.
    sizes : sequence of int
        Minimum number of pixels of a region of each class.

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


def strips_without_small(strips: Iterable[Strip], sizes: Sequence[int]) -> Iterator[Strip]:
    """Remove the connected regions smaller than a minimum size per class from consecutive strips of rows.

    Rows are held back while a region in them is still too small and touches the last row. A region of fewer than n px
    has fewer than n rows, so the memory depends on the minimum size and the width, not on the height of the scene.

    Laws: joined, the strips equal the result of `without_small` for the whole; a pixel whose class is removed has the
    confidence of its absence, 1 - p.

    Parameters
    ----------
    strips : iterable of (codes, confidence)
        uint8 arrays, from top to bottom: 1 where the class is present; confidence in steps of 1/254.
    sizes : sequence of int
        Minimum size of a region in px, one per layer.

    Yields
    ------
    codes, confidence : ndarray of uint8
        The same rows altogether, in strips of other heights.
    """
    held: list[Strip] = []
    above: Present | None = None
    count, due = 0, 1
    for strip in strips:
        held.append(strip)
        count += strip[0].shape[-2]
        if count >= due:
            decided, rest, above = _decided(held, above, sizes, last=False)
            held, count = [rest], rest[0].shape[-2]
            due = max(1, 2 * count)  # all held rows are labelled anew, so only once they have doubled
            if decided[0].shape[-2]:
                yield decided
    if count:
        yield _decided(held, above, sizes, last=True)[0]


def _decided(
    held: Sequence[Strip], above: Present | None, sizes: Sequence[int], *, last: bool
) -> tuple[Strip, Strip, Present | None]:
    """Split the held rows before the first undecided region: decided rows, the rest, and the row above the rest.

    `above` says where each class is present, (layer, col), in the last decided row: regions connected to it are
    large enough.
    """
    codes, confidence = (np.concatenate(parts, axis=-2) for parts in zip(*held, strict=True))
    shape = codes.shape
    layers = codes.reshape(-1, *shape[-2:])
    small, cut = np.zeros(layers.shape, dtype=bool), shape[-2]
    for index, size in enumerate(sizes):
        if size <= 1:
            continue
        before = np.zeros(shape[-1], dtype=bool) if above is None else above[index]
        numbers, counts = regions(np.concatenate([before[None], layers[index] == 1]))
        large = counts >= size
        large[numbers[0]] = True
        large[0] = True  # where the class is not
        small[index] = ~large[numbers[1:]]
        if not last:
            undecided = np.zeros(len(counts), dtype=bool)
            undecided[numbers[-1]] = True
            undecided &= ~large
            rows = undecided[numbers[1:]].any(axis=1)
            cut = min(cut, int(rows.argmax()) if rows.any() else cut)
    small = small.reshape(shape)
    small[..., cut:, :] = False
    decided = np.where(small, np.uint8(0), codes)
    sure = np.where(small & (confidence != NODATA), _CERTAIN - confidence, confidence).astype(np.uint8)
    if cut:
        above = decided.reshape(layers.shape)[:, cut - 1] == 1
    top, rest = np.s_[..., :cut, :], np.s_[..., cut:, :]
    return (decided[top], sure[top]), (codes[rest], confidence[rest]), above
