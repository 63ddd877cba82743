"""The grid of an xarray DataArray, whichever library made it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine

from geoseg.errors import SceneError
from geoseg.grid.grid import SAME_PIXEL, Grid

_log = logging.getLogger("geoseg")

_UNEVEN = 0.1
"""px that a coordinate may lie off even spacing, which allows for float32 coordinates."""


def array_grid(array: Any, rows: Hashable, cols: Hashable) -> Grid:
    """Return the grid of a DataArray, from its coordinates and from the affine and CRS written into it.

    Parameters
    ----------
    array : DataArray
        Array with spatial coordinates, an affine, or neither.
    rows, cols : str
        Names of its dims of rows and columns.

    Returns
    -------
    Grid
        Grid whose affine refers to pixel corners, whether coordinates refer to corners or centres. It is the affine
        written into the array, bit for bit, if the coordinates agree: an affine computed from coordinates has rounding
        errors, but after slicing the written one is outdated.

    Raises
    ------
    SceneError
        If coordinates are not evenly spaced or do not tell the size of a pixel, or the CRS cannot be read.
    """
    # The letters of affines: x is along columns.
    x, y = _axis(array, cols), _axis(array, rows)
    mapping = _grid_mapping(array)
    bare = Grid(height=array.sizes[rows], width=array.sizes[cols], transform=Affine.identity())
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    written = None if text is None else _affine(str(text).split(), Affine.from_gdal)
    stackstac = _affine(array.attrs.get("transform"), Affine)
    if x is None or y is None:
        if (x is None) != (y is None):
            has, lacks = (rows, cols) if x is None else (cols, rows)
            raise SceneError(
                f"the array has coordinates along {has} and none along {lacks}; give it both, or none and "
                ".rio.write_transform()"
            )
        found = written or stackstac or bare.transform
    else:
        found = _of_coordinates(array, bare, (x, y), (written, stackstac))
    return replace(bare, transform=found, crs=_crs(array, mapping, rows, cols))


def _affine(numbers: Any, make: Callable[..., Affine]) -> Affine | None:
    """Return the affine of six numbers found in attributes; None if they are not six numbers."""
    try:
        found = make(*(float(number) for number in tuple(numbers)[:6]))
    except (TypeError, ValueError):
        return None
    return found if found.determinant else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Coordinates along a dimension: the first one and the step, None if there is only one."""

    dim: Hashable
    first: float
    step: float | None


def _axis(array: Any, dim: Hashable) -> _Axis | None:
    """Measure the coordinates along a dimension; return None if it has none."""
    if dim not in array.coords or not array.sizes[dim]:  # .get() makes up numbers from 0 on
        return None
    coord = array.coords[dim]
    if coord.dtype.kind not in "iuf":
        raise SceneError(f"the array's coordinates along {dim} are {coord.dtype}, expected numbers")
    values = coord.to_numpy().astype(np.float64)
    first = float(values[0])
    if len(values) == 1:
        told = coord.attrs.get("resolution")  # as odc writes it
        return _Axis(dim=dim, first=first, step=None if told is None else float(told))
    step = (float(values[-1]) - first) / (len(values) - 1)
    off = np.abs(values - (first + step * np.arange(len(values)))).max()
    if not (step and off <= _UNEVEN * abs(step)):
        raise SceneError(
            f"the array's coordinates along {dim} are not evenly spaced, which pixels of a raster are; resample it, "
            "as with .interp()"
        )
    return _Axis(dim=dim, first=first, step=step)


def _of_coordinates(
    array: Any, bare: Grid, axes: tuple[_Axis, _Axis], affines: tuple[Affine | None, Affine | None]
) -> Affine:
    """Return the affine of coordinates, or a written one that they agree with.

    Coordinates refer to pixel centres, except those of stackstac, which by default refer to corners.
    """
    written, stackstac = affines
    x, y = axes
    known = written or stackstac
    steps = [
        axis.step or (None if known is None else scale)
        for axis, scale in zip(axes, (known and (known.a, known.e)) or (None, None), strict=True)
    ]
    if not steps[0] or not steps[1]:
        dim = y.dim if steps[0] else x.dim
        raise SceneError(
            f"the array is one pixel long along {dim}, where its coordinate does not say the size of a pixel; write "
            "the affine into it with .rio.write_transform()"
        )
    found = Affine(steps[0], 0, x.first - steps[0] / 2, 0, steps[1], y.first - steps[1] / 2)
    if written is not None and array.coords[x.dim].attrs.get("units") == "pixel":
        return written @ found  # odc counts the pixels of a grid that is rotated
    found = _half_a_pixel(array, found, stackstac) @ found
    lattice = replace(bare, transform=found)
    for affine in (written, stackstac):
        if affine is not None and not lattice.differs_from(replace(bare, transform=affine)):
            return affine
    return found


