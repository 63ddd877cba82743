"""Encodings of xarray arrays: the values stored in their files, no data, scales and offsets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError, plural
from geoseg.raster.declared import UNSAID, Declared, Values
from geoseg.raster.validity import NoData, values_of
from geoseg.raster.xarray_bands import Coords, band_coords, of_bands

if TYPE_CHECKING:
    import xarray

Scaling = tuple[tuple[float, ...], tuple[float, ...]]
"""Scales and offsets, one per band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBand:
    """How the values of a band convert to stored values.

    Parameters
    ----------
    dtype : dtype
        Data type that holds the band's stored values exactly.
    nodata : tuple of float
        No-data values.
    filled : float or None
        Value in the file that became NaN, if integers were converted to floats, as by ``masked=True``.
    """

    dtype: np.dtype[Any]
    nodata: Values
    filled: float | None = None

    @classmethod
    def of(cls, array: xarray.DataArray) -> StoredBand:
        """Read the attributes and encoding of a DataArray.

        An encoding may be left over from before the values were changed: see `restore`.
        """
        encoding = array.encoding
        filled = encoding.get("_FillValue", encoding.get("missing_value"))
        dtype = np.dtype(encoding.get("rasterio_dtype", encoding.get("dtype", array.dtype)))
        whole = array.dtype.kind == "f" and dtype.kind in "iu"
        if not whole or filled is None or not np.isfinite(filled) or _scaling_applied(array):
            return cls.plain(array)
        return cls(dtype=dtype, nodata=(float(filled),), filled=float(filled))

    @classmethod
    def plain(cls, array: xarray.DataArray) -> StoredBand:
        """Take the values of a DataArray as they are."""
        return cls(dtype=array.dtype, nodata=values_of(_nodata(array)))

    def restore(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Convert pixels back to the file's integers; return None if they are not such integers."""
        if self.filled is None:
            return pixels
        filled = np.where(np.isnan(pixels), self.filled, pixels)
        with np.errstate(invalid="ignore"):
            stored = filled.astype(self.dtype)
        return stored if np.array_equal(stored, filled) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How computed pixels become the chosen bands of a scene.

    Parameters
    ----------
    bands : tuple of StoredBand
        The chosen bands.
    said : Declared
        The user's declarations about validity.
    validity : bool
        Whether another plane follows the bands, which marks pixels above 0 as valid.
    """

    bands: tuple[StoredBand, ...]
    said: Declared = UNSAID
    validity: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type that holds the stored values of all bands."""
        return np.result_type(*(band.dtype for band in self.bands))

    @property
    def no_data(self) -> NoData:
        """No-data values of the bands."""
        return NoData.of([band.nodata for band in self.bands], [band.dtype for band in self.bands], self.said)

    def restored(self, planes: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return the stored values, (band, row, col), and which pixels are valid.

        Raises
        ------
        SceneError
            If the values do not match the encoding.
        """
        pixels, bands = planes[: len(self.bands)], self.bands
        if any(band.filled is not None for band in bands):
            whole = [band.restore(plane) for plane, band in zip(pixels, bands, strict=True)]
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


def band_scaling(array: xarray.DataArray, dim: Hashable | None) -> Scaling | None:
    """Return scale and offset of each band; 1 and 0 if they were already applied.

    Parameters
    ----------
    array : DataArray
        The array.
    dim : str or None
        Dimension of its bands; None if it is one band.

    Returns
    -------
    (tuple of float, tuple of float) or None
        None if there are none.

    Raises
    ------
    SceneError
        If scales are listed, and it cannot be told which of them are those of the bands.
    """
    count, coords = 1 if dim is None else int(array.sizes[dim]), band_coords(array, dim)
    if _scaling_applied(array):
        return (1.0,) * count, (0.0,) * count
    tags = array.attrs | array.encoding
    scales = _listed(tags, "scales", "scale_factor", 1.0, coords, count)
    offsets = _listed(tags, "offsets", "add_offset", 0.0, coords, count)
    return None if set(scales) == {1.0} and set(offsets) == {0.0} else (scales, offsets)


def scaling_of_variables(arrays: Sequence[Any]) -> Scaling | None:
    """Return scales and offsets of arrays with one band each; None if none has any."""
    each = [band_scaling(array, None) for array in arrays]
    if not any(each):
        return None
    plain = ((1.0,), (0.0,))
    return tuple((one or plain)[0][0] for one in each), tuple((one or plain)[1][0] for one in each)


def _listed(
    tags: Mapping[Any, Any], several: str, single: str, default: float, coords: Coords, count: int
) -> tuple[float, ...]:
    """Return a number for each band: from a list for all bands of the file, or the one that all have."""
    if several not in tags:
        return (float(tags.get(single, default)),) * count
    found = of_bands(tags[several], coords, count)
    if found is None:
        raise SceneError(
            f"the DataArray lists {len(tags[several])} {several} for {plural(count, 'band')}, and the coordinates of "
            f"its bands do not tell which are theirs; set attrs[{several!r}] to one for each band"
        )
    return tuple(float(number) for number in found)


def _scaling_applied(array: xarray.DataArray) -> bool:
    """Return whether values were scaled when opened: scale and offset then are in the encoding."""
    kept = array.encoding
    scales = kept.get("scales", [kept.get("scale_factor", 1)])
    offsets = kept.get("offsets", [kept.get("add_offset", 0)])
    return any(float(each) != 1 for each in scales) or any(float(each) != 0 for each in offsets)


def _nodata(array: xarray.DataArray) -> float | None:
    """Return the no-data value of a DataArray."""
    import rioxarray  # noqa: F401  (registers .rio)

    encoded = array.encoding.get("_FillValue")
    if encoded is not None and array.dtype.kind in "iu":  # rioxarray assumes that these are NaN
        return float(encoded)
    try:
        found: float | None = array.rio.nodata
    except OverflowError:  # a value that the dtype cannot hold
        return None
    return found
