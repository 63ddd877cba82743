"""Class maps, multilabel maps and confidence from xarray and numpy objects."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError, SceneError, plural
from geoseg.grid.legend import Legend, LegendClass
from geoseg.polygons.areas import NO_CONFIDENCE
from geoseg.raster.classmap import LayeredMap, Strip
from geoseg.raster.legend_file import LEGEND_TAG, legend_from_json
from geoseg.raster.xarray_bridge import grid_of_array, is_dataset, raster_variables, spatial_dims
from geoseg.raster.xarray_encodings import StoredBand
from geoseg.raster.xarray_results import flag_meaning

if TYPE_CHECKING:
    import xarray as xr

_LARGEST = 2**53
"""Magnitude above which floats cannot represent all integers, so that they cannot be codes."""


def map_variable(dataset: xr.Dataset) -> xr.DataArray:
    """Return the class map in a Dataset: its variable ``landcover``, or its only raster variable.

    Raises
    ------
    ClassMapError
        If there is no such variable, or several.
    """
    try:
        arrays = {str(array.name): array for array in raster_variables(dataset)}
    except SceneError as error:
        held = ", ".join(map(str, dataset)) or "nothing"
        raise ClassMapError(
            f"the Dataset holds {held}, expected a variable landcover of rows and columns"
        ) from error
    if "landcover" not in arrays and len(arrays) > 1:
        first = next(iter(arrays))
        raise ClassMapError(
            f"the Dataset holds {', '.join(arrays)}, expected a variable landcover or a single one; pass the class "
            f"map alone, such as dataset[{first!r}]"
        )
    found: xr.DataArray = arrays.get("landcover", next(iter(arrays.values())))
    return found


def strips_of(array: xr.DataArray) -> Iterator[Strip]:
    """Yield the rows of a DataArray from top to bottom, chunk by chunk if it is lazy.

    Parameters
    ----------
    array : DataArray (y, x), or with more dimensions of size one
        Integer codes, booleans for 1 and 0, or floats with whole numbers, as made by rioxarray's ``masked=True``;
        NaN is no data.

    Raises
    ------
    ClassMapError
        If it has another shape or fractional values.
    """
    flat, nodata = flat_array(array), StoredBand.of(array).nodata
    for rows in _rows_of_chunks(flat):
        yield codes_and_valid(np.asarray(flat.isel(rows).values), nodata)


def flat_array(array: xr.DataArray) -> xr.DataArray:
    """Drop dimensions of size one and return the array as (y, x).

    Raises
    ------
    ClassMapError
        If another dimension has several entries.
    """
    spatial = spatial_dims(array)
    others = [dim for dim in array.dims if dim not in spatial]
    several = [dim for dim in others if array.sizes[dim] != 1]
    if several:
        raise ClassMapError(
            f"the DataArray has dimensions {dict(array.sizes)}, expected (y, x) and at most one band; choose one, "
            f"such as .isel({several[0]}=0)"
        )
    return array.squeeze(others, drop=True).transpose(*spatial)


def _rows_of_chunks(flat: xr.DataArray) -> Iterator[dict[Hashable, slice]]:
    """Yield the row ranges of the chunks."""
    y, row = flat.dims[0], 0
    for height in flat.chunksizes.get(y, (flat.sizes[y],)):
        yield {y: slice(row, row + height)}
        row += height


class ComputedTogether:
    """Rows of a lazy result whose codes and confidence are computed together, to avoid computing twice.

    Parameters
    ----------
    codes, confidence : DataArray (y, x)
        Variables of one Dataset.
    """

    def __init__(self, codes: xr.DataArray, confidence: xr.DataArray) -> None:
        self._both = flat_array(codes).to_dataset(name="landcover").assign(confidence=flat_array(confidence))
        self._nodata = StoredBand.of(codes).nodata
        self._first = 0
        self._shares: npt.NDArray[np.uint8] = np.empty((0, 0), dtype=np.uint8)

    @classmethod
    def of(cls, source: Any) -> ComputedTogether | None:
        """Return the rows of a lazy Dataset; None for anything else, and for multilabel Datasets."""
        if not is_dataset(source) or not {"landcover", "confidence"} <= set(source.data_vars):
            return None
        codes, share = source["landcover"], source["confidence"]
        lazy = codes.chunks is not None and share.chunks is not None
        return cls(codes, share) if lazy and "class" not in codes.dims else None

    def strips(self, _: int = 0) -> Iterator[Strip]:
        """Yield the rows as `strips_of` does."""
        self._first, self._shares = 0, self._shares[:0, :0]
        for rows in _rows_of_chunks(self._both["landcover"]):
            part = self._both.isel(rows).compute()
            shares = share_of_array(part["confidence"])
            self._shares = np.concatenate([self._shares, shares]) if self._shares.size else shares
            yield codes_and_valid(part["landcover"].to_numpy(), self._nodata)

    def confidence(self, row: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the confidence of rows that were yielded, and forget that of the rows above them."""
        self._shares, self._first = self._shares[row - self._first :], row
        return self._shares[: stop - row]


