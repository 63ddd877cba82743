"""The verb rasterize: polygons back to a class map."""

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

from geoseg.errors import DataError, Message, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons.proof import stated_grid
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.classmap import nodata_of
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import claim, refuse_without_output
from geoseg.storage.sidecars import RASTER_SUFFIXES

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from geoseg.labels.overlap import Overlap
    from geoseg.storage.run_record import ClassCount
    from geoseg.vector.map_rows import Codes, NoData
    from geoseg.vector.polygon_source import PolygonSource

    Like: TypeAlias = str | PathLike[str] | Grid | xr.DataArray | xr.Dataset

_log = logging.getLogger(__name__)
_LONGEST = 2**31 - 1  # px, of a GeoTIFF's edge
_MOST = 10**11
"""Most pixels of a grid given by a resolution only; the world in pixels of 100 m has fewer, and more take hours."""


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
    progress: ShowProgress = ...,
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
    progress: ShowProgress = ...,
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
    progress: ShowProgress = None,
) -> xr.DataArray | Path:
    """Turn land-cover polygons into a class map: the inverse of `geoseg.vectorize`.

    A pixel gets the class of the polygon in which its centre lies, or 255. Unsimplified polygons of a class map, on the
    grid of that map, give it back pixel by pixel.

    The codes of the polygons are authoritative. The name of a class is that in `legend`, else in the layer's style,
    else that of most of its polygons. The number of polygons with another name, and of those left out for lack of a
    code, is logged.

    Parameters
    ----------
    source : path or GeoDataFrame
        Polygons and multipolygons with `class_code` (0 to 254, or to 65534, see below) and optionally `class_name`.
    like : path, Grid, DataArray or Dataset, optional
        Any raster whose grid the map gets. By default the grid on which the polygons were traced, if the file records
        it.
    resolution : float, optional
        Pixel size in units of the polygons' CRS, instead of `like`: the map begins at the north-western corner of
        their extent.
    layer : str, optional
        Layer of the file; by default its only one.
    legend : Legend or path, optional
        Names and colours that take precedence over those of the polygons and their style.
    overlap : str
        Which class a pixel in several polygons gets: that of the ``smallest`` (among equals the last), of the ``last``
        in the file, or none (``ignore``).
    encoding : str, optional
        Text encoding of a Shapefile that does not declare it, such as ``cp949``.
    output : path, optional
        GeoTIFF to write, ``.tif``; by default an array is returned.
    overwrite : bool
        Whether `output` may replace a file.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    DataArray (y, x) of uint8, or Path
        The class map, or the path of the file. It is uint16, with 65535 for no data, if a code is above 254.

    Raises
    ------
    DataError
        If the polygons cannot be read, have no classes, or none of them lies on the grid.
    OptionError
        If the grid is neither given nor recorded in the file.
    OutputError
        If the file exists or cannot be written.
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
        with shown(progress) as told:
            rasterize_file(source, Path(output), choices, overwrite=overwrite, progress=told)
        return Path(output)
    refuse_without_output(overwrite=overwrite)
    from geoseg.raster.xarray_results import result_dataset

    job = _Job.of(source, choices)
    _check_memory(job)
    with shown(progress) as told:
        codes = np.concatenate(list(job.rows(told)))
    job.check(int((codes != job.nodata).sum()))
    unknown = np.broadcast_to(np.uint8(255), codes.shape)
    return result_dataset(codes, unknown, job.grid, job.legend)["landcover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Options of `rasterize`."""

    like: Any = None
    resolution: float | None = None
    layer: str | None = None
    legend: Legend | None = None
    overlap: Overlap = "smallest"
    encoding: str | None = None


def rasterize_file(
    source: Any,
    output: Path,
    choices: Choices,
    *,
    overwrite: bool = False,
    progress: OnProgress | None = None,
) -> tuple[Grid, ClassCount]:
    """Write the class map of polygons as `rasterize` does; return its grid and its counts."""
    job = _Job.of(source, choices)
    return job.grid, job.write(output, progress, overwrite=overwrite)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """A rasterization that is about to start: everything known before polygons are burned."""

    polygons: PolygonSource
    grid: Grid
    legend: Legend
    overlap: Overlap
    nodata: NoData

    @classmethod
    def of(cls, source: Any, choices: Choices) -> _Job:
        """Open the polygons, and determine the grid and the legend of the map."""
        from geoseg.labels.overlap import check_overlap
        from geoseg.vector.polygon_source import PolygonFile, PolygonFrame

        check_overlap(choices.overlap)
        polygons: PolygonSource
        if isinstance(source, str | PathLike):
            polygons = PolygonFile.open(Path(source), choices.layer, choices.encoding)
        else:
            for name in ("layer", "encoding"):
                if getattr(choices, name) is not None:
                    raise OptionError(f"{name} is of files, and the polygons are a frame; leave it out")
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
            _log.warning("%s: %s; no class is renamed", polygons.name, strange)
        legend = polygons.called.legend(given)
        if legend is None:
            raise DataError(f"{polygons.name}: has no polygons, and no legend was given")
        job = cls(
            polygons=polygons, grid=grid, legend=legend, overlap=choices.overlap, nodata=nodata_of(legend)
        )
        job.check(None)
        return job

    def rows(self, told: OnProgress | None) -> Iterator[Codes]:
        """Burn the polygons from the first row to the last; `told` is called with the number of finished rows."""
        from geoseg.vector.map_rows import map_rows

        done = 0
        for rows in map_rows(self.polygons, self.grid, overlap=self.overlap, nodata=self.nodata):
            done += len(rows)
            yield rows
            if told is not None:
                told(done, self.grid.height, "rasterize")

    def write(self, output: Path, told: OnProgress | None, *, overwrite: bool) -> ClassCount:
        """Write, verify and commit the map."""
        from geoseg.raster.classmap import class_map_sidecars, write_cog
        from geoseg.storage.run_record import ClassCount

        if output.suffix.lower() not in RASTER_SUFFIXES:
            raise OptionError(f"{output}: rasters are written as GeoTIFF, expected a name that ends in .tif")
        count = ClassCount(self.legend, nodata=int(self.nodata))
        with claim(output, overwrite=overwrite) as claimed:
            finished = claimed.prepare()
            rows = count.watch(self.rows(told))
            write_cog(finished, rows, self.grid, legend=self.legend, description="land cover", tags={})
            self.check(count.valid)
            claimed.commit(finished, sidecars=class_map_sidecars(self.legend))
        return count

    def check(self, pixels: int | None) -> None:
        """Raise DataError if the map is empty although there are polygons: before they are burned, and after."""
        extent = self.polygons.bounds
        if pixels or extent is None:
            return
        from geoseg.vectorfiles.reprojection import Reprojection

        way = Reprojection.between(
            self.polygons.crs, self.grid, path=self.polygons.path, name=self.polygons.name
        )
        wanted = self.grid.bounds if self.grid.crs is None else way.bounds_in_file(margin=0, extent=extent)
        if pixels is None and (wanted is None or _meet(extent, wanted)):
            return
        where = f"they span {_corners(extent)}" + (f", the grid {_corners(wanted)}" if wanted else "")
        raise DataError(
            f"{self.polygons.name}: none of its polygons holds the centre of a pixel of the grid ({where}, both in the "
            "polygons' CRS); do both have the right CRS?"
        )


