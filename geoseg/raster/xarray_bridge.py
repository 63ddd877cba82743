"""xarray objects as rasters: roles of their dimensions, names and encodings of their bands, and their grid.

`geoseg.predict`, `vectorize` and `rasterize` all read xarray objects through this module.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.xarray_bands import band_names
from geoseg.raster.xarray_encodings import Scaling, StoredBand, band_scaling, scaling_of_variables
from geoseg.raster.xarray_grid import array_grid

if TYPE_CHECKING:
    import xarray

Spatial = tuple[Hashable, Hashable]
"""Names of the row and column dimensions."""

_BAND = "geoseg_band"
"""Name of the band dim that is added to an array without one."""


def is_xarray(thing: Any) -> bool:
    """Return whether an object is a DataArray or Dataset, without importing xarray."""
    return hasattr(thing, "dims") and hasattr(thing, "coords")


def is_dataset(thing: Any) -> TypeGuard[xarray.Dataset]:
    """Return whether an object is a Dataset, without importing xarray."""
    return is_xarray(thing) and hasattr(thing, "data_vars")


def is_lazy(thing: Any) -> bool:
    """Return whether an object is an xarray object made of dask arrays."""
    graph = getattr(thing, "__dask_graph__", None)
    return is_xarray(thing) and graph is not None and graph() is not None


def grid_of_array(thing: Any) -> Grid:
    """Return the grid of a DataArray, or of the raster variables of a Dataset.

    Parameters
    ----------
    thing : DataArray or Dataset
        Object with row and column dimensions, and any others.

    Raises
    ------
    SceneError
        If there are no such dimensions, or no regular grid.
    """
    array = raster_variables(thing)[0] if is_dataset(thing) else thing
    return array_grid(array, *spatial_dims(array))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RasterArray:
    """A DataArray, or a Dataset with one variable per band, described without reading pixels.

    Parameters
    ----------
    data : DataArray (kept, band, y, x) or Dataset of (kept, y, x)
        The arrays, with dims in any order.
    kept : str or None
        Dim that is neither bands nor spatial, such as ``time``; each of its entries is a scene.
    band_dim : str or None
        Dim of the bands, for a DataArray that has one.
    spatial : (str, str)
        Names of the dims of rows and columns.
    grid : Grid
        Grid of the arrays.
    names : tuple of str or None
        Names of the bands.
    stored : tuple of StoredBand
        How the values of the bands convert to stored values.
    scaling : (tuple of float, tuple of float) or None
        Scales and offsets of the bands, if any has one.
    """

    data: xarray.DataArray | xarray.Dataset
    kept: Hashable | None
    band_dim: Hashable | None
    spatial: Spatial
    grid: Grid
    names: tuple[str | None, ...]
    stored: tuple[StoredBand, ...]
    scaling: Scaling | None

    @classmethod
    def of(cls, thing: Any) -> RasterArray:
        """Describe a DataArray or Dataset as a raster.

        Raises
        ------
        SceneError
            If its dims are not those of a raster.
        """
        if is_dataset(thing):
            return cls._of_dataset(thing)
        spatial = spatial_dims(thing)
        kept, band = _other_dims(thing, [dim for dim in thing.dims if dim not in spatial])
        names = band_names(thing, band)
        return cls(
            data=thing, kept=kept, band_dim=band, spatial=spatial, grid=array_grid(thing, *spatial), names=names,
            stored=(StoredBand.of(thing),) * len(names), scaling=band_scaling(thing, band),
        )  # fmt: skip

    @classmethod
    def _of_dataset(cls, dataset: Any) -> RasterArray:
        """Use every variable with rows and columns as a band of that name, or the only one as an array."""
        dataset = _with_own_names(dataset)
        arrays = raster_variables(dataset)
        spatial = spatial_dims(arrays[0])
        others = list(dict.fromkeys(dim for array in arrays for dim in array.dims if dim not in spatial))
        if len(arrays) == 1 and _other_dims(arrays[0], others)[1] is not None:
            return cls.of(arrays[0])
        if len(others) > 1:
            listed = ", ".join(sorted(map(str, others)))
            raise SceneError(
                f"the Dataset's bands have dims {listed} beside rows and columns, expected one such as time; "
                "choose one with .isel()"
            )
        names = [str(array.name) for array in arrays]
        return cls(
            data=dataset[[array.name for array in arrays]], kept=next(iter(others), None), band_dim=None,
            spatial=spatial, grid=array_grid(arrays[0], *spatial), names=tuple(names),
            stored=tuple(map(StoredBand.of, arrays)), scaling=scaling_of_variables(arrays),
        )  # fmt: skip

    def variable(self, place: int) -> Any:
        """Return the DataArray that holds a band, by its index from 0."""
        if is_dataset(self.data):
            return self.data[list(self.data.data_vars)[place]]
        return self.data

    def plane(self, place: int) -> npt.NDArray[Any]:
        """Return a band (row, col), by its index from 0, as a view; with `kept` before it if there is one."""
        array = self.variable(place)
        if self.band_dim is not None:
            array = array.isel({self.band_dim: place})
        kept = [] if self.kept is None or self.kept not in array.dims else [self.kept]
        return np.asarray(array.transpose(*kept, *self.spatial).to_numpy())

    def stack(self, places: Sequence[int]) -> xarray.DataArray:
        """Return bands, by their indices from 0, as (kept, band, y, x), without `kept` if there is none."""
        data: Any = self.data
        band: Hashable
        if is_dataset(data):
            names = list(data.data_vars)
            array, band = data[[names[place] for place in places]].to_dataarray(_BAND), _BAND
        elif self.band_dim is None:
            array, band = data.expand_dims(_BAND), _BAND
        else:
            array, band = data, self.band_dim
            if list(places) != list(range(array.sizes[band])):
                array = array.isel({band: list(places)})
        kept = [] if self.kept is None else [self.kept]
        stacked: xarray.DataArray = array.transpose(*kept, band, *self.spatial)
        return stacked

    def crop(self, window: Window) -> RasterArray:
        """Return the part inside a window."""
        rows, cols = window.slices
        part = self.data.isel({self.spatial[0]: rows, self.spatial[1]: cols})
        return replace(self, data=part, grid=self.grid.cropped(window))

    def coords(self) -> dict[Hashable, Any]:
        """Return the coordinates of a result, which are those of the arrays, so that both align.

        Those of rows and columns only if they are pixel centres; of the others those that do not belong to bands.
        """
        found: dict[Hashable, Any] = dict(pixel_centres(self.grid, self.spatial))
        mapping = str(self.variable(0).rio.grid_mapping)
        for name, coord in self.data.coords.items():
            if name in self.spatial:
                ours = found.get(name)
                if ours is not None and _same_places(coord.to_numpy(), ours[1]):
                    found[name] = (name, coord.to_numpy(), ours[2] | coord.attrs)
            elif set(coord.dims) <= {self.kept} and name not in ("band", "class", self.band_dim, mapping):
                chunked = coord.chunks is not None and coord.ndim
                found[name] = coord.variable.chunk(1) if chunked else coord.variable
        return found


def spatial_dims(array: Any) -> Spatial:
    """Return the names of the row and column dimensions.

    These are the ones that rioxarray finds (y and x, latitude and longitude, or by CF attributes), or lat and lon.

    Raises
    ------
    SceneError
        If there are no such dimensions.
    """
    found = _spatial_dims(array)
    if found is None:
        raise SceneError(
            f"{_dims(array)}, expected (band, y, x) and at most one more, such as time; rename them with .rename()"
        )
    return found


def raster_variables(dataset: Any) -> list[Any]:
    """Return the variables of a Dataset with the row and column dimensions of the first that has such.

    Raises
    ------
    SceneError
        If no variable has rows and columns.
    """
    arrays = [dataset[name] for name in dataset.data_vars if dataset[name].ndim >= 2]
    spatial = next((found for found in map(_spatial_dims, arrays) if found is not None), None)
    if spatial is None:
        held = ", ".join(map(str, dataset)) or "nothing"
        problem = f"the Dataset ({held}) has no variable of rows and columns"
        if arrays:
            dims = ", ".join(map(str, arrays[0].dims))
            problem += (
                f" ({arrays[0].name} has dims {dims}), expected y and x, or lat and lon; .rename() them"
            )
        raise SceneError(problem)
    # Some libraries write the CRS or the affine to the Dataset, not to its variables.
    shared = {key: dataset.attrs[key] for key in ("crs", "transform") if key in dataset.attrs}
    return [
        array.assign_attrs(shared | array.attrs) if shared else array
        for array in arrays
        if set(spatial) <= set(array.dims)
    ]


def pixel_centres(grid: Grid, dims: Spatial) -> dict[Hashable, Any]:
    """Return the coordinates of pixel centres by dimension; empty for a rotated grid, which has none per axis."""
    t = grid.transform
    if t.b or t.d:
        return {}
    # Without CF attributes, rioxarray would not recognize dimensions named lat and lon.
    geographic = {str(dim).lower() for dim in dims} & {"lat", "lon", "latitude", "longitude"}
    words: tuple[dict[str, str], dict[str, str]] = ({}, {})
    if geographic:
        words = (
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        )
    return {
        dims[0]: (dims[0], t.f + t.e * (np.arange(grid.height) + 0.5), words[0]),
        dims[1]: (dims[1], t.c + t.a * (np.arange(grid.width) + 0.5), words[1]),
    }


def _spatial_dims(array: Any) -> Spatial | None:
    import rioxarray  # noqa: F401  (registers .rio)
    from rioxarray.exceptions import MissingSpatialDimensionError

    try:
        return array.rio.y_dim, array.rio.x_dim
    except MissingSpatialDimensionError:
        lower = {str(dim).lower(): dim for dim in array.dims}
        pairs = (("lat", "lon"), ("latitude", "longitude"), ("y", "x"))
        return next(((lower[y], lower[x]) for y, x in pairs if {y, x} <= set(lower)), None)


def _other_dims(array: Any, others: list[Hashable]) -> tuple[Hashable | None, Hashable | None]:
    """Return the non-spatial dimension to keep (such as time) and that of the bands, or None."""
    times = [
        dim
        for dim in others
        if dim == "time" or (dim in array.coords and array.coords[dim].dtype.kind == "M")
    ]
    if not others:
        return None, None
    if len(others) == 1:
        return (others[0], None) if times else (None, others[0])
    band = "band" if "band" in others else next((dim for dim in others if times and dim not in times), None)
    if len(others) > 2 or band is None:
        raise SceneError(
            f"{_dims(array)}, expected (band, y, x) and at most one more, such as time; choose one with .isel()"
        )
    return next(dim for dim in others if dim != band), band


def _dims(array: Any) -> str:
    return f"the DataArray has dims ({', '.join(map(str, array.dims))})"


def _with_own_names(dataset: Any) -> Any:
    """Rename the variables band_1, band_2, ... of ``band_as_variable`` to their ``long_name``."""
    names = {name: array.attrs.get("long_name") for name, array in dataset.data_vars.items()}
    counted = {name: own for name, own in names.items() if re.fullmatch(r"band_\d+", str(name))}
    told = all(isinstance(own, str) and own for own in counted.values())
    if not told or len({*names, *counted.values()}) < len(names) + len(counted):
        return dataset
    return dataset.rename(counted)


def _same_places(coords: npt.NDArray[Any], centres: npt.NDArray[np.float64]) -> bool:
    """Return whether coordinates are pixel centres, to a thousandth of a pixel."""
    if coords.dtype.kind not in "iuf" or coords.shape != centres.shape:
        return False
    step = abs(centres[1] - centres[0]) if len(centres) > 1 else 1.0
    return bool((np.abs(coords - centres) <= 1e-3 * step).all())
