"""Polygons back to a class map: the public verb."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from affine import Affine

from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import nodata_of
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import RASTER_SUFFIXES, claim

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from geoseg.inference.summary import ClassCount
    from geoseg.vector.map_rows import Codes, NoData
    from geoseg.vector.overlap import Overlap
    from geoseg.vector.polygon_source import PolygonSource

    Like: TypeAlias = str | PathLike[str] | Grid | xr.DataArray | xr.Dataset

_log = logging.getLogger(__name__)
_LONGEST = 2**31 - 1  # px, of a GeoTIFF's edge
_MOST = 10**11
"""Pixels of a grid that only a resolution asks for; the world in pixels of 100 m has fewer, and more take hours."""


@overload
def rasterize(
    source: str | PathLike[str] | gpd.GeoDataFrame,
    *,
    like: Like | None = ...,
    resolution: float | None = ...,
    layer: str | None = ...,
    legend: Legend | str | PathLike[str] | None = ...,
    overlap: Overlap = ...,
    encoding: str | None = ...,
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
    overlap: Overlap = ...,
    encoding: str | None = ...,
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
    overlap: Overlap = "smallest",
    encoding: str | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> xr.DataArray | Path:
    """Turn land-cover polygons into a class map: the inverse of `geoseg.vectorize`.

    A pixel gets the class of the polygon that its centre lies in; 255 where there is none. Polygons of a class map
    that were not simplified, on the grid of that map, give it back pixel by pixel.

    The code of a polygon is the truth. What a class is called says `legend`, else the layer's style, else the name
    that most of its polygons have; how many have another name is logged, and how many have no code and are left out.

    Parameters
    ----------
    source : path or GeoDataFrame
        With `class_code` (0 to 254, or to 65534, see below); `class_name` where there is. Polygons and multipolygons.
    like : path, Grid, DataArray or Dataset, optional
        Any raster, whose grid the map gets. By default the grid that the file says its polygons were traced on.
    resolution : float, optional
        Edge of pixels in units of the polygons' CRS, in place of `like`: the map begins at the north-western
        corner of their extent.
    layer : str, optional
        Of the file; the only one by default.
    legend : Legend or path, optional
        Names and colours in place of those of the polygons and their style.
    overlap : str
        Whose class a pixel in several polygons has: that of the ``smallest`` (of equal ones the last), of the ``last``
        in the file, or none (``ignore``).
    encoding : str, optional
        Of the text of a Shapefile that does not say it, such as ``cp949``.
    output : path, optional
        GeoTIFF to write, ``.tif``. Without it an array is returned.
    overwrite : bool
        Whether `output` may replace a file.

    Returns
    -------
    DataArray (y, x) of uint8, or Path
        Of uint16, with 65535 for no data, where a code is above 254.

    Raises
    ------
    DataError
        If the polygons cannot be read, have no classes, or none of them lies on the grid.
    OptionError
        If it is not said on which grid.
    OutputError
    """
    choices = Choices(
        like=like,
        resolution=resolution,
        layer=layer,
        legend=legend_of(legend),
        overlap=overlap,
        encoding=encoding,
    )
    if output is not None:
        rasterize_file(source, Path(output), choices, overwrite=overwrite)
        return Path(output)
    from geoseg.inference.lattice import dataset_of

    job = _Job.of(source, choices)
    _check_memory(job)
    codes = np.concatenate(list(job.rows()))
    job.check(int((codes != job.nodata).sum()))
    unknown = np.broadcast_to(np.uint8(255), codes.shape)
    return dataset_of(codes, unknown, job.grid, job.legend)["landcover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a person chooses about a map of polygons; as `rasterize` takes it."""

    like: Any = None
    resolution: float | None = None
    layer: str | None = None
    legend: Legend | None = None
    overlap: Overlap = "smallest"
    encoding: str | None = None


