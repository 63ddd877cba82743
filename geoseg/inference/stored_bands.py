"""Bands of lazy arrays, whose numbers may be others than their files store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.inference.lattice import Scaling, Stored, scaling_of
from geoseg.raster.declared import UNSAID, Declared, Values
from geoseg.raster.validity import NoData, values_of

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBand:
    """How the numbers of a band have to be read.

    Parameters
    ----------
    dtype : dtype
        In which the band's numbers are known to be exact.
    nodata : tuple of float
        The numbers among them that are no data.
    stored : Stored or None
        Where rioxarray made floats of whole numbers.
    """

    dtype: np.dtype[Any]
    nodata: Values
    stored: Stored | None

    @classmethod
    def of(cls, array: xarray.DataArray) -> StoredBand:
        """Ask the attributes and the encoding."""
        stored = Stored.of(array)
        if stored is None:
            return cls.plain(array)
        return cls(dtype=stored.dtype, nodata=(stored.nodata,), stored=stored)

    @classmethod
    def plain(cls, array: xarray.DataArray) -> StoredBand:
        """Take the numbers as they are."""
        return cls(dtype=array.dtype, nodata=values_of(array.rio.nodata), stored=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How computed pixels become the chosen bands of a scene.

    Parameters
    ----------
    bands : tuple of StoredBand
        The chosen ones.
    said : Declared
        What a person said about validity.
    validity : bool
        Whether one more plane comes after them, that is valid where it is above 0.
    """

    bands: tuple[StoredBand, ...]
    said: Declared = UNSAID
    validity: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype that holds the stored numbers of the bands."""
        return np.result_type(*(band.dtype for band in self.bands))

    @property
    def no_data(self) -> NoData:
        """What is no data in them."""
        return NoData.of([band.nodata for band in self.bands], [band.dtype for band in self.bands], self.said)

    def restored(self, planes: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return the numbers as their files store them, (band, row, col), and which pixels are valid.

        Raises
        ------
        SceneError
            If they are not what the encoding says.
        """
        pixels, bands = planes[: len(self.bands)], self.bands
        if any(band.stored is not None for band in bands):
            whole = [
                plane if band.stored is None else band.stored.restore(plane)
                for plane, band in zip(pixels, bands, strict=True)
            ]
            if any(plane is None for plane in whole):
                raise SceneError(
                    f"array: its numbers are not the {bands[0].dtype} that its encoding names; "
                    "pass .drop_encoding() of it"
                )
            pixels = np.stack([plane for plane in whole if plane is not None])
        valid = self.no_data.usable(pixels)
        if self.validity:
            valid &= planes[-1] > 0
        return pixels.astype(self.dtype, copy=False), valid


def scaling_of_all(arrays: Sequence[Any]) -> Scaling | None:
    """Scales and offsets of arrays of a band each."""
    each = [scaling_of(array, 1) for array in arrays]
    if not any(each):
        return None
    plain = ((1.0,), (0.0,))
    return tuple((one or plain)[0][0] for one in each), tuple((one or plain)[1][0] for one in each)
