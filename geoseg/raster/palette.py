"""A colour table as three bands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.raster.declared import Values
from geoseg.raster.description import RGBA, Description
from geoseg.raster.validity import usable, values_of

_NAMES = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """What the codes of a paletted band stand for.

    Parameters
    ----------
    colors : tuple of (int, (int, int, int, int))
        Code and red, green, blue, alpha, 0 to 255.
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
    def of(cls, file: Description, *, expand: bool) -> Palette:
        """Return the palette of a file.

        Raises
        ------
        SceneError
            If its codes were not to be expanded, or are one band of many.
        """
        path, colors = file.location.typed, file.palette or ()
        if len(file.dtypes) > 1:
            raise SceneError(
                f"{path}: has a colour table and {len(file.dtypes)} bands, expected one band with it"
            )
        if not expand:
            raise SceneError(
                f"{path}: has a colour table, so its numbers are codes and no image; "
                "pass --expand-palette to use the colours"
            )
        masked = (1,) if file.masks[0] is not None else ()
        return cls(colors=colors, dtype=file.dtypes[0], nodata=values_of(file.nodata[0]), masked=masked)

    def describe(self, file: Description) -> Description:
        """Return the description of the file with colours in place of codes."""
        return dataclasses.replace(
            file, descriptions=_NAMES, colors=_NAMES, dtypes=("uint8",) * 3, nodata=(None,) * 3, masks=(None,) * 3,
            alpha_band=None, scale=None, offset=None,
        )  # fmt: skip

    def expand(
        self, codes: npt.NDArray[np.integer], bands: Sequence[int]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Colours of codes; valid where a code has a colour that is not transparent.

        Parameters
        ----------
        codes : ndarray of integers, shape (row, col)
        bands : sequence of int
            1 red, 2 green, 3 blue.

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
