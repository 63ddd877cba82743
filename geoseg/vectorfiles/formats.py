"""Writing of polygons in the format that the file name asks for, with verification of each file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError, OutputError, plural
from geoseg.polygons.features import Features
from geoseg.raster.file_kinds import (
    FLATGEOBUF,
    GEOJSON,
    GEOPACKAGE,
    GEOPARQUET,
    SHAPEFILE,
    FileKind,
    kind_by_name,
)
from geoseg.storage.output import output_of
from geoseg.vectorfiles.appending import Base
from geoseg.vectorfiles.arrow_writer import (
    Layer,
    StoppedError,
    feature_batches,
    literal_name,
    room,
    write_batches,
)
from geoseg.vectorfiles.geopackage import write_layers
from geoseg.vectorfiles.geoparquet import write_geoparquet

NO_SHAPEFILES = (
    "a Shapefile cuts the names of columns at ten letters and text at 254 bytes, has no style and ends at 2 GB, so "
    "none is written; ogr2ogr makes one of a GeoPackage where a program takes nothing else"
)

Layers = Iterable[tuple[Layer, Iterable[Features]]]


def check_vector_name(path: Path) -> None:
    """Raise OptionError unless a file name has the extension of a supported format."""
    kind = kind_by_name(path)
    if kind == SHAPEFILE:
        raise OptionError(f"{path}: {NO_SHAPEFILES}; expected a name that ends in .gpkg")
    if kind not in _WRITERS:
        raise OptionError(f"{path}: expected a name that ends in {', '.join(written_endings())}")


def written_endings() -> tuple[str, ...]:
    """Return the file name extensions of the formats that can be written."""
    return tuple(ending for kind in _WRITERS for ending in kind.endings)


def check_crs(path: Path, crs: str | None) -> None:
    """Raise OptionError if a format cannot store the CRS of the polygons."""
    if kind_by_name(path) != GEOJSON:
        return
    if crs is None:
        raise OptionError(
            f"{path.name}: GeoJSON is in longitude and latitude, and the map has no CRS; write another format"
        )
    _check_longitudes(path.name, crs)


def check_append(path: Path) -> None:
    """Raise OptionError unless a file of this name can be appended to."""
    if kind_by_name(path) != GEOPACKAGE:
        raise OptionError(
            f"{path}: polygons can be added to a GeoPackage only, expected a name that ends in .gpkg"
        )


def write_polygons(path: Path, layers: Layers, base: Base | None = None) -> int | None:
    """Write streams of features in the format of the file name, as `write_layers` does.

    Formats other than GeoPackage get one layer with all features, named as the first one.

    Parameters
    ----------
    path : Path
        File to write.
    layers : iterable of Layer and iterable of Features
        Layers with their features.
    base : Base, optional
        GeoPackage whose content the new one includes.

    Returns
    -------
    int or None
        Number of polygons in a GeoJSON file, read back, that are invalid or have another area in longitude and
        latitude; None for formats that keep the map's CRS.

    Raises
    ------
    OptionError
        If the format cannot hold the polygons.
    OutputError
        If the file cannot be written or does not hold what was given.
    """
    if base is not None:
        write_layers(path, layers, base)
        return None
    kind = kind_by_name(path)
    assert kind is not None, "check_vector_name comes first"
    return _WRITERS[kind](path, layers)


def _distorted_polygons(path: Path) -> int:
    """Count the polygons of a GeoJSON that are invalid or whose area differs from their attribute."""
    import shapely

    from geoseg.vectorfiles.ogr import pyogrio

    found = 0
    with pyogrio.open_arrow(str(path), columns=["area_m2"], use_pyarrow=True) as (known, batches):
        for batch in batches:
            wkb = batch.column(known["geometry_name"] or "wkb_geometry").to_numpy(zero_copy_only=False)
            shapes = shapely.from_wkb(wkb)
            # NaN if the unit of the grid is unknown
            said = batch.column("area_m2").to_numpy(zero_copy_only=False).astype(np.float64)
            distorted = np.abs(_areas_on_a_sphere(shapes) - said) > _ALIKE * said
            found += int(np.count_nonzero(distorted | ~shapely.is_valid(shapes)))
    return found


def _areas_on_a_sphere(shapes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return areas in m² of polygons whose edges are straight in longitude and latitude.

    This is the integral of sin(latitude) along the border, on the sphere with the area of the ellipsoid: within 1 %.
    """
    import shapely

    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    inner = np.diff(part, prepend=-1) == 0  # the first ring of a polygon is its outer one
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if not len(points):
        return np.zeros(len(shapes))
    first = np.flatnonzero(np.diff(ring, prepend=-1))[ring]
    lon = np.radians(points[:, 0] - points[first, 0])  # differences, for pixels of a centimetre
    height = np.sin(np.radians(points[:, 1])) - np.sin(np.radians(points[first, 1]))
    same = ring[1:] == ring[:-1]
    steps = np.where(same, (lon[1:] - lon[:-1]) * (height[1:] + height[:-1]) / 2, 0.0)
    sizes = np.abs(np.bincount(ring[1:], steps, len(rings))) * _AUTHALIC_RADIUS**2
    areas: npt.NDArray[np.float64] = np.bincount(
        owner[part], weights=np.where(inner, -sizes, sizes), minlength=len(shapes)
    ).astype(np.float64)
    return areas


