"""Bands of lazy arrays, whose numbers may be others than their files store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.inference.lattice import Scaling, Stored, scaling_of
from geoseg.raster.validity import usable

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBand:
    """How the numbers of a band have to be read.

    Parameters
    ----------
    dtype : dtype
        In which the band's numbers are known to be exact.
    nodata : float or None
        The number among them that is not valid.
    stored : Stored or None
        Where rioxarray made floats of whole numbers.
    """

    dtype: np.dtype[Any]
    nodata: float | None
    stored: Stored | None

    @classmethod
    def of(cls, array: xarray.DataArray) -> StoredBand:
        """Ask the attributes and the encoding."""
        stored = Stored.of(array)
        if stored is None:
            return cls(dtype=array.dtype, nodata=array.rio.nodata, stored=None)
        return cls(dtype=stored.dtype, nodata=stored.nodata, stored=stored)


def restored(
    pixels: npt.NDArray[Any], bands: Sequence[StoredBand]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the numbers as their files store them, (band, row, col), and which pixels are valid.

    Raises
    ------
    SceneError
        If they are not what the encoding says.
    """
    if any(band.stored is not None for band in bands):
        planes = [
            plane if band.stored is None else band.stored.restore(plane)
            for plane, band in zip(pixels, bands, strict=True)
        ]
        if any(plane is None for plane in planes):
            raise SceneError(
                f"array: its numbers are not the {bands[0].dtype} that its encoding names; "
                "pass .drop_encoding() of it"
            )
        pixels = np.stack([plane for plane in planes if plane is not None])
    return pixels, usable(pixels, [band.nodata for band in bands], [band.dtype for band in bands])


def scaling_of_all(arrays: Sequence[Any]) -> Scaling | None:
    """Scales and offsets of arrays of a band each."""
    each = [scaling_of(array, 1) for array in arrays]
    if not any(each):
        return None
    plain = ((1.0,), (0.0,))
    return tuple((one or plain)[0][0] for one in each), tuple((one or plain)[1][0] for one in each)
