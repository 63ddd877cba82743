"""Colour-coded pictures as labels, and pictures of labels in general."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.alignment import Alignment
from geoseg.raster.handles import handle
from geoseg.raster.labels import UNKNOWN, Codes, Meanings, finished, on_image, one_hot
from geoseg.raster.scene import Scene

_SHOWN = 5
"""Strange colours that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColoredLabels:
    """A picture in which each class has a colour; see `Labels`.

    Where alpha is 0, where the file has no data and beyond the picture pixels are unlabelled. Palettes are
    expanded, and grey pictures (which writers make of coloured ones without colours) have three equal bands.

    Parameters
    ----------
    aligned : Alignment
        Red, green and blue, or grey.
    scale : int
        Grey of white: 1 for pictures of 1 bit, 255 for bytes.
    meanings : Meanings
        Label values are colours, ``#rrggbb``.
    tolerance : int
        Largest difference in each of red, green and blue. Among several colours the one with the smallest
        largest difference is meant, and of equal ones that of the lowest code.
    layered : bool
    """

    aligned: Alignment
    scale: int
    meanings: Meanings
    tolerance: int = 0
    layered: bool = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        grid: Grid,
        meanings: Meanings,
        *,
        layered: bool = False,
        tolerance: int = 0,
    ) -> ColoredLabels:
        """Open a colour-coded picture for an image on `grid`.

        Raises
        ------
        DataError
            If it is no picture, does not lie where the image lies, or label values are no colours.
        """
        for value in meanings.code_of:
            if not re.fullmatch("#[0-9a-f]{6}", str(value)):
                raise DataError(f"{path}: the label value {value!r} is no colour, expected #rrggbb")
        scene, scale = open_picture(path)
        if scene.dtype != np.uint8:
            raise DataError(f"{path}: holds {scene.dtype}, expected colours of one byte each")
        aligned = Alignment.of((scene,), grid)
        return cls(aligned=aligned, scale=scale, meanings=meanings, tolerance=tolerance, layered=layered)

    @property
    def path(self) -> str:
        """Name as it was given."""
        return self.aligned.path

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        pixels, known = self.aligned.read(window)
        inside = on_image(window, self.aligned.grid.shape)
        codes, strange = self._codes(pixels)
        strange &= known[0] & inside
        if strange.any():
            raise DataError(f"{self.path}: {self._complaint(_packed(self._rgb(pixels))[strange])}")
        read = one_hot(codes, self.meanings.codes) if self.layered else codes
        return finished(read, known[0], inside, self.meanings)

    def _codes(self, pixels: npt.NDArray[Any]) -> tuple[Codes, npt.NDArray[np.bool_]]:
        """Legend codes of colours (band, row, col), and where no class has the colour."""
        rgb = self._rgb(pixels)
        by_code = sorted(self.meanings.code_of.items(), key=lambda item: (item[1], item[0]))
        packed = _packed(rgb)
        codes = np.full(packed.shape, UNKNOWN, dtype=np.uint8)
        strange = np.ones(packed.shape, dtype=bool)
        for color, code in by_code:
            same = packed == int(str(color)[1:], 16)
            np.copyto(codes, np.uint8(code), where=same)
            strange ^= same
        if self.tolerance and strange.any():
            near, distance = _nearest(rgb[:, strange], [str(color) for color, _ in by_code])
            codes[strange] = np.array([code for _, code in by_code], dtype=np.uint8)[near]
            strange[strange] = distance > self.tolerance
        return codes, strange

    def _rgb(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Red, green and blue, 0 to 255."""
        return np.broadcast_to(pixels * np.uint8(255 // self.scale), (3, *pixels.shape[1:]))

    def _complaint(self, packed: npt.NDArray[np.uint32]) -> str:
        """Name the most frequent colours that no class has."""
        colors, counts = np.unique(packed, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:_SHOWN]
        words = ", ".join(f"#{colors[i]:06x} ({counts[i]} px)" for i in most)
        more = f" and {len(colors) - _SHOWN} more" if len(colors) > _SHOWN else ""
        return f"holds colours of no class: {words}{more}, expected {self.meanings.words}; {self.meanings.remedy}"


def open_picture(path: str | os.PathLike[str]) -> tuple[Scene, int]:
    """Open a picture of labels: grey or red, green and blue, alpha being validity, palettes expanded.

    Returns
    -------
    Scene
        One or three bands.
    int
        Largest number that its bits hold: 1 of a 1-bit mask, 255 of bytes.

    Raises
    ------
    DataError
        If there is no such picture.
    """
    try:
        scene = Scene.open(path, expand_palette=True)
        with handle(scene.file.location) as dataset:
            bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "8") if scene.palette is None else "8"
    except SceneError as error:
        raise DataError(str(error)) from error
    if scene.count not in (1, 3):
        raise DataError(f"{path}: has {scene.count} bands, expected red, green and blue or grey")
    return scene, 2 ** min(int(bits), 8) - 1


def _packed(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Colours as one number each: 0xrrggbb."""
    red, green, blue = rgb.astype(np.uint32)
    packed: npt.NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return packed


def _nearest(
    rgb: npt.NDArray[np.uint8], colors: list[str]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int16]]:
    """Index of the nearest colour of each pixel (3, pixel), and the largest difference in a channel to it."""
    nearest = np.zeros(rgb.shape[1], dtype=np.intp)
    distance = np.full(rgb.shape[1], 256, dtype=np.int16)
    for index, color in enumerate(colors):
        number = int(color[1:], 16)
        wanted = np.array([number >> 16, number >> 8 & 255, number & 255], dtype=np.int16)
        apart = abs(rgb.astype(np.int16) - wanted[:, None]).max(axis=0)
        nearest[apart < distance] = index
        np.minimum(distance, apart, out=distance)
    return nearest, distance
