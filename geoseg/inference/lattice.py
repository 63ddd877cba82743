"""xarray's view of a scene and of a result."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Whole numbers of a file of which ``masked=True`` made floats, with NaN for no data.

    Parameters
    ----------
    dtype : dtype
        Of the file.
    nodata : float
        What NaN was.
    """

    dtype: np.dtype[Any]
    nodata: float

    @classmethod
    def of(cls, array: xarray.DataArray) -> Stored | None:
        """Ask the encoding; None where nothing was changed."""
        nodata, dtype = array.rio.encoded_nodata, np.dtype(array.encoding.get("rasterio_dtype", array.dtype))
        if nodata is None or array.dtype.kind != "f" or dtype.kind not in "iu" or not np.isfinite(nodata):
            return None
        return cls(dtype=dtype, nodata=float(nodata))

    def restore(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return the numbers of the file, or None where these are not made of them."""
        filled = np.where(np.isnan(pixels), self.nodata, pixels)
        with np.errstate(invalid="ignore"):
            stored = filled.astype(self.dtype)
        return stored if np.array_equal(stored, filled) else None


Scaling = tuple[tuple[float, ...], tuple[float, ...]]
"""Scales and offsets, one a band."""


def scaling_of(array: xarray.DataArray, count: int) -> Scaling | None:
    """Scale and offset of each band that rioxarray read from a file; 1 and 0 where it applied them already."""
    tags = array.attrs | array.encoding
    scales = tags.get("scales", [tags.get("scale_factor", 1.0)] * count)
    offsets = tags.get("offsets", [tags.get("add_offset", 0.0)] * count)
    found = tuple(float(scale) for scale in scales), tuple(float(offset) for offset in offsets)
    if set(found[0]) == {1.0} and set(found[1]) == {0.0}:
        return None
    if "scale_factor" in array.encoding or "scales" in array.encoding:
        return (1.0,) * count, (0.0,) * count
    return found


def grid_of(array: xarray.DataArray) -> Grid:
    """Grid of a DataArray that rioxarray understands."""
    crs = array.rio.crs
    return Grid(
        height=int(array.rio.height),
        width=int(array.rio.width),
        transform=_transform(array),
        crs=None if crs is None else crs.to_wkt(),
    )


def _transform(array: xarray.DataArray) -> Affine:
    """Affine of a DataArray: the one that was written into it, bit for bit, where its coordinates agree.

    Computed from coordinates it comes out a unit in the last place off; but after a slice the written one is
    stale. Coordinates are of pixel centres, but for those of stackstac: of corners, unless asked otherwise.
    """
    found: Affine = array.rio.transform()
    mapping = array.coords.get(array.rio.grid_mapping)
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    if text is not None:
        written = Affine.from_gdal(*(float(part) for part in str(text).split()))
    elif "transform" in array.attrs:
        written = Affine(*array.attrs["transform"][:6])
        if _of_corners(found, written):
            found = found @ Affine.translation(0.5, 0.5)
    else:
        return found
    # A thousandth of a pixel: coordinates are rounded, a slice moves by whole ones.
    near = 1e-3 * min(abs(found.a) + abs(found.b), abs(found.d) + abs(found.e))
    return written if written.almost_equals(found, near) else found


def _of_corners(found: Affine, written: Affine) -> bool:
    """Whether coordinates, taken for those of centres, are half a pixel off the lattice that was written."""
    if not np.allclose((found.a, found.e), (written.a, written.e), rtol=1e-6, atol=0):
        return False
    col, row = ~written @ (found.c, found.f)
    return all(abs(abs(at - round(at)) - 0.5) < 1e-3 for at in (col, row))


def band_names(array: xarray.DataArray, dim: Hashable) -> tuple[str | None, ...]:
    """Names of the bands: ``long_name``, or the coordinates of their dim where they are text."""
    names = array.attrs.get("long_name")
    if isinstance(names, str) and array.sizes[dim] == 1:
        return (names,)
    if isinstance(names, tuple | list) and len(names) == array.sizes[dim]:
        return tuple(str(name) for name in names)
    if dim in array.coords and array.coords[dim].dtype.kind in "UO":
        return tuple(str(name) for name in array.coords[dim].to_numpy())
    return (None,) * array.sizes[dim]


def with_own_names(dataset: xarray.Dataset) -> xarray.Dataset:
    """Name variables that rioxarray counted (``band_as_variable``: band_1, band_2, ...) as their ``long_name`` does."""
    names = {name: array.attrs.get("long_name") for name, array in dataset.data_vars.items()}
    counted = {name: own for name, own in names.items() if re.fullmatch(r"band_\d+", str(name))}
    told = all(isinstance(own, str) and own for own in counted.values())
    if not told or len({*names, *counted.values()}) < len(names) + len(counted):
        return dataset
    return dataset.rename(counted)


def dataset_of(
    codes: Any,
    confidence: Any,
    grid: Grid,
    legend: Legend,
    dims: Sequence[Hashable] | None = None,
    coords: Mapping[Any, Any] | None = None,
) -> xarray.Dataset:
    """Return the result of a prediction as a georeferenced Dataset.

    Parameters
    ----------
    codes, confidence : ndarray or dask array of uint8, shape (y, x), of a multilabel task (class, y, x)
        As the engine gives them.
    grid : Grid
    legend : Legend
    dims : sequence of str, optional
        Names of the axes where there are others, or others are called so.
    coords : mapping, optional
        Coordinates of these dims, but of ``class``; centres of pixels by default.

    Returns
    -------
    Dataset
        ``landcover`` uint8 with CF ``flag_values``, ``flag_meanings`` and ``flag_colors``, 255 no data;
        ``confidence`` float32 0 to 1, NaN no data. Of a multilabel task both have a dim ``class`` first, whose
        coordinates are names (``class``), codes (``class_code``) and colours (``class_color``), and
        ``landcover`` is 1 where the class is, else 0.
    """
    import rioxarray  # noqa: F401  (registers .rio)
    import xarray

    dims = tuple(dims or (("class", "y", "x") if codes.ndim == 3 else ("y", "x")))
    layered = "class" in dims
    if hasattr(confidence, "map_blocks"):
        share = confidence.map_blocks(_share_of, dtype=np.float32)
    else:
        share = _share_of(confidence)
    coords = centres(grid, ("y", "x")) if coords is None else coords
    dataset = xarray.Dataset(
        {"landcover": (dims, codes), "confidence": (dims, share)},
        coords={**coords, **(_layers(legend) if layered else {})},
    )
    values = (0, 1) if layered else legend.codes
    # CF separates meanings by blanks, so names must not hold any.
    meanings = ("absent", "present") if layered else ("_".join(name.split()) for name in legend.names)
    dataset["landcover"].attrs = {
        "long_name": "land cover",
        "flag_values": np.array(values, dtype=codes.dtype),
        "flag_meanings": " ".join(meanings),
        "_FillValue": codes.dtype.type(np.iinfo(codes.dtype).max),
    }
    if not layered:
        dataset["landcover"].attrs["flag_colors"] = " ".join(c.color for c in legend.classes)
    dataset["confidence"].attrs = {
        "long_name": "probability of the written class",
        "units": "1",
        "_FillValue": np.float32(np.nan),
    }
    if grid.crs is not None:
        dataset = dataset.rio.write_crs(grid.crs)
    result: Any = dataset.rio.write_transform(grid.transform)
    return result  # type: ignore[no-any-return]


def with_probabilities(dataset: xarray.Dataset, shares: Any, legend: Legend) -> xarray.Dataset:
    """Add the probability of each class to the result of a prediction.

    Parameters
    ----------
    dataset : Dataset
        As `dataset_of` makes it.
    shares : ndarray or dask array of float32, shape (class, y, x), behind further axes of the result
        In ascending order of the codes; NaN no data.
    legend : Legend
    """
    *kept, rows, cols = (dim for dim in dataset["landcover"].dims if dim != "class")
    made = dataset.assign(probabilities=((*kept, "class", rows, cols), shares)).assign_coords(_layers(legend))
    made["probabilities"].attrs = {
        "long_name": "probability of each class",
        "units": "1",
        "_FillValue": np.float32(np.nan),
    }
    grid_mapping = dataset["landcover"].encoding.get("grid_mapping")
    if grid_mapping is not None:
        made["probabilities"].encoding["grid_mapping"] = grid_mapping
    return made


def _layers(legend: Legend) -> dict[str, Any]:
    """Coordinates of the classes, where each has its own rows and columns."""
    return {
        "class": ("class", np.array(legend.names)),
        "class_code": ("class", np.array(legend.codes, dtype=np.uint8)),
        "class_color": ("class", np.array([c.color for c in legend.classes])),
    }


def _share_of(confidence: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Probabilities, NaN for no data."""
    from geoseg.engine.storage import CONFIDENCE_STEPS

    share = confidence.astype(np.float32) / CONFIDENCE_STEPS
    return np.where(confidence == NODATA, np.float32(np.nan), share).astype(np.float32)


def centres(grid: Grid, dims: tuple[Hashable, Hashable]) -> dict[Hashable, Any]:
    """Coordinates of pixel centres along rows and columns; a rotated grid has none along single axes."""
    t = grid.transform
    if t.b or t.d:
        return {}
    return {
        dims[0]: (dims[0], t.f + (np.arange(grid.height) + 0.5) * t.e),
        dims[1]: (dims[1], t.c + (np.arange(grid.width) + 0.5) * t.a),
    }
