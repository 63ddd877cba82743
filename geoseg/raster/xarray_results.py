"""Results as georeferenced xarray Datasets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.legend_file import LEGEND_TAG, legend_to_json
from geoseg.raster.xarray_bridge import pixel_centres

if TYPE_CHECKING:
    import xarray


def result_dataset(
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
        Codes and stored confidence from the engine.
    grid : Grid
        Grid of the result.
    legend : Legend
        Meaning of the codes.
    dims : sequence of str, optional
        Names of the axes, if they are not the default ones.
    coords : mapping, optional
        Coordinates of the dimensions except ``class``; pixel centres by default.

    Returns
    -------
    Dataset
        ``landcover`` uint8 with CF ``flag_values``, ``flag_meanings`` and ``flag_colors``, 255 no data, and with the
        whole names of the classes in ``GEOSEG_LEGEND``, as class maps in files have them;
        ``confidence`` float32 0 to 1, NaN no data. For a multilabel task both have a first dimension ``class`` with
        coordinates for names (``class``), codes (``class_code``) and colours (``class_color``), and ``landcover`` is
        1 where the class is present, else 0.
    """
    import rioxarray  # noqa: F401  (registers .rio)
    import xarray

    dims = tuple(dims or (("class", "y", "x") if codes.ndim == 3 else ("y", "x")))
    layered = "class" in dims
    if hasattr(confidence, "map_blocks"):
        share = confidence.map_blocks(_share_of, dtype=np.float32)
    else:
        share = _share_of(confidence)
    coords = pixel_centres(grid, ("y", "x")) if coords is None else coords
    dataset = xarray.Dataset(
        {"landcover": (dims, codes), "confidence": (dims, share)},
        coords={**coords, **(_layers(legend) if layered else {})},
    )
    values = (0, 1) if layered else legend.codes
    meanings = ("absent", "present") if layered else map(flag_meaning, legend.names)
    dataset["landcover"].attrs = {
        "long_name": "land cover",
        "flag_values": np.array(values, dtype=codes.dtype),
        "flag_meanings": " ".join(meanings),
        "_FillValue": codes.dtype.type(np.iinfo(codes.dtype).max),
    }
    if not layered:
        dataset["landcover"].attrs["flag_colors"] = " ".join(c.color for c in legend.classes)
        dataset["landcover"].attrs[LEGEND_TAG] = legend_to_json(legend)
    dataset["confidence"].attrs = {
        "long_name": "probability of the written class",
        "units": "1",
        "_FillValue": np.float32(np.nan),
    }
    if grid.crs is not None:
        dataset = dataset.rio.write_crs(grid.crs)
    result: Any = dataset.rio.write_transform(grid.transform)
    return result  # type: ignore[no-any-return]


def flag_meaning(name: str) -> str:
    """Return the name of a class without blanks, by which CF separates ``flag_meanings``."""
    return "_".join(name.split())


def with_probabilities(dataset: xarray.Dataset, shares: Any, legend: Legend) -> xarray.Dataset:
    """Add the probability of each class to the result of a prediction.

    Parameters
    ----------
    dataset : Dataset
        As `result_dataset` makes it.
    shares : ndarray or dask array of float32, shape (class, y, x), behind further axes of the result
        Probabilities in ascending order of the codes; NaN is no data.
    legend : Legend
        Classes of the probabilities.
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
    """Return the coordinates of the class dimension."""
    return {
        "class": ("class", np.array(legend.names)),
        "class_code": ("class", np.array(legend.codes, dtype=np.uint8)),
        "class_color": ("class", np.array([c.color for c in legend.classes])),
    }


def _share_of(confidence: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Convert stored confidence to probabilities, with NaN for no data."""
    from geoseg.raster.band_encoding import CONFIDENCE_STEPS

    share = confidence.astype(np.float32) / CONFIDENCE_STEPS
    return np.where(confidence == NODATA, np.float32(np.nan), share).astype(np.float32)
