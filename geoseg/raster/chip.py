"""The pixels of one window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chip:
    """Pixels of a window, and which of them may be used.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
        Stored numbers in the source's dtype; neither scale nor offset is applied.
    valid : ndarray of bool, shape (row, col)
        True = usable.
    """

    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
