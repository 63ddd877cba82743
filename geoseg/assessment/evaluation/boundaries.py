"""Pixels near the boundaries of classes, for the boundary IoU.

The boundary IoU (Cheng et al. 2021, arXiv:2103.16562) compares only pixels of a class that lie within a distance of its
boundary, so that it sees the quality of outlines also where objects are large. As there, the distance is that of a
square; unlike there, the border of the map and pixels that are not compared are no boundary, because nothing is known
about what lies beyond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from geoseg.assessment.evaluation.reference import IGNORED, Indices
from geoseg.assessment.evaluation.rows import Rows

_MOST = np.int16(2**15 - 1)


def near_boundary(indices: Indices, distance: int) -> npt.NDArray[np.bool_]:
    """Return whether a pixel of another class lies within a distance, in the square around each compared pixel.

    Parameters
    ----------
    indices : (row, col) int16
        Class indices; IGNORED pixels are near nothing, and nothing is near them.
    distance : int
        Half the width of the square, px: 1 means the eight neighbours.
    """
    from scipy import ndimage

    compared = indices != IGNORED
    least, most = np.where(compared, indices, _MOST), indices
    for axis in (0, 1):
        least = ndimage.minimum_filter1d(least, 2 * distance + 1, axis=axis, mode="nearest")
        most = ndimage.maximum_filter1d(most, 2 * distance + 1, axis=axis, mode="nearest")
    near: npt.NDArray[np.bool_] = compared & ((least != indices) | (most != indices))
    return near


def boundary_rows(rows: Iterable[Rows], distance: int, classes: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows, and beside them the same rows where pixels far from a boundary have the index `classes`.

    Parameters
    ----------
    rows : iterable of Rows
        All but the last have at least `distance` rows.
    distance : int
        As for `near_boundary`.
    classes : int
        Number of classes.
    """
    above: Rows | None = None
    current: Rows | None = None
    for below in chain(rows, [None]):
        if current is not None:
            yield current, _marked(current, above, below, distance, classes)
        above, current = current, below


def _marked(rows: Rows, above: Rows | None, below: Rows | None, distance: int, classes: int) -> Rows:
    """Replace the indices of pixels far from a boundary."""
    skipped = 0 if above is None else min(distance, len(above.found))

    def marked(own: Indices, top: Indices | None, bottom: Indices | None) -> Indices:
        near = near_boundary(_with_halo(own, distance, top, bottom), distance)[skipped : skipped + len(own)]
        return np.where(near | (own == IGNORED), own, np.int16(classes))

    return replace(
        rows,
        found=marked(
            rows.found, None if above is None else above.found, None if below is None else below.found
        ),
        truth=marked(
            rows.truth, None if above is None else above.truth, None if below is None else below.truth
        ),
    )


def _with_halo(indices: Indices, distance: int, top: Indices | None, bottom: Indices | None) -> Indices:
    parts = [
        *([] if top is None else [top[-distance:]]),
        indices,
        *([] if bottom is None else [bottom[:distance]]),
    ]
    return np.concatenate(parts) if len(parts) > 1 else indices
