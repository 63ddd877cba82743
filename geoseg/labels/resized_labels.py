"""Labels of an image that is resized: each pixel gets the nearest label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, Codes, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizedLabels:
    """Labels resized to another shape; see `Labels`.

    A pixel gets the label of the stored pixel in which its centre lies.

    Parameters
    ----------
    labels : Labels
        Labels on the image as stored.
    stored : (int, int)
        Rows and columns of that image.
    shape : (int, int)
        Rows and columns after resizing.
    """

    labels: Labels
    stored: tuple[int, int]
    shape: tuple[int, int]

    @property
    def path(self) -> str:
        """Name used in messages."""
        return self.labels.path

    @property
    def layered(self) -> bool:
        """Whether classes may overlap."""
        return self.labels.layered

    def read(self, window: Window) -> Codes:
        """Read a window of the resized image; see `Labels.read`."""
        rows = _nearest(window.row, window.height, self.shape[0], self.stored[0])
        cols = _nearest(window.col, window.width, self.shape[1], self.stored[1])
        top, left = int(rows.min()), int(cols.min())
        needed = Window(row=top, col=left, height=int(rows.max()) - top + 1, width=int(cols.max()) - left + 1)
        codes = self.labels.read(needed)[..., (rows - top)[:, None], cols - left]
        outside = _outside(window.row, window.height, self.shape[0])[:, None] | _outside(
            window.col, window.width, self.shape[1]
        )
        codes[..., outside] = UNKNOWN
        return codes


def _nearest(first: int, count: int, length: int, stored: int) -> npt.NDArray[np.int64]:
    """Return the stored row (or column) under the centre of each of `count` resized ones, in integers."""
    pixels = np.arange(first, first + count, dtype=np.int64).clip(0, length - 1)
    return (2 * pixels + 1) * stored // (2 * length)


def _outside(first: int, count: int, length: int) -> npt.NDArray[np.bool_]:
    pixels = np.arange(first, first + count)
    return (pixels < 0) | (pixels >= length)