def _check_memory(job: _Job) -> None:
    """Refuse an array that does not fit into memory, before anything is burned."""
    import psutil

    height, width = job.grid.shape
    needed = 2 * height * width * job.nodata.itemsize  # the rows, and the array that they are joined to
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
    """Return the grid of a raster, or the one recorded with the polygons."""
    if like is None:
        return _of_metadata(polygons)
    if isinstance(like, Grid):
        return like
    if isinstance(like, str | PathLike):
        from geoseg.raster.scene import grid_of_raster

        return grid_of_raster(like)
    from geoseg.raster.xarray_bridge import grid_of_array, is_xarray

    if not is_xarray(like):
        raise OptionError(
            f"like is a {type(like).__name__}, expected the path of a raster, a Grid, a DataArray or a Dataset"
        )
    return grid_of_array(like)


def _of_metadata(polygons: PolygonSource) -> Grid:
    known = polygons.grids()
    remedy = Message("pass {like} with a raster on the grid, or {resolution}")
    grids = [stated_grid(words, polygons.crs) for words in known]
    grid = grids[0] if grids else None
    if grid is None and known:
        words = json.dumps(known[0])[:200]
        raise OptionError(f"{polygons.name}: the grid in its metadata, {words}, is not valid", remedy)
    if grid is None or any(other is None or other.differs_from(grid) for other in grids):
        problem = (
            "polygons were traced on several grids"
            if known
            else "nothing says on which grid they were traced"
        )
        raise OptionError(f"{polygons.name}: {problem}", remedy)
    if not _holds(grid, polygons):
        raise OptionError(f"{polygons.name}: polygons lie outside the grid in its metadata", remedy)
    return grid


def _holds(grid: Grid, polygons: PolygonSource) -> bool:
    """Tell whether all polygons lie on a grid, up to rounding of coordinates."""
    extent = polygons.bounds
    if extent is None:
        return True
    margin = math.sqrt(grid.pixel_area) / 2
    west, south, east, north = grid.bounds
    inside = west - margin <= extent[0] and south - margin <= extent[1]
    return inside and extent[2] <= east + margin and extent[3] <= north + margin


def _unit(crs: str | None) -> str:
    """Return the name of the unit of a CRS, for messages."""
    from pyproj import CRS

    name = CRS.from_wkt(crs).axis_info[0].unit_name if crs else ""
    return {"metre": "metres", "degree": "degrees"}.get(name, name or "units")


def _of_resolution(polygons: PolygonSource, resolution: float) -> Grid:
    if not (math.isfinite(resolution) and resolution > 0):
        raise OptionError(f"the resolution is {resolution}, expected a number above 0, in units of the CRS")
    extent = polygons.bounds
    if extent is None:
        raise OptionError(
            f"{polygons.name}: has no polygons and so no extent", Message("pass {like} with a raster")
        )
    west, south, east, north = extent
    # A millionth of a pixel allows for rounded coordinates.
    edges = [edge / resolution - 1e-6 for edge in (east - west, north - south)]
    if not max(edges) < _LONGEST or (resolution > east - west and resolution > north - south):
        raise OptionError(
            f"the resolution is {resolution:g} and the polygons span {east - west:g} x {north - south:g} "
            f"{_unit(polygons.crs)}, as their CRS has it: expected pixels that fit in",
            Message("pass {like} for the grid of a raster in another CRS"),
        )
    width, height = (max(1, math.ceil(edge)) for edge in edges)
    if width * height > _MOST:
        raise OptionError(
            f"the resolution is {resolution:g}, which makes a map of {width:,} x {height:,} px "
            f"({width * height / 1e9:,.0f} GB before compression), expected at most {_MOST / 1e9:.0f} GB",
            Message(
                "choose larger pixels (in {}), or pass {like} with a raster that has such a grid",
                _unit(polygons.crs),
            ),
        )
    transform = Affine(resolution, 0, west, 0, -resolution, north)
    return Grid(height=height, width=width, transform=transform, crs=polygons.crs)