def rasterize_file(
    source: Any, output: Path, choices: Choices, *, overwrite: bool = False
) -> tuple[Grid, ClassCount]:
    """Write the class map of polygons as `rasterize` does; return its grid and what it counts."""
    job = _Job.of(source, choices)
    return job.grid, job.write(output, overwrite=overwrite)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """Polygons that are about to become a map: all that is known before they are burned."""

    polygons: PolygonSource
    grid: Grid
    legend: Legend
    overlap: Overlap
    nodata: NoData

    @classmethod
    def of(cls, source: Any, choices: Choices) -> _Job:
        """Open the polygons, and find the grid and the legend of their map."""
        from geoseg.vector.overlap import check_overlap
        from geoseg.vector.polygon_source import PolygonFile, PolygonFrame

        check_overlap(choices.overlap)
        polygons: PolygonSource
        if isinstance(source, str | PathLike):
            polygons = PolygonFile.open(Path(source), choices.layer, choices.encoding)
        else:
            polygons = PolygonFrame(frame=source)
        if choices.like is not None and choices.resolution is not None:
            raise OptionError(
                "like is a raster with a grid and resolution makes one, expected one of the two"
            )
        if choices.resolution is not None:
            grid = _of_resolution(polygons, choices.resolution)
        else:
            grid = _of_like(polygons, choices.like)
        given = choices.legend
        if given is not None and (strange := given.strange_to(polygons.called.names)):
            _log.warning("%s: %s; no class gets a name of it", polygons.name, strange)
        legend = polygons.called.legend(given)
        if legend is None:
            raise DataError(f"{polygons.name}: has no polygons, and no legend says what they would be of")
        job = cls(
            polygons=polygons, grid=grid, legend=legend, overlap=choices.overlap, nodata=nodata_of(legend)
        )
        job.check(None)
        return job

    def rows(self) -> Iterator[Codes]:
        """Burn the polygons, from the first row to the last."""
        from geoseg.vector.map_rows import map_rows

        return map_rows(self.polygons, self.grid, overlap=self.overlap, nodata=self.nodata)

    def write(self, output: Path, *, overwrite: bool) -> ClassCount:
        """Write, verify and commit the map."""
        from geoseg.inference.summary import ClassCount
        from geoseg.raster.classmap import class_map_sidecars, write_cog

        if output.suffix.lower() not in RASTER_SUFFIXES:
            raise OptionError(f"{output}: rasters are written as GeoTIFF, expected a name that ends in .tif")
        count = ClassCount(self.legend, nodata=int(self.nodata))
        with claim(output, overwrite=overwrite) as claimed:
            finished = claimed.prepare()
            rows = count.watch(self.rows())
            write_cog(finished, rows, self.grid, legend=self.legend, description="land cover", tags={})
            self.check(count.valid)
            claimed.commit(finished, sidecars=class_map_sidecars(self.legend))
        return count

    def check(self, pixels: int | None) -> None:
        """Raise DataError where the map is empty though there are polygons: before they are burned, and after."""
        extent = self.polygons.bounds
        if pixels or extent is None:
            return
        from geoseg.vector.reprojection import Reprojection

        way = Reprojection.between(self.polygons.crs, self.grid, path=Path(self.polygons.name))
        wanted = self.grid.bounds if self.grid.crs is None else way.bounds_in_file(margin=0)
        if pixels is None and (wanted is None or _meet(extent, wanted)):
            return
        where = f"they span {_corners(extent)}" + (f", the grid {_corners(wanted)}" if wanted else "")
        raise DataError(
            f"{self.polygons.name}: none of its polygons holds the centre of a pixel of the grid ({where}, both in the "
            "polygons' CRS); do both have the right CRS?"
        )


def _check_memory(job: _Job) -> None:
    """Refuse an array that the memory does not hold, before anything is burned."""
    import psutil

    height, width = job.grid.shape
    needed = 2 * height * width * job.nodata.itemsize  # the rows, and the array that is made of them
    free = psutil.virtual_memory().available
    if needed > free:
        raise OptionError(
            f"the map has {width:,} x {height:,} px and needs {needed / 1e9:,.1f} GB of memory, of which "
            f"{free / 1e9:,.1f} are free; pass output with the name of a file to write"
        )


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _corners(bounds: tuple[float, ...]) -> str:
    west, south, east, north = (f"{value:.9g}" for value in bounds)
    return f"{west}, {south} to {east}, {north}"


def _of_like(polygons: PolygonSource, like: Like | None) -> Grid:
    """Grid of a raster, or the one that the polygons say."""
    if like is None:
        return _of_metadata(polygons)
    if isinstance(like, Grid):
        return like
    if isinstance(like, str | PathLike):
        from geoseg.raster.scene import grid_of_raster

        return grid_of_raster(like)
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


def _unit(crs: str | None) -> str:
    """Name the unit of a CRS, for messages."""
    from pyproj import CRS

    name = CRS.from_wkt(crs).axis_info[0].unit_name if crs else ""
    return {"metre": "metres", "degree": "degrees"}.get(name, name or "units")


def _of_resolution(polygons: PolygonSource, resolution: float) -> Grid:
    if not (math.isfinite(resolution) and resolution > 0):
        raise OptionError(f"the resolution is {resolution}, expected a number above 0, in units of the CRS")
    extent = polygons.bounds
    if extent is None:
        raise OptionError(f"{polygons.name}: has no polygons and so no extent; pass --like with a raster")
    west, south, east, north = extent
    # A millionth of a pixel: coordinates are rounded.
    edges = [edge / resolution - 1e-6 for edge in (east - west, north - south)]
    if not max(edges) < _LONGEST or (resolution > east - west and resolution > north - south):
        raise OptionError(
            f"the resolution is {resolution:g} and the polygons span {east - west:g} x {north - south:g} "
            f"{_unit(polygons.crs)}, as their CRS has it: expected pixels that fit in; pass --like for the grid of a "
            "raster in another CRS"
        )
    width, height = (max(1, math.ceil(edge)) for edge in edges)
    if width * height > _MOST:
        raise OptionError(
            f"the resolution is {resolution:g}, which makes a map of {width:,} x {height:,} px "
            f"({width * height / 1e9:,.0f} GB before compression), expected at most {_MOST / 1e9:.0f} GB; choose "
            f"larger pixels (in {_unit(polygons.crs)}), or pass --like with a raster that has such a grid"
        )
    transform = Affine(resolution, 0, west, 0, -resolution, north)
    return Grid(height=height, width=width, transform=transform, crs=polygons.crs)