def codes_and_valid(codes: npt.NDArray[Any], nodata: Sequence[float] = ()) -> Strip:
    """Return rows of a class map as integers, and which of their pixels are valid.

    Parameters
    ----------
    codes : ndarray (row, col)
        Codes as in `strips_of`.
    nodata : sequence of float
        No-data values; NaN always is no data.

    Raises
    ------
    ClassMapError
        If there are fractions, or values too large for codes.
    """
    valid = np.ones(codes.shape, np.bool_)
    for value in nodata:
        valid &= codes != value
    if np.issubdtype(codes.dtype, np.floating):
        valid &= np.isfinite(codes)
        whole = np.where(valid, codes, 0)
        if (whole != np.rint(whole)).any():
            raise ClassMapError(f"the class map is {codes.dtype} with fractions, expected integer codes")
        if (np.abs(whole) > _LARGEST).any():
            raise ClassMapError(f"the class map holds {np.abs(whole).max():g}, expected integer codes")
        codes = whole.astype(np.int64)
    elif codes.dtype == np.bool_:  # the mask of one class
        codes = codes.astype(np.uint8)
    return codes, valid


def layered_map_of(array: xr.DataArray, legend: Legend | None = None) -> LayeredMap:
    """Make a multilabel map of a DataArray from `geoseg.predict`.

    Parameters
    ----------
    array : DataArray (class, y, x)
        1 where the class is present, else 0, with names in the coordinate ``class``, codes in ``class_code`` (1 to n
        by default) and colours in ``class_color`` (optional).
    legend : Legend, optional
        Names and colours that take precedence.

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
        raise ClassMapError(
            f"the DataArray has {plural(count, 'class')} and the legend {len(legend.classes)}"
        )

    def strips(index: int) -> Iterator[Strip]:
        return strips_of(array.isel({"class": index}, drop=True))

    return LayeredMap(legend=legend, grid=grid_of_array(array), strips=strips)


def share_planes(share: Any, what: str) -> list[xr.DataArray]:
    """Return the bands (y, x) of confidence or probabilities in a DataArray or Dataset.

    Parameters
    ----------
    share : DataArray or Dataset
        Array (y, x), or with one band per class, with dims in any order; of a Dataset the variable called `what`, or
        the only one.
    what : str
        Either ``confidence`` or ``probabilities``.

    Raises
    ------
    ClassMapError
        If it has more dimensions, or several variables.
    """
    if is_dataset(share):
        arrays = {str(array.name): array for array in raster_variables(share)}
        if what not in arrays and len(arrays) > 1:
            raise ClassMapError(
                f"the {what} is a Dataset of {', '.join(arrays)}, expected a variable {what} or a single one"
            )
        share = arrays.get(what, next(iter(arrays.values())))
    spatial = spatial_dims(share)
    several = [dim for dim in share.dims if dim not in spatial and share.sizes[dim] != 1]
    if len(several) > 1:
        raise ClassMapError(
            f"the {what} has dimensions {dict(share.sizes)}, expected (y, x) and at most one more; choose one entry "
            f"with .isel({several[0]}=0)"
        )
    if not several:
        return [flat_array(share)]
    return [flat_array(share.isel({several[0]: place})) for place in range(share.sizes[several[0]])]


def share_of_array(plane: xr.DataArray) -> npt.NDArray[np.uint8]:
    """Convert rows of a band from `share_planes` as `confidence_of` does, with 255 for no data."""
    band, values = StoredBand.of(plane), plane.to_numpy()
    stored = band.restore(values)
    if stored is None:  # an encoding left over from before the values were changed
        band, stored = StoredBand.plain(plane), values
    if not band.nodata:
        return confidence_of(stored)
    missing = np.isin(stored, band.nodata)
    shares = confidence_of(np.where(missing, stored.dtype.type(0), stored))
    return np.where(missing, np.uint8(NO_CONFIDENCE), shares)


def confidence_of(values: xr.DataArray | npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert confidence to steps of 1/254, 255 for none, from uint8 or from probabilities (NaN for none).

    Raises
    ------
    ClassMapError
        If the values are neither.
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


def legend_of_array(array: xr.DataArray) -> Legend | None:
    """Return the legend that the attributes of a class map hold; None if they name no classes, or none of its own.

    A mask that was computed from a class map, such as ``landcover == 2``, keeps the attributes of the map: its True
    is not the class with code 1. So only flags of 0 and 1 name the classes of booleans, and never ``GEOSEG_LEGEND``,
    since geoseg writes no booleans.

    Raises
    ------
    LegendError
        If ``GEOSEG_LEGEND`` is damaged.
    """
    if array.dtype != np.bool_:
        return legend_of_attributes(array.attrs)
    flags = None if LEGEND_TAG in array.attrs else _flags(array.attrs)
    return flags if flags is not None and set(flags.codes) <= {0, 1} else None


def legend_of_attributes(attributes: dict[Any, Any]) -> Legend | None:
    """Return the legend of an array; None if its attributes name no classes.

    CF's flags decide, since other programs read and write them. Whole names, with their blanks, are in
    ``GEOSEG_LEGEND``, which arrays read from a file of geoseg have alone.

    Raises
    ------
    LegendError
        If ``GEOSEG_LEGEND`` is damaged.
    """
    text, flags = attributes.get(LEGEND_TAG), _flags(attributes)
    if text is None:
        return flags
    tagged = legend_from_json(str(text))
    if flags is None:
        return tagged
    whole = {(c.code, flag_meaning(c.name)): c.name for c in tagged.classes}
    return Legend(
        classes=tuple(
            LegendClass(code=c.code, name=whole.get((c.code, c.name), c.name), color=c.color)
            for c in flags.classes
        )
    )


def _flags(attributes: dict[Any, Any]) -> Legend | None:
    """Return the legend in CF flag attributes; None if they are missing or incomplete."""
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