def _one_layer(layers: Layers) -> tuple[Layer, Iterator[Features], list[Layer]]:
    """Merge several layers into one; return it, its features, and a list that fills with the layers as they come."""
    coming = iter(layers)
    layer, parts = next(coming)
    come = [layer]

    def rest() -> Iterator[Features]:
        for other, more in coming:
            come.append(other)
            yield from more

    return layer, chain(parts, rest()), come


def _parquet(path: Path, layers: Layers) -> None:
    layer, parts, come = _one_layer(layers)

    def coverage() -> list[Mapping[str, Any]]:
        return [each.coverage() for each in come if each.coverage is not None]

    write_geoparquet(path, parts, crs=layer.crs, coverage=coverage)


def _geopackage(path: Path, layers: Layers) -> None:
    write_layers(path, layers)


def _flatgeobuf(path: Path, layers: Layers) -> int | None:
    return _write_by_gdal(path, layers, "FlatGeobuf", {"SPATIAL_INDEX": "YES"})


def _geojson(path: Path, layers: Layers) -> int | None:
    layer, parts, _ = _one_layer(layers)
    check_crs(output_of(path), layer.crs)
    first = next(parts)
    options = {"RFC7946": "YES", "COORDINATE_PRECISION": str(_decimals(first))}
    return _write_by_gdal(path, [(layer, chain([first], parts))], "GeoJSON", options)


def _decimals(first: Features) -> int:
    """Return the decimals of degrees that keep pixel corners apart, also in redrawn lines: 7 for pixels of 10 m."""
    known = first.area_m2 > 0
    if not known.any():
        return _FEWEST if not len(first) else _MOST
    edge = math.sqrt((first.area_m2[known] / first.pixels[known]).min())
    return min(max(_FEWEST, math.ceil(-math.log10(edge / _DEGREE / 300))), _MOST)


_FEWEST, _MOST = 7, 15
_DEGREE = 111_320.0  # m, of latitude on Earth
_AUTHALIC_RADIUS = 6_371_007.2  # m, of the sphere with the area of WGS 84
_ALIKE = 0.05  # of an area: rounding and the sphere make up to 0.01, a pole that was lost makes more


def _check_longitudes(name: str, crs: str) -> None:
    """Raise OptionError if a CRS has no transformation to longitude and latitude (a building site, the Moon)."""
    import pyproj

    try:
        pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(crs), "EPSG:4326")
    except pyproj.exceptions.ProjError as error:
        raise OptionError(
            f"{name}: GeoJSON is in longitude and latitude, and the map's CRS, "
            f"{pyproj.CRS.from_wkt(crs).name}, cannot be transformed to these; write another format"
        ) from error


def _write_by_gdal(path: Path, layers: Layers, driver: str, options: dict[str, str]) -> int | None:
    """Write a file with one layer by GDAL and verify its number of features; return as `write_polygons` does."""
    from geoseg.vectorfiles.ogr import pyogrio

    layer, parts, _ = _one_layer(layers)
    path.unlink(missing_ok=True)
    try:
        with literal_name(path) as literal:
            count = write_batches(literal, feature_batches(parts), layer, driver, options)
            found = pyogrio.read_info(str(literal), force_feature_count=True)["features"]
            distorted = _distorted_polygons(literal) if driver == "GeoJSON" else None
    except StoppedError as error:
        raise error.cause from None
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"{path}: the file could not be written ({reason}); {room(path)}") from error
    if found != count:
        raise OutputError(
            f"{path}: has {plural(found, 'feature')} after writing, expected {count}; {room(path)}"
        )
    return distorted


_WRITERS: dict[FileKind, Callable[[Path, Layers], int | None]] = {
    GEOPACKAGE: _geopackage,
    GEOPARQUET: _parquet,
    FLATGEOBUF: _flatgeobuf,
    GEOJSON: _geojson,
}
