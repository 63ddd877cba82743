"""Polygons in the format that a file's name asks for, each opened again and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from geoseg.errors import OptionError, OutputError
from geoseg.vector.arrow_writer import Layer, StoppedError, feature_batches, literal_name, room, write_batches
from geoseg.vector.features import Features
from geoseg.vector.geopackage import write_layers
from geoseg.vector.geoparquet import write_geoparquet

Layers = Iterable[tuple[Layer, Iterable[Features]]]


def check_vector_name(path: Path) -> None:
    """Raise OptionError unless a file's name says one of the formats."""
    if path.suffix.lower() not in _WRITERS:
        raise OptionError(f"{path}: expected a name that ends in {', '.join(_WRITERS)}")


def write_polygons(path: Path, layers: Layers) -> None:
    """Write streams of features in the format of the file's name, as `write_layers` does.

    What is no GeoPackage has one layer: that of all features, with the name of the first.

    Raises
    ------
    OptionError
        If the format cannot hold them.
    OutputError
        If the file cannot be written or does not hold what was given.
    """
    _WRITERS[path.suffix.lower()](path, layers)


def _one_layer(layers: Layers) -> tuple[Layer, Iterator[Features]]:
    coming = iter(layers)
    layer, parts = next(coming)
    return layer, chain(parts, chain.from_iterable(rest for _, rest in coming))


def _parquet(path: Path, layers: Layers) -> None:
    layer, parts = _one_layer(layers)
    write_geoparquet(path, parts, crs=layer.crs)


def _flatgeobuf(path: Path, layers: Layers) -> None:
    _write_by_gdal(path, layers, "FlatGeobuf", {"SPATIAL_INDEX": "YES"})


def _geojson(path: Path, layers: Layers) -> None:
    layer, parts = _one_layer(layers)
    if layer.crs is None:
        raise OptionError(
            f"{path.name}: GeoJSON is in longitude and latitude, and the map has no CRS; write another format"
        )
    _write_by_gdal(path, [(layer, parts)], "GeoJSON", {"RFC7946": "YES"})


def _write_by_gdal(path: Path, layers: Layers, driver: str, options: dict[str, str]) -> None:
    """Write a file that has one layer, and count what it holds."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

    layer, parts = _one_layer(layers)
    path.unlink(missing_ok=True)
    try:
        with literal_name(path) as literal:
            count = write_batches(literal, feature_batches(parts), layer, driver, options)
            found = pyogrio.read_info(str(literal), force_feature_count=True)["features"]
    except StoppedError as error:
        raise error.cause from None
    except (
        OSError,
        RuntimeError,
        DataLayerError,
        DataSourceError,
        FeatureError,
        FieldError,
        GeometryError,
    ) as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"{path}: the file could not be written ({reason}); {room(path)}") from error
    if found != count:
        raise OutputError(f"{path}: has {found} features after writing, expected {count}; {room(path)}")


_WRITERS: dict[str, Callable[[Path, Layers], None]] = {
    ".gpkg": write_layers,
    ".parquet": _parquet,
    ".geoparquet": _parquet,
    ".fgb": _flatgeobuf,
    ".geojson": _geojson,
}