def _half_a_pixel(array: Any, found: Affine, stackstac: Affine | None) -> Affine:
    """Return the shift from corners to centres if coordinates refer to corners, else the identity.

    They do if, taken for centres, they are half a pixel off the affine that stackstac wrote. Without its attributes its
    coordinate ``epsg`` is still there, and corners then are whole multiples of the pixel size.
    """
    if stackstac is None:
        epsg = array.coords.get("epsg")
        if epsg is None or epsg.ndim:
            return Affine.identity()
        stackstac = Affine.scale(abs(found.a), -abs(found.e))
    edges = np.abs((found.a, found.e)), np.abs((stackstac.a, stackstac.e))
    if not np.allclose(*edges, rtol=1e-6, atol=0):
        return Affine.identity()
    col, row = ~stackstac @ (found.c, found.f)
    halves = all(abs(abs(at - round(at)) - 0.5) < SAME_PIXEL for at in (col, row))
    return Affine.translation(stackstac.a / 2, stackstac.e / 2) if halves else Affine.identity()


def _grid_mapping(array: Any) -> Any:
    """Return the coordinate that holds the CRS: the named grid mapping, else any scalar with a CRS."""
    import rioxarray  # noqa: F401  (registers .rio)

    named = array.coords.get(array.rio.grid_mapping)
    if named is not None:
        return named
    scalars = (coord for coord in array.coords.values() if not coord.ndim)
    return next((coord for coord in scalars if {"spatial_ref", "crs_wkt"} & set(coord.attrs)), None)


def _crs(array: Any, mapping: Any, rows: Hashable, cols: Hashable) -> str | None:
    """Return the CRS as WKT, from any of the places where rioxarray, odc, stackstac and CF write it."""
    from pyproj.exceptions import CRSError as ProjError
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    told: list[Any] = (
        [] if mapping is None else [mapping.attrs.get(key) for key in ("spatial_ref", "crs_wkt")]
    )
    told += [array.coords[dim].attrs.get("crs") for dim in (rows, cols) if dim in array.coords]
    epsg = array.coords.get("epsg")
    if epsg is not None and not epsg.ndim and epsg.dtype.kind in "iu":
        told.append(int(epsg))
    try:
        found = array.rio.crs
        if found is None:
            found = next((CRS.from_user_input(_words(each)) for each in told if each is not None), None)
    except (CRSError, ProjError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SceneError(
            f"the array's CRS cannot be read ({reason}); write one with .rio.write_crs()"
        ) from error
    if found is None and _is_geographic(array, rows, cols):
        _log.info("the array's coordinates are latitude and longitude without a CRS; taken for EPSG:4326")
        found = CRS.from_epsg(4326)
    return None if found is None else str(found.to_wkt())


def _words(crs: Any) -> Any:
    """Return a CRS as rasterio accepts it; some attributes hold an object of another library."""
    return crs if isinstance(crs, str | int) or hasattr(crs, "to_wkt") else str(crs)


def _is_geographic(array: Any, rows: Hashable, cols: Hashable) -> bool:
    """Tell whether dimensions are latitude and longitude, by name or CF attribute, and hold degrees."""
    for dim, names, low, high in (
        (rows, ("lat", "latitude"), -90, 90),
        (cols, ("lon", "longitude"), -180, 360),
    ):
        if dim not in array.coords:
            return False
        coord = array.coords[dim]
        if not {str(dim).lower(), coord.attrs.get("standard_name")} & set(names):
            return False
        if not (low <= float(coord.min()) and float(coord.max()) <= high):
            return False
    return True
