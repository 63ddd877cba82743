"""Which pixels stand for those beyond the border of a raster."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def border_indices(start: int, length: int, extent: int) -> npt.NDArray[np.intp]:
    """Pixels of an axis that a window shows, the border reflected.

    The border pixel itself is not repeated (numpy's "reflect"). On a side where more pixels are wanted than
    one reflection has (``extent - 1``), that side repeats its border pixel instead (numpy's "edge").

    Parameters
    ----------
    start, length : int
        Window along the axis, px; may stick out on both sides.
    extent : int
        Length of the raster along the axis, px.

    Returns
    -------
    ndarray of intp, shape (length,)
        All in [0, extent).
    """
    indices = np.arange(start, start + length, dtype=np.intp)
    last = extent - 1
    if start < 0:
        before = indices < 0
        indices[before] = -indices[before] if -start <= last else 0
    if start + length > extent:
        after = indices > last
        indices[after] = 2 * last - indices[after] if start + length - extent <= last else last
    return indices
