"""Class map from anywhere to polygons: the public verb."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.raster.classmap import ClassMap, LayeredMap, read_map
from geoseg.raster.legend_file import legend_of
from geoseg.raster.scene import Scene
from geoseg.storage.output import claim
from geoseg.vector.areas import NO_CONFIDENCE
from geoseg.vector.features import Features
from geoseg.vector.geopackage import check_geopackage_name, check_layer_name, write_geopackage
from geoseg.vector.lattice import class_map_of, confidence_of, layered_map_of
from geoseg.vector.layers import layer_names_of, polygonize_layers
from geoseg.vector.polygonize import polygonize
from geoseg.vector.summary import hints

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    Source: TypeAlias = (
        str | PathLike[str] | ClassMap | LayeredMap | xr.DataArray | xr.Dataset | npt.NDArray[Any]
    )
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
    layer: str | None = ...,
    overwrite: bool = ...,
) -> Path: ...


def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = None,
    legend: LegendLike | None = None,
    output: str | PathLike[str] | None = None,
    layer: str | None = None,
    overwrite: bool = False,
) -> gpd.GeoDataFrame | Path:
    """Turn a class map into land-cover polygons.

    Parameters
    ----------
    source : path, ClassMap, LayeredMap, xarray.DataArray, xarray.Dataset or (row, col) array
        Any integer class map, or a multilabel map of geoseg's (a file, or an array with a dim ``class``). A
        Dataset is what `geoseg.predict` returns: its `landcover` and `confidence`. A plain array has no CRS,
        and pixels of 1 x 1.
    confidence : path, DataArray or (row, col) array, optional
        Probability of the written class on the same grid: uint8 in steps of 1/254 with 255 for none, or
        floats 0 to 1 with NaN for none. Of a multilabel map with a band a class.
    legend : Legend or path, optional
        Names and colours, or a CSV file of them, in place of the map's own.
    output : path, optional
        GeoPackage to write, ``.gpkg``; without it a GeoDataFrame is returned.
    layer : str, optional
        Layer of the GeoPackage, ``landcover`` by default. A multilabel map becomes a layer for each class,
        named as the class is; then this stands before each name.
    overwrite : bool
        Whether `output` may replace a file.

    Returns
    -------
    GeoDataFrame or Path
        Polygons with `class_code`, `class_name`, `area_m2`, `pixels` and, where given, `confidence`; or
        `output`. Of a multilabel map a coverage for each class, one after the other.

    Raises
    ------
    ClassMapError, LegendError, OptionError, OutputError
    """
    names = legend_of(legend)
    if output is None:
        return _features(*_read(source, confidence, names)).to_geodataframe()
    if layer is not None:
        check_layer_name(layer)
    path = Path(output)
    check_geopackage_name(path)
    with claim(path, overwrite=overwrite) as claimed:
        found, share = _read(source, confidence, names)
        features = _features(found, share)
        for line in hints(features, predicted=False):
            _log.info(line)
        finished = claimed.scratch / path.name
        classes = found.legend if isinstance(found, LayeredMap) else None
        write_geopackage(finished, features, layer=layer_names_of(classes, layer))
        claimed.commit(finished)
    return path


def _features(source: ClassMap | LayeredMap, confidence: Confidence | None) -> Features:
    if isinstance(source, LayeredMap):
        shares = None if confidence is None else _layered_confidence(confidence, source)
        return polygonize_layers(lambda index: _present(source, index), source.grid, source.legend, shares)
    return polygonize(
        source.codes,
        source.valid,
        source.grid,
        legend=source.legend,
        confidence=None if confidence is None else _read_confidence(confidence, source.grid),
    )


def _present(source: LayeredMap, index: int) -> npt.NDArray[np.bool_]:
    """Where a class is."""
    values, valid = source.layer(index)
    present: npt.NDArray[np.bool_] = (values == 1) & valid
    if (valid & ~present & (values != 0)).any():
        name = source.legend.classes[index].name
        raise ClassMapError(f"the layer of class {name!r} holds other numbers than 0 and 1")
    return present


def _read(
    source: Source, confidence: Confidence | None, legend: Legend | None
) -> tuple[ClassMap | LayeredMap, Confidence | None]:
    """Map of a source; its confidence as given, or as it comes with it."""
    import xarray as xr

    own = source.get("confidence") if isinstance(source, xr.Dataset) else None
    return _map_of(source, legend), own if confidence is None else confidence


def _map_of(source: Source, legend: Legend | None) -> ClassMap | LayeredMap:
    import xarray as xr

    if isinstance(source, ClassMap):
        return source if legend is None else replace(source, legend=legend)
    if isinstance(source, LayeredMap):
        return source if legend is None else replace(source, legend=legend)
    if isinstance(source, str | PathLike):
        return read_map(Path(source), legend=legend)
    if isinstance(source, xr.Dataset):
        if "landcover" not in source:
            names = ", ".join(map(str, source)) or "nothing"
            raise ClassMapError(f"the Dataset holds {names}, expected a variable landcover")
        source = source["landcover"]
    if isinstance(source, np.ndarray):
        rows = source[0] if source.ndim == 3 and len(source) == 1 else source
        if rows.ndim != 2:
            raise ClassMapError(f"the array has shape {source.shape}, expected (row, col)")
        source = xr.DataArray(rows, dims=("y", "x"))
    if not isinstance(source, xr.DataArray):
        raise ClassMapError(
            f"the class map is a {type(source).__name__}, expected a path, an array, a DataArray or a Dataset"
        )
    return layered_map_of(source, legend) if "class" in source.dims else class_map_of(source, legend)


def _read_confidence(confidence: Confidence, grid: Grid) -> npt.NDArray[np.uint8]:
    """Confidence on the grid of the class map, uint8 with 255 for none."""
    if not isinstance(confidence, str | PathLike):
        return confidence_of(confidence)
    scene = Scene.open(confidence)
    if scene.count != 1:
        raise ClassMapError(f"{confidence}: has {scene.count} bands, expected one band of confidence")
    return _stored_confidence(scene, 1, grid)


def _layered_confidence(confidence: Confidence, source: LayeredMap) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Confidence of each layer of a multilabel map, read when it is wanted."""
    expected = len(source.legend.classes)
    if isinstance(confidence, str | PathLike):
        scene = Scene.open(confidence)
        count = len(scene.descriptions)
    else:
        array = np.asarray(confidence)
        count = len(array) if array.ndim == 3 else 1
    if count != expected:
        what = f"{confidence}: " if isinstance(confidence, str | PathLike) else "the confidence "
        raise ClassMapError(f"{what}has {count} bands, expected one for each of {expected} classes")
    if isinstance(confidence, str | PathLike):
        return lambda index: _stored_confidence(scene, index + 1, source.grid)
    return lambda index: confidence_of(array.reshape(expected, *array.shape[-2:])[index])


def _stored_confidence(scene: Scene, band: int, grid: Grid) -> npt.NDArray[np.uint8]:
    """Confidence in a band of a file, which must lie on the grid."""
    if problem := _misfit(scene.grid, grid):
        raise ClassMapError(f"{scene.path}: does not lie on the grid of the class map: {problem}")
    whole = Window(row=0, col=0, height=grid.height, width=grid.width)
    chip = scene.select([band], validity_band=None).read(whole)
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
