"""Labels of a binary task as grey masks."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.alignment import Alignment
from geoseg.labels.colored_labels import open_picture
from geoseg.labels.label import Codes, Meanings, finished, on_image

_LUMINANCE = 299, 587, 114
"""Weights of red, green and blue in thousandths (ITU-R BT.601); integers, so that grey values stay exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyLabels:
    """A mask that is bright where class 1 is present; see `Labels`.

    Pixels above the threshold are 1, others 0. Colour pictures are converted to luminance, and pictures of less than
    8 bits are scaled to 0 to 255 first. Pixels with alpha 0, no-data pixels and pixels outside the mask are unlabelled.

    Parameters
    ----------
    aligned : Alignment
        The mask on the pixels of the image.
    scale : int
        Stored value of white for pictures of less than 8 bits, else 255.
    meanings : Meanings
        Meaning of the values.
    threshold : float
        Brightness, 0 to 255, above which class 1 is present.
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
            If it is not a picture, or does not overlap the image.
        """
        scene, scale = open_picture(path)
        return cls(aligned=Alignment.of((scene,), grid), scale=scale, meanings=meanings, threshold=threshold)

    @property
    def layered(self) -> bool:
        """Always False: a mask has one class."""
        return False

    @property
    def path(self) -> str:
        """Name as given by the user."""
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
