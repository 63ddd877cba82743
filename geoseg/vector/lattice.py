"""Class maps, multilabel maps and confidences as xarray and numpy hold them."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass
from geoseg.raster.classmap import LayeredMap, Strip
from geoseg.vector.areas import NO_CONFIDENCE

if TYPE_CHECKING:
    import xarray as xr

_LARGEST = 2**53
"""Beyond it, floats skip whole numbers: what they hold is no code."""


def dataset_of(source: object) -> xr.Dataset | None:
    """Return what is a Dataset; who has one has imported xarray already, which takes a second."""
    loaded = sys.modules.get("xarray")
    return source if loaded is not None and isinstance(source, loaded.Dataset) else None


def grid_of(array: xr.DataArray) -> Grid:
    """Grid of a DataArray with `.rio` coordinates.

    Raises
    ------
    ClassMapError
        If it has no regular coordinates.
    """
    import rioxarray  # noqa: F401  (registers .rio)

    crs = array.rio.crs
    return Grid(
        height=array.sizes[array.rio.y_dim],
        width=array.sizes[array.rio.x_dim],
        transform=array.rio.transform(recalc=False),
        crs=crs.to_wkt() if crs else None,
    )


def strips_of(array: xr.DataArray) -> Iterator[Strip]:
    """Rows of a DataArray with `.rio` coordinates, from top to bottom; of a lazy one, chunk by chunk.

    Parameters
    ----------
    array : DataArray (y, x), or (band, y, x) with one band
        Integer codes, True and False for 1 and 0, or floats that are whole numbers, as rioxarray's
        ``masked=True`` makes them; NaN is no data.

    Raises
    ------
    ClassMapError
        If it has another shape or fractions.
    """
    flat = _flat(array)
    for rows in _rows_of_chunks(flat):
        yield _strip_of(np.asarray(flat.isel(rows).values), flat.rio.nodata)


def _flat(array: xr.DataArray) -> xr.DataArray:
    """Return (y, x) of what may have more dims of one entry."""
    import rioxarray  # noqa: F401  (registers .rio)

    y, x = array.rio.y_dim, array.rio.x_dim
    others = [d for d in array.dims if d not in (y, x)]
    if any(array.sizes[d] != 1 for d in others):
        raise ClassMapError(
            f"the DataArray has dimensions {dict(array.sizes)}, expected (y, x) and at most one band"
        )
    return array.squeeze(others, drop=True).transpose(y, x)


def _rows_of_chunks(flat: xr.DataArray) -> Iterator[dict[Hashable, slice]]:
    """Cut the rows where chunks end."""
    y, row = flat.dims[0], 0
    for height in flat.chunksizes.get(y, (flat.sizes[y],)):
        yield {y: slice(row, row + height)}
        row += height


class ComputedTogether:
    """Rows of a lazy result whose codes and confidence come of one computation, so that it is not done twice.

    Parameters
    ----------
    codes, confidence : DataArray (y, x)
        Of one Dataset.
    """

    def __init__(self, codes: xr.DataArray, confidence: xr.DataArray) -> None:
        self._both = _flat(codes).to_dataset(name="landcover").assign(confidence=_flat(confidence))
        self._first = 0
        self._newest: npt.NDArray[np.uint8] = np.empty((0, 0), dtype=np.uint8)

    @classmethod
    def of(cls, source: object) -> ComputedTogether | None:
        """Return the rows of a lazy Dataset; None of everything else, and of the layers of a multilabel one."""
        dataset = dataset_of(source)
        if dataset is None or not {"landcover", "confidence"} <= set(dataset.data_vars):
            return None
        codes, share = dataset["landcover"], dataset["confidence"]
        lazy = codes.chunks is not None and share.chunks is not None
        return cls(codes, share) if lazy and "class" not in codes.dims else None

    def strips(self, _: int = 0) -> Iterator[Strip]:
        """As `strips_of`."""
        for rows in _rows_of_chunks(self._both["landcover"]):
            part = self._both.isel(rows).compute()
            self._first, self._newest = next(iter(rows.values())).start, confidence_of(part["confidence"])
            yield _strip_of(part["landcover"].to_numpy(), part["landcover"].rio.nodata)

    def confidence(self, row: int, stop: int) -> npt.NDArray[np.uint8]:
        """Confidence of rows of the newest strip."""
        return self._newest[row - self._first : stop - self._first]


def _strip_of(codes: npt.NDArray[Any], nodata: float | None) -> Strip:
    valid = np.ones(codes.shape, np.bool_) if nodata is None or np.isnan(nodata) else codes != nodata
    if np.issubdtype(codes.dtype, np.floating):
        valid &= np.isfinite(codes)
        whole = np.where(valid, codes, 0)
        if (whole != np.rint(whole)).any():
            raise ClassMapError(f"the DataArray is {codes.dtype} with fractions, expected integer codes")
        if (np.abs(whole) > _LARGEST).any():
            raise ClassMapError(f"the DataArray holds {np.abs(whole).max():g}, expected integer codes")
        codes = whole.astype(np.int64)
    elif codes.dtype == np.bool_:  # the mask of one class
        codes = codes.astype(np.uint8)
    return codes, valid


def layered_map_of(array: xr.DataArray, legend: Legend | None = None) -> LayeredMap:
    """Multilabel map of a DataArray as `geoseg.predict` returns it.

    Parameters
    ----------
    array : DataArray (class, y, x)
        1 where the class is, 0 where it is not; the names are the coordinate ``class``, the codes
        ``class_code`` (1 to n where it is not there), the colours ``class_color`` (where there is one).
    legend : Legend, optional
        Names and colours that count before these.

    Raises
    ------
    ClassMapError
        If the classes have no names, or the legend has another number of them.
    """
    count = array.sizes["class"]
    if "class" not in array.coords:
        if legend is None:
            raise ClassMapError("the DataArray has a dimension class without names; pass a legend")
    else:
        names = [str(name) for name in array.coords["class"].to_numpy()]
        stored = array.coords.get("class_code")
        codes = range(1, count + 1) if stored is None else stored.to_numpy().tolist()
        shown = array.coords.get("class_color")
        colors = [None] * count if shown is None else shown.to_numpy().tolist()
        own = Legend.of(zip(codes, names, colors, strict=True))
        legend = own if legend is None else own.relabelled(legend)
    if len(legend.classes) != count:
        raise ClassMapError(f"the DataArray has {count} classes and the legend {len(legend.classes)}")

    def strips(index: int) -> Iterator[Strip]:
        return strips_of(array.isel({"class": index}, drop=True))

    return LayeredMap(legend=legend, grid=grid_of(array), strips=strips)


def confidence_of(values: xr.DataArray | npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Confidence in steps of 1/254, 255 where there is none, from uint8 or from probabilities (NaN: none).

    Raises
    ------
    ClassMapError
        If the numbers are neither.
    """
    array = np.asarray(values)
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ClassMapError(f"confidence is {array.dtype}, expected uint8 (0 to 254) or floats from 0 to 1")
    present = np.isfinite(array)
    share = np.where(present, array, 0)
    if share.size and (share.min() < 0 or share.max() > 1):
        raise ClassMapError(f"confidence runs from {share.min():g} to {share.max():g}, expected 0 to 1")
    return np.where(present, np.rint(share * 254), NO_CONFIDENCE).astype(np.uint8)


def flags_of(attributes: dict[Any, Any]) -> Legend | None:
    """Return the legend of the CF attributes, where they are there and complete."""
    values = np.ravel(attributes.get("flag_values", [])).tolist()
    meanings = str(attributes.get("flag_meanings", "")).split()
    if not values or len(values) != len(meanings) or len(set(meanings)) != len(meanings):
        return None
    made_up = Legend.made_up(values, dict(zip(values, meanings, strict=True)))
    colors = str(attributes.get("flag_colors", "")).lower().split()
    if len(colors) != len(values):
        return made_up
    return Legend(
        classes=tuple(
            LegendClass(code=v, name=m, color=c) for v, m, c in zip(values, meanings, colors, strict=True)
        )
    )
