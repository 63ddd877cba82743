"""xarray's view of a scene and of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.array_scene import ArraySource

if TYPE_CHECKING:
    import xarray


def source_of_dataarray(array: xarray.DataArray) -> ArraySource:
    """Read a georeferenced DataArray as a scene.

    Parameters
    ----------
    array : DataArray with dims (band, y, x) or (y, x)
        Its CRS and transform are those of its ``rio`` accessor, its band names the ``long_name`` attribute or
        text coordinates of ``band``. NaN and the no-data value are invalid.
    """
    import rioxarray  # noqa: F401  (registers .rio)

    if array.ndim == 2:
        array = array.expand_dims("band")
    rows, cols = array.rio.y_dim, array.rio.x_dim
    if array.ndim != 3:
        raise SceneError(f"the DataArray has dims {', '.join(map(str, array.dims))}, expected (band, y, x)")
    (band,) = (dim for dim in array.dims if dim not in (rows, cols))
    array = array.transpose(band, rows, cols)
    pixels = np.asarray(array.to_numpy())
    return ArraySource.of(
        pixels,
        grid=grid_of(array),
        nodata=array.rio.nodata,
        names=_band_names(array, str(band)),
    )


def grid_of(array: xarray.DataArray) -> Grid:
    """Grid of a DataArray that rioxarray understands."""
    crs = array.rio.crs
    return Grid(
        height=int(array.rio.height),
        width=int(array.rio.width),
        transform=array.rio.transform(),
        crs=None if crs is None else crs.to_wkt(),
    )


def _band_names(array: xarray.DataArray, dim: str) -> tuple[str | None, ...]:
    names = array.attrs.get("long_name")
    if isinstance(names, tuple | list) and len(names) == array.sizes[dim]:
        return tuple(str(name) for name in names)
    if dim in array.coords and array.coords[dim].dtype.kind in "UO":
        return tuple(str(name) for name in array.coords[dim].to_numpy())
    return (None,) * array.sizes[dim]


def dataset_of(
    codes: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8], grid: Grid, legend: Legend
) -> xarray.Dataset:
    """Return the result of a prediction as a georeferenced Dataset.

    Parameters
    ----------
    codes, confidence : ndarray of uint8, shape (y, x)
        As the engine gives them.
    grid : Grid
    legend : Legend

    Returns
    -------
    Dataset
        ``landcover`` uint8 with CF ``flag_values`` and ``flag_meanings``, 255 no data; ``confidence`` float32
        0 to 1, NaN no data.
    """
    import rioxarray  # noqa: F401  (registers .rio)
    import xarray

    from geoseg.inference.engine import CONFIDENCE_STEPS

    share = np.where(
        confidence == NODATA, np.float32(np.nan), confidence.astype(np.float32) / CONFIDENCE_STEPS
    )
    dataset = xarray.Dataset(
        {"landcover": (("y", "x"), codes), "confidence": (("y", "x"), share.astype(np.float32))},
        coords=_centres(grid),
    )
    dataset["landcover"].attrs = {
        "long_name": "land cover",
        "flag_values": np.array(legend.codes, dtype=np.uint8),
        # CF separates meanings by blanks, so names must not hold any.
        "flag_meanings": " ".join("_".join(name.split()) for name in legend.names),
        "_FillValue": np.uint8(NODATA),
    }
    dataset["confidence"].attrs = {"long_name": "probability of the written class", "units": "1"}
    if grid.crs is not None:
        dataset = dataset.rio.write_crs(grid.crs)
    result: Any = dataset.rio.write_transform(grid.transform)
    return result  # type: ignore[no-any-return]


def _centres(grid: Grid) -> dict[str, Any]:
    """Coordinates of pixel centres; a rotated grid has none along single axes."""
    t = grid.transform
    if t.b or t.d:
        return {}
    return {
        "y": ("y", t.f + (np.arange(grid.height) + 0.5) * t.e),
        "x": ("x", t.c + (np.arange(grid.width) + 0.5) * t.a),
    }
