"""Reading of vector files, opened only if their first bytes match what they seem to be.

Files that refer to other data are not opened: GDAL would follow a virtual layer, under any name, to any file or host.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, Message
from geoseg.raster.file_kinds import DATABASE, GEOPACKAGE, GEOPARQUET, KINDS, POINTER, FileKind, kind_of
from geoseg.storage.output import check_encoding
from geoseg.storage.printable import listed
from geoseg.vectorfiles.databases import opened
from geoseg.vectorfiles.encodings import encoding_of

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

Bounds = tuple[float, float, float, float]

_POINTERS: Final = (b"<OGRVRT", b"<VRT", b"<OGRWFS", b"<WFS", b"<WMS", b"<GDAL", b"gdal_streamed_alg")
"""Beginnings of files that only refer to other data."""
_HEAD: Final = 2**16
_READ: Final = ", ".join(kind.endings[0] for kind in KINDS if kind.holds == "vector" and not kind.remedy)
_UNDEFINED: Final = ("Undefined Cartesian SRS", "Undefined geographic SRS")
"""How GeoPackages declare an unknown CRS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorLayer:
    """A layer with geometries.

    Parameters
    ----------
    name : str
        Name of the layer.
    fields : tuple of str
        Names of the attributes.
    crs : str or None
        CRS as text that pyproj accepts; None if unknown.
    kind : FileKind
        Format of the file.
    encoding : str or None
        Encoding of its text, if the file does not declare it.
    """

    name: str
    fields: tuple[str, ...]
    crs: str | None
    kind: FileKind
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorFeatures:
    """Features of a layer.

    Parameters
    ----------
    geometry : (feature,) object
        Geometries in WKB; None for features without one.
    values : (feature,) any dtype, or None
        Values of the requested attribute.
    """

    geometry: npt.NDArray[np.object_]
    values: npt.NDArray[Any] | None


def choose_layers(
    path: Path, layer: str | Sequence[str] | None = None, encoding: str | None = None
) -> tuple[VectorLayer, ...]:
    """Describe the chosen layers of a vector file; all that have geometries by default.

    Parameters
    ----------
    path : Path
        Vector file.
    layer : str or sequence of str, optional
        Names of the layers.
    encoding : str, optional
        Encoding of the text of a Shapefile; see `encoding_of`.

    Raises
    ------
    DataError
        If the file cannot be read, is not what it seems, or lacks a layer.
    OptionError
        If the encoding is unknown or does not apply.
    """
    kind = check_vector_file(path)
    encoding = encoding_of(path, kind, encoding)
    if kind == GEOPARQUET:
        _choose(path, [path.stem], layer)
        frame = _parquet(path)
        fields = tuple(str(name) for name in frame.columns if name != frame.geometry.name)
        return (
            VectorLayer(
                name=path.stem,
                fields=fields,
                crs=known_crs(frame.crs.to_wkt() if frame.crs else None),
                kind=kind,
            ),
        )
    from geoseg.vectorfiles.ogr import pyogrio

    with explained(path):
        spatial = [str(name) for name, kind in pyogrio.list_layers(path.absolute()) if kind is not None]
        wanted = _choose(path, spatial, layer)
        about = [pyogrio.read_info(path.absolute(), layer=name, encoding=encoding) for name in wanted]
    return tuple(
        VectorLayer(
            name=name,
            fields=tuple(map(str, info["fields"])),
            crs=known_crs(info["crs"]),
            kind=kind,
            encoding=encoding,
        )
        for name, info in zip(wanted, about, strict=True)
    )


def read_features(
    path: Path, layer: VectorLayer, field: str | None = None, bounds: Bounds | None = None
) -> VectorFeatures:
    """Read the features of a layer in their order, all or those whose boxes meet `bounds` (in the layer's CRS).

    Raises
    ------
    DataError
        If they cannot be read, or have no such attribute.
    """
    _check_field(path, layer, field)
    if layer.kind == GEOPARQUET:
        frame = _parquet(path)
        values = None if field is None else frame[field].to_numpy()
        return VectorFeatures(geometry=frame.geometry.to_wkb().to_numpy(), values=values)
    from geoseg.vectorfiles.ogr import pyogrio

    with explained(path):
        _, fids, geometry, columns = pyogrio.raw.read(
            path.absolute(),
            layer=layer.name,
            encoding=layer.encoding,
            columns=[] if field is None else [field],
            force_2d=True,
            bbox=bounds,
            return_fids=True,
        )
    order = np.argsort(fids, kind="stable")  # reading through a spatial index changes the order
    return VectorFeatures(geometry=geometry[order], values=None if field is None else columns[0][order])


def read_values(path: Path, layer: VectorLayer, field: str) -> npt.NDArray[Any]:
    """Read one attribute of all features of a layer, without geometries.

    Raises
    ------
    DataError
        As `read_features` does.
    """
    _check_field(path, layer, field)
    if layer.kind == GEOPARQUET:
        values: npt.NDArray[Any] = _parquet(path)[field].to_numpy()
        return values
    from geoseg.vectorfiles.ogr import pyogrio

    with explained(path):
        _, _, _, columns = pyogrio.raw.read(
            path.absolute(), layer=layer.name, encoding=layer.encoding, columns=[field], read_geometry=False
        )
    column: npt.NDArray[Any] = columns[0]
    return column


def count_rows(path: Path, layer: VectorLayer, fields: Sequence[str]) -> dict[tuple[Any, ...], int]:
    """Count the distinct rows of some attributes, in ascending order.

    Raises
    ------
    DataError
        As `read_features` does.
    """
    table = read_columns(path, layer, fields)
    # Not with Arrow's grouping, which imports pandas. All NaN become the same object, so that they count as equal.
    with explained(path):  # text is decoded here, which may fail
        columns = [
            [math.nan if each != each else each for each in table[field].to_pylist()] for field in fields
        ]
    counts = Counter(zip(*columns, strict=True))
    return dict(sorted(counts.items(), key=lambda item: str(item[0])))


