"""Expansion of a colour table to three bands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, SceneError, plural
from geoseg.raster.declared import Values
from geoseg.raster.description import RGBA, Description
from geoseg.raster.validity import usable, values_of

_NAMES = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colour table of a band.

    Parameters
    ----------
    colors : tuple of (int, (int, int, int, int))
        Code and (red, green, blue, alpha), 0 to 255.
    dtype : str
        Dtype of the codes.
    nodata : tuple of float
        Codes of no data.
    masked : tuple of int
        Bands of the file that have a stored mask.
    """

    colors: tuple[tuple[int, RGBA], ...]
    dtype: str
    nodata: Values
    masked: tuple[int, ...]

    @classmethod
    def of(cls, file: Description, *, expand: bool | None) -> Palette:
        """Make the palette of a file; with None the caller offers no choice to expand it.

        Raises
        ------
        SceneError
            If expansion was not requested, or the file has several bands.
        """
        path, colors = file.location.typed, file.palette or ()
        if len(file.dtypes) > 1:
            raise SceneError(
                f"{path}: has a colour table and {plural(len(file.dtypes), 'band')}, expected one band with it"
            )
        if not expand:
            raise SceneError(
                f"{path}: has a colour table, so its numbers are codes and no image",
                Message("pass {expand_palette} to use the colours", expand_palette=True)
                if expand is False
                else "convert it first with gdal_translate -expand rgb",
            )
        masked = (1,) if file.masks[0] is not None else ()
        return cls(colors=colors, dtype=file.dtypes[0], nodata=values_of(file.nodata[0]), masked=masked)

    def describe(self, file: Description) -> Description:
        """Return the description of the file as three colour bands."""
        return dataclasses.replace(
            file, descriptions=_NAMES, colors=_NAMES, dtypes=("uint8",) * 3, nodata=(None,) * 3, masks=(None,) * 3,
            alpha_band=None, scale=None, offset=None,
        )  # fmt: skip

    def expand(
        self, codes: npt.NDArray[np.integer], bands: Sequence[int]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Replace codes by colours; pixels are valid where the colour exists and is not transparent.

        Parameters
        ----------
        codes : ndarray of integers, shape (row, col)
            Codes of a window.
        bands : sequence of int
            Bands to return: 1 for red, 2 for green, 3 for blue.

        Returns
        -------
        ndarray of uint8, shape (band, row, col), and ndarray of bool, shape (row, col)
        """
        size = max(code for code, _ in self.colors) + 1
        table = np.zeros((size, 4), dtype=np.uint8)
        for code, color in self.colors:
            table[code] = color
        known = (codes >= 0) & (codes < size)
        rgba = table[np.where(known, codes, 0)]
        valid = known & (rgba[..., 3] > 0) & usable(codes[None], [self.nodata], [np.dtype(self.dtype)])
        return np.ascontiguousarray(np.moveaxis(rgba, -1, 0)[[i - 1 for i in bands]]), valid
