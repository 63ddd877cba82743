"""Class map from anywhere to polygons: the public verb."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.raster.classmap import ClassMap, read_class_map
from geoseg.raster.legend_file import legend_of
from geoseg.raster.scene import Scene
from geoseg.storage.output import claim
from geoseg.vector.areas import NO_CONFIDENCE
from geoseg.vector.features import Features
from geoseg.vector.geopackage import check_geopackage_name, check_layer_name, write_geopackage
from geoseg.vector.lattice import class_map_of, confidence_of
from geoseg.vector.polygonize import polygonize
from geoseg.vector.summary import hints

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    Source: TypeAlias = str | PathLike[str] | ClassMap | xr.DataArray | xr.Dataset | npt.NDArray[Any]
    LegendLike: TypeAlias = Legend | str | PathLike[str]
    Confidence: TypeAlias = str | PathLike[str] | xr.DataArray | npt.NDArray[Any]

_log = logging.getLogger(__name__)


@overload
def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = ...,
    legend: LegendLike | None = ...,
    output: None = ...,
) -> gpd.GeoDataFrame: ...


@overload
def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = ...,
    legend: LegendLike | None = ...,
    output: str | PathLike[str],
    layer: str = ...,
    overwrite: bool = ...,
) -> Path: ...


def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = None,
    legend: LegendLike | None = None,
    output: str | PathLike[str] | None = None,
    layer: str = "landcover",
    overwrite: bool = False,
) -> gpd.GeoDataFrame | Path:
    """Turn a class map into land-cover polygons.

    Parameters
    ----------
    source : path, ClassMap, xarray.DataArray, xarray.Dataset or (row, col) array
        Any integer class map. A Dataset is what `geoseg.predict` returns: its `landcover` and `confidence`. A
        plain array has no CRS, and pixels of 1 x 1.
    confidence : path, DataArray or (row, col) array, optional
        Probability of the written class on the same grid: uint8 in steps of 1/254 with 255 for none, or
        floats 0 to 1 with NaN for none.
    legend : Legend or path, optional
        Names and colours, or a CSV file of them, in place of the map's own.
    output : path, optional
        GeoPackage to write, ``.gpkg``; without it a GeoDataFrame is returned.
    layer : str
        Layer of the GeoPackage.
    overwrite : bool
        Whether `output` may replace a file.

    Returns
    -------
    GeoDataFrame or Path
        Polygons with `class_code`, `class_name`, `area_m2`, `pixels` and, where given, `confidence`; or
        `output`.

    Raises
    ------
    ClassMapError, LegendError, OptionError, OutputError
    """
    names = legend_of(legend)
    if output is None:
        return _features(source, confidence, names).to_geodataframe()
    check_layer_name(layer)
    path = Path(output)
    check_geopackage_name(path)
    with claim(path, overwrite=overwrite) as claimed:
        features = _features(source, confidence, names)
        for line in hints(features, predicted=False):
            _log.info(line)
        finished = claimed.scratch / path.name
        write_geopackage(finished, features, layer=layer)
        claimed.commit(finished)
    return path


def _features(source: Source, confidence: Confidence | None, legend: Legend | None) -> Features:
    class_map, own_confidence = _read(source, legend)
    given = own_confidence if confidence is None else confidence
    return polygonize(
        class_map.codes,
        class_map.valid,
        class_map.grid,
        legend=legend or class_map.legend,
        confidence=None if given is None else _read_confidence(given, class_map.grid),
    )


def _read(source: Source, legend: Legend | None) -> tuple[ClassMap, Confidence | None]:
    """Class map of a source, and the confidence that comes with it."""
    import xarray as xr

    if isinstance(source, ClassMap):
        return source, None
    if isinstance(source, str | PathLike):
        return read_class_map(Path(source), legend=legend), None
    if isinstance(source, xr.Dataset):
        if "landcover" not in source:
            names = ", ".join(map(str, source)) or "nothing"
            raise ClassMapError(f"the Dataset holds {names}, expected a variable landcover")
        return class_map_of(source["landcover"], legend), source.get("confidence")
    if isinstance(source, np.ndarray):
        rows = source[0] if source.ndim == 3 and len(source) == 1 else source
        if rows.ndim != 2:
            raise ClassMapError(f"the array has shape {source.shape}, expected (row, col)")
        source = xr.DataArray(rows, dims=("y", "x"))
    if not isinstance(source, xr.DataArray):
        raise ClassMapError(
            f"the class map is a {type(source).__name__}, expected a path, an array, a DataArray or a Dataset"
        )
    return class_map_of(source, legend), None


def _read_confidence(confidence: Confidence, grid: Grid) -> npt.NDArray[np.uint8]:
    """Confidence on the grid of the class map, uint8 with 255 for none."""
    if not isinstance(confidence, str | PathLike):
        return confidence_of(confidence)
    scene = Scene.open(confidence)
    if scene.count != 1:
        raise ClassMapError(f"{confidence}: has {scene.count} bands, expected one band of confidence")
    if problem := _misfit(scene.grid, grid):
        raise ClassMapError(f"{confidence}: does not lie on the grid of the class map: {problem}")
    chip = scene.read(Window(row=0, col=0, height=grid.height, width=grid.width))
    values = np.where(chip.valid, chip.pixels[0], 0)  # whatever is stored under no data may be anything
    return np.where(chip.valid, confidence_of(values), np.uint8(NO_CONFIDENCE))


def _misfit(found: Grid, expected: Grid) -> str:
    """Say how a grid differs from the one that was expected; nothing where they are the same."""
    if found.shape != expected.shape:
        return f"is {found.height} x {found.width} px, expected {expected.height} x {expected.width} px"
    if not found.transform.almost_equals(expected.transform):
        ours, theirs = (", ".join(f"{n:.10g}" for n in g.transform[:6]) for g in (found, expected))
        return f"its affine is {ours}, expected {theirs}"
    if found.crs and expected.crs and found.crs != expected.crs:
        from pyproj import CRS

        ours_crs, theirs_crs = CRS.from_wkt(found.crs), CRS.from_wkt(expected.crs)
        if not ours_crs.equals(theirs_crs, ignore_axis_order=True):
            return f"its CRS is {ours_crs.name}, expected {theirs_crs.name}"
    return ""
