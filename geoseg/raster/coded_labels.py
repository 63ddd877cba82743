"""Rasters of codes as labels."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from geoseg.errors import DataError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.labels import UNKNOWN, Codes, Meanings, listed
from geoseg.raster.scene import Scene

_SAME_PIXEL = 1e-3
"""Grids that differ by less than this share of a pixel are the same: some writers round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedLabels:
    """A raster of codes on an image's grid; see `Labels`.

    Parameters
    ----------
    source : Scene
        One band of codes.
    grid : Grid
        Of the image.
    meanings : Meanings
    layered : bool
    """

    source: Scene
    grid: Grid
    meanings: Meanings
    layered: bool = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        grid: Grid,
        meanings: Meanings,
        *,
        layered: bool = False,
    ) -> CodedLabels:
        """Open a raster of codes for an image on `grid`.

        Raises
        ------
        DataError
            If it is no raster of codes, or does not lie where the image lies.
        """
        try:
            source = Scene.open(path, palette_as_codes=True)
        except SceneError as error:
            raise DataError(str(error)) from error
        if source.count != 1 or source.dtype.kind not in "iu":
            raise DataError(
                f"{path}: has {source.count} bands of {source.dtype}, expected one band of integer label codes"
            )
        if not same_grid(grid, source.grid):
            raise DataError(
                f"{path}: lies on another grid than its image ({_words(source.grid)}; {_words(grid)}); "
                "warp the labels onto the image's grid with gdalwarp -r near"
            )
        return cls(source=source, grid=grid, meanings=meanings, layered=layered)

    @property
    def path(self) -> str:
        """Name as it was given."""
        return self.source.path

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        chip = self.source.read(window)
        known = chip.valid & _inside(window, self.grid.shape)
        values = sorted(v for v in self.meanings.code_of if isinstance(v, int))
        stored, at = np.array(values), np.searchsorted(values, chip.pixels[0]).clip(max=len(values) - 1)
        strange = (stored[at] != chip.pixels[0]) & known
        if strange.any():
            raise DataError(
                f"{self.path}: holds label codes {listed(np.unique(chip.pixels[0][strange]))}, expected "
                f"{listed(values)}; name them in data.classes or data.ignore"
            )
        codes = np.array([self.meanings.code_of[v] for v in values], dtype=np.uint8)[at]
        return np.where(known, codes, np.uint8(UNKNOWN))


def same_grid(image: Grid, labels: Grid) -> bool:
    """Whether labels lie on an image's pixels; labels without any georeference need only its shape."""
    if image.shape != labels.shape:
        return False
    if labels.crs is None and labels.transform.is_identity:
        return True
    into_image = ~image.transform @ labels.transform
    corners = [(0, 0), (0, labels.height), (labels.width, 0), (labels.width, labels.height)]
    return all(
        abs(a - b) < _SAME_PIXEL
        for corner in corners
        for a, b in zip(into_image @ corner, corner, strict=True)
    )


def _inside(window: Window, shape: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Pixels of a window that lie on the image."""
    inside = np.zeros(window.shape, dtype=bool)
    part = window.within(shape)
    if part is not None:
        inside[part.shifted(-window.row, -window.col).slices] = True
    return inside


def _words(grid: Grid) -> str:
    west, _, _, north = grid.bounds
    return f"{grid.height} x {grid.width} px from {west:.10g}, {north:.10g}"
