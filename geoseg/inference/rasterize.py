"""Polygons back to a class map: the public verb."""

from __future__ import annotations

import json
import math
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from affine import Affine

from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import RASTER_SUFFIXES, claim

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from geoseg.inference.summary import ClassCount
    from geoseg.vector.polygon_source import PolygonSource

    Like: TypeAlias = str | PathLike[str] | Grid | xr.DataArray | xr.Dataset

_LONGEST = 2**31 - 1  # px, of a GeoTIFF's edge


@overload
def rasterize(
    source: str | PathLike[str] | gpd.GeoDataFrame,
    *,
    like: Like | None = ...,
    resolution: float | None = ...,
    layer: str | None = ...,
    legend: Legend | str | PathLike[str] | None = ...,
    output: None = ...,
) -> xr.DataArray: ...


@overload
def rasterize(
    source: str | PathLike[str] | gpd.GeoDataFrame,
    *,
    like: Like | None = ...,
    resolution: float | None = ...,
    layer: str | None = ...,
    legend: Legend | str | PathLike[str] | None = ...,
    output: str | PathLike[str],
    overwrite: bool = ...,
) -> Path: ...


def rasterize(
    source: str | PathLike[str] | gpd.GeoDataFrame,
    *,
    like: Like | None = None,
    resolution: float | None = None,
    layer: str | None = None,
    legend: Legend | str | PathLike[str] | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> xr.DataArray | Path:
    """Turn land-cover polygons into a class map: the inverse of `geoseg.vectorize`.

    A pixel gets the class of the polygon that its centre lies in, of several the last one; 255 where there is
    none. Polygons of a class map that were not simplified, on the grid of that map, give it back pixel by pixel.

    Parameters
    ----------
    source : path or GeoDataFrame
        With `class_code` (0 to 254); `class_name` where there is.
    like : path, Grid, DataArray or Dataset, optional
        Raster whose grid the map gets. By default the grid that the file says its polygons were traced on.
    resolution : float, optional
        Edge of pixels in units of the polygons' CRS, in place of `like`: the map begins at the north-western
        corner of their extent.
    layer : str, optional
        Of the file; the only one by default.
    legend : Legend or path, optional
        Names and colours in place of those of the polygons and their style.
    output : path, optional
        GeoTIFF to write, ``.tif``. Without it an array is returned.
    overwrite : bool
        Whether `output` may replace a file.

    Returns
    -------
    DataArray (y, x) of uint8, or Path

    Raises
    ------
    DataError
        If the polygons cannot be read or have no classes.
    OptionError
        If it is not said on which grid.
    OutputError
    """
    target = None if output is None else Path(output)
    polygons, grid, classes = _prepared(source, like, resolution, layer, legend_of(legend))
    if target is not None:
        write_map(polygons, grid, classes, target, overwrite=overwrite)
        return target
    from geoseg.inference.lattice import dataset_of
    from geoseg.vector.map_rows import map_rows

    codes = np.concatenate(list(map_rows(polygons, grid)))
    return dataset_of(codes, np.broadcast_to(np.uint8(255), codes.shape), grid, classes)["landcover"]


def rasterize_file(
    source: Path,
    output: Path,
    *,
    like: Path | None = None,
    resolution: float | None = None,
    layer: str | None = None,
    legend: Legend | None = None,
    overwrite: bool = False,
) -> tuple[Grid, ClassCount]:
    """Write the class map of a file of polygons as `rasterize` does; return its grid and what it counts."""
    polygons, grid, classes = _prepared(source, like, resolution, layer, legend)
    return grid, write_map(polygons, grid, classes, output, overwrite=overwrite)


def write_map(
    polygons: PolygonSource, grid: Grid, legend: Legend, output: Path, *, overwrite: bool
) -> ClassCount:
    """Write, verify and commit the class map of polygons."""
    from geoseg.inference.summary import ClassCount
    from geoseg.raster.classmap import class_map_sidecars, write_cog
    from geoseg.vector.map_rows import map_rows

    if output.suffix.lower() not in RASTER_SUFFIXES:
        raise OptionError(f"{output}: rasters are written as GeoTIFF, expected a name that ends in .tif")
    count = ClassCount(legend)
    with claim(output, overwrite=overwrite) as claimed:
        finished = claimed.prepare()
        rows = count.watch(map_rows(polygons, grid))
        write_cog(finished, rows, grid, legend=legend, description="land cover", tags={})
        claimed.commit(finished, sidecars=class_map_sidecars(legend))
    return count


def _prepared(
    source: Any, like: Like | None, resolution: float | None, layer: str | None, legend: Legend | None
) -> tuple[PolygonSource, Grid, Legend]:
    """Open the polygons, and find the grid and the legend of their map."""
    from geoseg.vector.polygon_source import PolygonFile, PolygonFrame
    from geoseg.vector.stream import complete_legend

    polygons: PolygonSource
    if isinstance(source, str | PathLike):
        polygons = PolygonFile.open(Path(source), layer)
    else:
        polygons = PolygonFrame(frame=source)
    if like is not None and resolution is not None:
        raise OptionError("like is a raster with a grid and resolution makes one, expected one of the two")
    grid = _of_resolution(polygons, resolution) if resolution is not None else _of_like(polygons, like)
    own = polygons.legend()
    classes = legend or own
    if classes is None:
        raise DataError(f"{polygons.name}: has no polygons, and no legend says what they would be of")
    classes = complete_legend(classes, own.codes if own else ())
    classes.require_bytes()
    return polygons, grid, classes


def _of_like(polygons: PolygonSource, like: Like | None) -> Grid:
    """Grid of a raster, or the one that the polygons say."""
    if like is None:
        return _of_metadata(polygons)
    if isinstance(like, Grid):
        return like
    if isinstance(like, str | PathLike):
        from geoseg.raster.scene import Scene

        return Scene.open(like).grid
    from geoseg.inference.lattice import grid_of

    return grid_of(like)  # type: ignore[arg-type]


def _of_metadata(polygons: PolygonSource) -> Grid:
    known = polygons.grids()
    remedy = "pass --like with a raster on the grid, or --resolution"
    if len(known) != 1:
        problem = (
            "polygons were traced on several grids"
            if known
            else "nothing says on which grid they were traced"
        )
        raise OptionError(f"{polygons.name}: {problem}; {remedy}")
    try:
        height, width = (int(known[0][edge]) for edge in ("height", "width"))
        a, b, c, d, e, f = (float(number) for number in known[0]["transform"])
        grid = Grid(height=height, width=width, transform=Affine(a, b, c, d, e, f), crs=polygons.crs)
        if min(height, width) < 1 or not grid.pixel_area:
            raise ValueError("no pixels")
    except (KeyError, TypeError, ValueError) as error:
        words = json.dumps(known[0])[:200]
        raise OptionError(f"{polygons.name}: the grid that is said, {words}, is none; {remedy}") from error
    if not _holds(grid, polygons):
        raise OptionError(f"{polygons.name}: polygons lie outside of the grid that is said; {remedy}")
    return grid


def _holds(grid: Grid, polygons: PolygonSource) -> bool:
    """Whether all polygons lie on a grid, but for the rounding of coordinates."""
    extent = polygons.bounds
    if extent is None:
        return True
    margin = math.sqrt(grid.pixel_area) / 2
    west, south, east, north = grid.bounds
    inside = west - margin <= extent[0] and south - margin <= extent[1]
    return inside and extent[2] <= east + margin and extent[3] <= north + margin


def _of_resolution(polygons: PolygonSource, resolution: float) -> Grid:
    if not (math.isfinite(resolution) and resolution > 0):
        raise OptionError(f"the resolution is {resolution}, expected a number above 0, in units of the CRS")
    extent = polygons.bounds
    if extent is None:
        raise OptionError(f"{polygons.name}: has no polygons and so no extent; pass --like with a raster")
    west, south, east, north = extent
    # A millionth of a pixel: coordinates are rounded.
    width, height = (max(1, math.ceil(edge / resolution - 1e-6)) for edge in (east - west, north - south))
    if max(width, height) > _LONGEST or (resolution > east - west and resolution > north - south):
        raise OptionError(
            f"the resolution is {resolution:g} and the polygons span {east - west:g} x {north - south:g} in units of "
            "their CRS: expected pixels that fit in"
        )
    transform = Affine(resolution, 0, west, 0, -resolution, north)
    return Grid(height=height, width=width, transform=transform, crs=polygons.crs)
