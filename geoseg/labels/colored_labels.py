"""Labels as colour-coded pictures, and opening of label pictures in general."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.alignment import Alignment
from geoseg.labels.label import UNKNOWN, Codes, Meanings, finished, on_image, one_hot
from geoseg.raster.handles import handle
from geoseg.raster.scene import Scene

_SHOWN = 5
"""Most unexpected colours that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColoredLabels:
    """A picture in which each class has a colour; see `Labels`.

    Pixels with alpha 0, no-data pixels and pixels outside the picture are unlabelled. Palettes are expanded, and grey
    pictures (as written when all colours are grey) are read as three equal bands.

    Parameters
    ----------
    aligned : Alignment
        Red, green and blue, or grey, on the pixels of the image.
    scale : int
        Stored value of white: 1 for 1-bit pictures, 255 for uint8.
    meanings : Meanings
        Meaning of the label values, which are colours, ``#rrggbb``.
    tolerance : int
        Largest difference in each of red, green and blue to a class's colour. Among several candidates, the colour
        with the smallest maximum difference is taken, among equals that of the lowest code.
    layered : bool
        Whether `read` returns one layer per class.
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
            If it is not a picture, does not overlap the image, or label values are not colours.
        """
        for value in meanings.code_of:
            if not re.fullmatch("#[0-9a-f]{6}", str(value)):
                raise DataError(f"{path}: the label value {value!r} is not a colour, expected #rrggbb")
        scene, scale = open_picture(path)
        if scene.dtype != np.uint8:
            raise DataError(f"{path}: holds {scene.dtype}, expected colours in uint8")
        aligned = Alignment.of((scene,), grid)
        return cls(aligned=aligned, scale=scale, meanings=meanings, tolerance=tolerance, layered=layered)

    @property
    def path(self) -> str:
        """Name as given by the user."""
        return self.aligned.path

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        pixels, known = self.aligned.read(window)
        inside = on_image(window, self.aligned.grid.shape)
        codes, strange = self._codes(pixels)
        strange &= known[0] & inside
        if strange.any():
            found = self._complaint(_packed(self._rgb(pixels))[strange])
            raise DataError(f"{self.path}: {found}", self.meanings.remedy)
        read = one_hot(codes, self.meanings.codes) if self.layered else codes
        return finished(read, known[0], inside, self.meanings)

    def _codes(self, pixels: npt.NDArray[Any]) -> tuple[Codes, npt.NDArray[np.bool_]]:
        """Return the legend codes of colours (band, row, col), and where no class has the colour."""
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
        """Return red, green and blue, 0 to 255."""
        return np.broadcast_to(pixels * np.uint8(255 // self.scale), (3, *pixels.shape[1:]))

    def _complaint(self, packed: npt.NDArray[np.uint32]) -> str:
        """Describe the most frequent colours that no class has."""
        colors, counts = np.unique(packed, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:_SHOWN]
        words = ", ".join(f"#{colors[i]:06x} ({counts[i]} px)" for i in most)
        more = f" and {len(colors) - _SHOWN} more" if len(colors) > _SHOWN else ""
        return f"holds colours of no class: {words}{more}, expected {self.meanings.words}"


def open_picture(path: str | os.PathLike[str]) -> tuple[Scene, int]:
    """Open a picture of labels: grey, or red, green and blue; alpha is validity, palettes are expanded.

    Returns
    -------
    Scene
        Picture of one or three bands.
    int
        Largest value of its bit depth: 1 for a 1-bit mask, 255 for uint8.

    Raises
    ------
    DataError
        If the file is not such a picture.
    """
    try:
        scene = Scene.open(path, expand_palette=True, allow_remote=None)
        with handle(scene.file.location) as dataset:
            bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "8") if scene.palette is None else "8"
    except SceneError as error:
        raise error.into(DataError) from error
    if scene.count not in (1, 3):
        raise DataError(f"{path}: has {plural(scene.count, 'band')}, expected red, green and blue or grey")
    return scene, 2 ** min(int(bits), 8) - 1


def _packed(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Pack colours into one number each: 0xrrggbb."""
    red, green, blue = rgb.astype(np.uint32)
    packed: npt.NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return packed


def _nearest(
    rgb: npt.NDArray[np.uint8], colors: list[str]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int16]]:
    """Return the index of the nearest colour of each pixel (3, pixel), and the largest channel difference to it."""
    nearest = np.zeros(rgb.shape[1], dtype=np.intp)
    distance = np.full(rgb.shape[1], 256, dtype=np.int16)
    for index, color in enumerate(colors):
        number = int(color[1:], 16)
        wanted = np.array([number >> 16, number >> 8 & 255, number & 255], dtype=np.int16)
        apart = abs(rgb.astype(np.int16) - wanted[:, None]).max(axis=0)
        nearest[apart < distance] = index
        np.minimum(distance, apart, out=distance)
    return nearest, distance
