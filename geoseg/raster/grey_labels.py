"""Grey masks as labels of a binary task."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.alignment import Alignment
from geoseg.raster.colored_labels import open_picture
from geoseg.raster.labels import Codes, Meanings, finished, on_image

_LUMINANCE = 299, 587, 114
"""Thousandths of red, green and blue (ITU-R BT.601); whole, so that grey stays exactly what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyLabels:
    """A mask that is bright where class 1 is; see `Labels`.

    1 where the pixel is above the threshold, else 0. Of pictures in colour the luminance counts, and pictures
    of less than 8 bits are brought to 0 to 255 first. Where alpha is 0, where the file has no data and
    beyond the mask pixels are unlabelled.

    Parameters
    ----------
    aligned : Alignment
    scale : int
        Stored number of white where the picture has less than 8 bits, else 255.
    meanings : Meanings
    threshold : float
    """

    aligned: Alignment
    scale: int
    meanings: Meanings
    threshold: float = 127.0

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], grid: Grid, meanings: Meanings, *, threshold: float = 127.0
    ) -> GreyLabels:
        """Open a mask for an image on `grid`.

        Raises
        ------
        DataError
            If it is no picture, or does not lie where the image lies.
        """
        scene, scale = open_picture(path)
        return cls(aligned=Alignment.of((scene,), grid), scale=scale, meanings=meanings, threshold=threshold)

    @property
    def layered(self) -> bool:
        """Masks have one class."""
        return False

    @property
    def path(self) -> str:
        """Name as it was given."""
        return self.aligned.path

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        pixels, known = self.aligned.read(window)
        weights = np.array(
            _LUMINANCE if len(pixels) == 3 else (1000 * (255 // self.scale),), dtype=np.float64
        )
        brightness = np.tensordot(weights, pixels.astype(np.float64), axes=1)
        read: Codes = (brightness > 1000 * self.threshold).astype(np.uint8)
        return finished(read, known[0], on_image(window, self.aligned.grid.shape), self.meanings)