def read_columns(path: Path, layer: VectorLayer, fields: Sequence[str]) -> pa.Table:
    """Read some attributes of all features of a layer, without geometries.

    Raises
    ------
    DataError
        As `read_features` does.
    """
    for field in fields:
        _check_field(path, layer, field)
    if layer.kind == GEOPARQUET:
        import pyarrow.parquet as pq

        with explained(path):
            return pq.read_table(path.absolute(), columns=list(fields))
    from geoseg.vectorfiles.ogr import pyogrio

    with explained(path):
        _, table = pyogrio.read_arrow(
            path.absolute(),
            layer=layer.name,
            encoding=layer.encoding,
            columns=list(fields),
            read_geometry=False,
        )
    return table


def layer_shape(path: Path, layer: VectorLayer) -> tuple[str, int]:
    """Return the geometry type of a layer and its number of features."""
    if layer.kind == GEOPARQUET:
        kinds = sorted(set(_parquet(path).geom_type.dropna()))
        return " or ".join(kinds) or "Unknown", len(_parquet(path))
    from geoseg.vectorfiles.ogr import pyogrio

    with explained(path):
        about = pyogrio.read_info(path.absolute(), layer=layer.name, force_feature_count=True)
    return str(about["geometry_type"]), int(about["features"])


def total_bounds(path: Path, layer: VectorLayer) -> Bounds | None:
    """Return the bounding box (west, south, east, north) of a layer in its CRS; None if it is empty."""
    if layer.kind == GEOPARQUET:
        west, south, east, north = _parquet(path).total_bounds
    else:
        from geoseg.vectorfiles.ogr import pyogrio

        with explained(path):
            bounds = pyogrio.read_info(path.absolute(), layer=layer.name, force_total_bounds=True)[
                "total_bounds"
            ]
        if bounds is None:
            return None
        west, south, east, north = bounds
    return (float(west), float(south), float(east), float(north)) if np.isfinite(west) else None


def known_crs(crs: object) -> str | None:
    """Return a CRS as text; None if it is declared unknown."""
    text = str(crs or "")
    return None if not text or any(word in text for word in _UNDEFINED) else text


def check_vector_file(path: Path) -> FileKind:
    """Return the format of a vector file by its first bytes.

    Raises
    ------
    DataError
        If the format is not supported, or GDAL cannot handle the path.
    """
    check_encoding(path, DataError)
    try:
        kind = kind_of(path)
        head = b"" if path.is_dir() else _beginning(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if kind is None:
        if path.is_dir():
            raise DataError(f"{path}: is a folder, expected a vector file")
        what = (
            "is empty, expected"
            if not head
            else "is by its first bytes none of the vector files that are read:"
        )
        raise DataError(
            f"{path}: {what} {_READ}; ogr2ogr turns vector files of other formats into GeoPackage"
        )
    pointing = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"{")) and any(
        p in head for p in _POINTERS
    )
    if pointing or kind is POINTER:
        raise DataError(f"{path}: only points at other data, which is not followed; pass that data itself")
    if kind.holds != "vector" or kind.remedy:
        remedy = kind.remedy if kind.holds != "raster" else "vectorize makes polygons of class maps"
        raise DataError(f"{path}: is {kind.name}, expected {_READ}" + f"; {remedy}" * bool(remedy))
    if kind in (GEOPACKAGE, DATABASE):
        try:
            with opened(path):
                pass
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be read as vectors ({error})") from error
    if {"!", ";"} & set(str(path.absolute())):
        raise DataError(f"{path}: a path with ! or ; is taken for an archive; rename it")
    if {"\t", "\n", "\r"} & set(str(path.absolute())):
        raise DataError(f"{str(path)!a}: a path with tabs or ends of lines is read without them; rename it")
    return kind


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _choose(path: Path, layers: list[str], layer: str | Sequence[str] | None) -> list[str]:
    """Return the chosen layers of a file, all of them by default."""
    wanted = layers if layer is None else [layer] if isinstance(layer, str) else list(layer)
    missing = [name for name in wanted if name not in layers]
    if missing or not wanted:
        raise DataError(
            f"{path}: has no layer {listed(missing) or 'with geometries'}, expected one of "
            f"{listed(layers) or 'its layers to have them'}"
        )
    return wanted


def _check_field(path: Path, layer: VectorLayer, field: str | None) -> None:
    if field is not None and field not in layer.fields:
        raise DataError(
            f"{path}: layer {layer.name} has no attribute {field}, expected one of "
            f"{listed(layer.fields) or 'its attributes, of which there are none'}"
        )


def _parquet(path: Path) -> gpd.GeoDataFrame:
    import geopandas

    with explained(path):
        return geopandas.read_parquet(path.absolute())


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Convert errors of readers to one line; those of pyogrio are RuntimeErrors."""
    try:
        with warnings.catch_warnings():
            # These warnings do not matter: `check_vector_file` has checked the format and that the file is complete.
            warnings.filterwarnings("ignore", message=".*this file is a WAL-enabled database")
            warnings.filterwarnings("ignore", message=".*non conformant file extension")
            yield
    except UnicodeDecodeError as error:
        shapefile = path.suffix.lower() == ".shp"
        remedy = Message("pass the right {encoding}") if shapefile else "write it again with text in UTF-8"
        raise DataError(
            f"{path}: its text is not in {error.encoding}, as which it was read", remedy
        ) from error
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as vectors ({reason[:200]})") from error
