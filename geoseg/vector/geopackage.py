"""GeoPackages that QGIS opens coloured: written at a scratch path, then opened again and verified.

Every polygon layer gets an R-tree, its extent, its CRS and its legend as the default style in the table
`layer_styles`. Equal features give equal bytes: every time stamp in the file is `TIMESTAMP`.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from string import punctuation
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import OptionError, OutputError
from geoseg.grid.legend import Legend
from geoseg.grid.qml import polygon_qml
from geoseg.vector.features import GEOMETRY, Features, batch_stop

if TYPE_CHECKING:
    import pyarrow as pa

TIMESTAMP = "1970-01-01T00:00:00.000Z"
"""The only time in a product: a clock would make equal work give different bytes."""

# The name under which GDAL and QGIS know the GeoPackage's "undefined Cartesian" CRS, srs_id -1.
_UNDEFINED_CARTESIAN = (
    'ENGCRS["Undefined Cartesian SRS with unknown unit",EDATUM["Unknown engineering datum"],CS[Cartesian,2],'
    'AXIS["x",unspecified,ORDER[1],LENGTHUNIT["unknown",0]],AXIS["y",unspecified,ORDER[2],LENGTHUNIT["unknown",0]]]'
)

# As QGIS itself creates the table.
_LAYER_STYLES = """
CREATE TABLE "layer_styles" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "f_table_catalog" TEXT(256), "f_table_schema" TEXT(256), "f_table_name" TEXT(256),
    "f_geometry_column" TEXT(256),
    "styleName" TEXT(30), "styleQML" TEXT, "styleSLD" TEXT, "useAsDefault" BOOLEAN, "description" TEXT,
    "owner" TEXT(30), "ui" TEXT(30), "update_time" DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""

_options_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What a GeoPackage says about a layer besides the features.

    Parameters
    ----------
    name : str
    crs : str or None
        WKT; None becomes the undefined Cartesian CRS.
    legend : callable
        Asked, when all features are written, for the legend that becomes the default style.
    geometry_type : str
        OGC name.
    metadata : mapping of str to str
        Kept in the file's metadata table.
    """

    name: str
    crs: str | None
    legend: Callable[[], Legend]
    geometry_type: str = "Polygon"
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a name that a GeoPackage reserves."""
        check_layer_name(self.name)


def check_layer_name(name: str) -> None:
    """Raise OptionError unless a layer of a GeoPackage may have this name."""
    lower = name.lower()
    reserved = lower.startswith(("gpkg", "sqlite_", "rtree_")) or lower == "layer_styles"
    if reserved or not name.strip() or not name.isprintable() or name[0] in punctuation.replace("_", ""):
        raise OptionError(
            f"layer name {name!r} cannot be used: expected printable text that is not layer_styles and does "
            "not begin with punctuation, gpkg, sqlite_ or rtree_; pass another --layer"
        )


def check_geopackage_name(path: Path) -> None:
    """Raise OptionError unless a file name says GeoPackage: nobody opens one that is called a Shapefile."""
    if path.suffix.lower() != ".gpkg":
        raise OptionError(
            f"{path}: polygons are written as a GeoPackage, expected a name that ends in .gpkg; "
            "ogr2ogr turns a GeoPackage into other formats"
        )


def write_geopackage(
    path: Path,
    features: Features,
    *,
    layer: str | Mapping[int, str] = "landcover",
    legend: Legend | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write features as a new GeoPackage and verify it.

    Parameters
    ----------
    path : Path
        A scratch path; a file there is replaced.
    features : Features
        None at all gives a valid empty layer of the right type.
    layer : str or mapping of int to str
        Name of the layer. Or, for features that lie class by class (`Features.joined`), the name of each
        class's layer by its code: classes may overlap, and each becomes a coverage of its own.
    legend : Legend, optional
        Style other than the features' own legend.
    metadata : mapping of str to str, optional
        Kept in the file's metadata table.

    Raises
    ------
    OptionError
        If the layer cannot have this name.
    OutputError
        If the file cannot be written or does not hold what was given.
    """
    legend = legend or features.legend
    if isinstance(layer, str):
        parts = [(layer, features, legend)]
    else:
        parts = [
            (name, features.of_class(code), Legend(classes=(legend[code],))) for code, name in layer.items()
        ]
    layers = []
    for name, each, own in parts:
        style = partial(Legend, classes=own.classes)
        layers.append((Layer(name=name, crs=each.crs, legend=style, metadata=metadata or {}), [each]))
    write_layers(path, layers)


def write_layers(path: Path, layers: Iterable[tuple[Layer, Iterable[Features]]]) -> None:
    """Write streams of features, a layer for each; otherwise as `write_geopackage`.

    The features are asked for while they are written, one layer after the other, at least one part of each, which
    may be empty. What their stream raises comes through.
    """
    write_tables(path, ((_record_batches(parts), layer) for layer, parts in layers))


def _record_batches(parts: Iterable[Features]) -> Iterator[pa.RecordBatch]:
    for part in Features.rebatched(parts):
        yield _one_batch(part.attributes().append_column(GEOMETRY, part.wkb_arrow()))


def table_batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Cut a table as `Features.rebatched` cuts features."""
    import pyarrow.compute as pc

    sizes = pc.binary_length(table[GEOMETRY]).to_numpy()
    offset = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    start = 0
    while start < table.num_rows or start == 0:
        stop = start + (batch_stop(offset[start:] - offset[start]) if table.num_rows else 1)
        yield _one_batch(table.slice(start, stop - start))
        start = stop


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def write_tables(path: Path, tables: Iterable[tuple[Iterable[pa.RecordBatch], Layer]]) -> None:
    """Write Arrow batches whose column `GEOMETRY` is well-known binary; otherwise as `write_geopackage`."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

    path.unlink(missing_ok=True)
    written: list[tuple[Layer, int]] = []
    try:
        with _literal(path) as literal:
            for batches, layer in tables:
                written.append((layer, _write_features(literal, batches, layer)))
        _write_styles(path, [layer for layer, _ in written])
        for layer, count in written:
            _verify(path, count, layer)
    except (
        sqlite3.Error,
        OSError,
        RuntimeError,
        DataLayerError,
        DataSourceError,
        FeatureError,
        FieldError,
        GeometryError,
    ) as error:
        if isinstance(error, _StoppedError):
            raise error.cause from None
        reason = " ".join(str(error).split())
        raise OutputError(f"{path}: the GeoPackage could not be written ({reason}); {_room(path)}") from error


class _StoppedError(RuntimeError):
    """The features ended with an error of their own, which GDAL would swallow."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _write_features(path: Path, batches: Iterable[pa.RecordBatch], layer: Layer) -> int:
    """Write a layer as its features come; return their number."""
    import pyarrow as pa
    import pyogrio

    options = {
        "GEOMETRY_NAME": GEOMETRY,
        "FID": "fid",
        "SPATIAL_INDEX": "YES",
        "DESCRIPTION": "Land cover by geoseg",
    }
    if layer.crs is None:
        options["SRID"] = "-1"
    count = 0
    failed: list[BaseException] = []

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal count
        try:
            for batch in chain([first], coming):
                count += batch.num_rows
                yield batch
        except BaseException as error:
            failed.append(error)
            raise

    coming = iter(batches)
    try:
        first = next(coming)
    except Exception as error:
        raise _StoppedError(error) from error
    try:
        with _options():
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(first.schema, counted()),
                str(path),
                layer=layer.name,
                driver="GPKG",
                geometry_name=GEOMETRY,
                geometry_type=layer.geometry_type,
                crs=_canonical(layer.crs),
                layer_metadata=dict(layer.metadata) or None,
                layer_options=options,
            )
    except Exception as error:
        if failed:
            raise _StoppedError(failed[0]) from error
        raise
    return count


def _canonical(crs: str | None) -> str:
    """One text for one CRS, however its WKT came to be: GDAL's and Proj's differ in what they leave out."""
    if crs is None:
        return _UNDEFINED_CARTESIAN
    from pyproj import CRS

    parsed = CRS.from_wkt(crs)
    identity = parsed.to_json_dict().get("id")
    if identity:
        code = f"{identity['authority']}:{identity['code']}"
        if CRS.from_user_input(code) == parsed:
            return code
    return str(parsed.to_wkt())


@contextmanager
def _literal(path: Path) -> Iterator[Path]:
    """Yield a name for a new file that pyogrio takes literally; the file gets the name `path` afterwards.

    Pyogrio parses names like addresses: it cuts ``a;b.gpkg`` to ``a``, and takes what stands before a ``!``,
    even in a folder's name, for an archive.
    """
    plain = path.with_name("features.gpkg")
    with ExitStack() as stack:
        beside = plain.parent
        if "!" in str(beside):
            beside = Path(stack.enter_context(TemporaryDirectory())) / "link"
            beside.symlink_to(plain.parent.resolve(), target_is_directory=True)
        yield beside / plain.name
    plain.replace(path)


def _room(path: Path) -> str:
    """Ask what the person should look at: the usual cause of a failed write is a full disk."""
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return f"is the folder {path.parent} there?"
    return f"is the disk full ({free / 1e6:,.0f} MB are free)?"


@contextmanager
def _options() -> Iterator[None]:
    """Let pyogrio's GDAL write `TIMESTAMP` wherever it would write the time, and leave syncing to the caller.

    Whoever gives the file its final name syncs it first, and a full disk is noticed without.
    """
    import pyogrio

    options = {"OGR_CURRENT_DATE": TIMESTAMP, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
    with _options_lock:  # options are global to the process
        before = {name: pyogrio.get_gdal_config_option(name) for name in options}
        pyogrio.set_gdal_config_options(options)
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)


def _write_styles(path: Path, layers: Iterable[Layer]) -> None:
    """Embed legends as the layers' default styles, in a table that is registered as one of attributes."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute(_LAYER_STYLES)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?, 0)",
            (TIMESTAMP,),
        )
        for layer in layers:
            database.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
                "styleName, styleQML, styleSLD, useAsDefault, description, owner, update_time) "
                "VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '', ?)",  # QGIS looks for '', not NULL
                (
                    layer.name,
                    GEOMETRY,
                    layer.name[:30],
                    polygon_qml(layer.legend()),
                    "legend by geoseg",
                    TIMESTAMP,
                ),
            )


def _verify(path: Path, count: int, layer: Layer) -> None:
    """Open the file again; raise OutputError for anything that a killed or failed writer leaves behind."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:

        def one(sql: str, *values: str) -> object:
            row = database.execute(sql, values).fetchone()
            return None if row is None else row[0]

        rtree = '"' + f"rtree_{layer.name}_{GEOMETRY}_rowid".replace('"', '""') + '"'
        table = '"' + layer.name.replace('"', '""') + '"'
        extent = "SELECT min_x IS NOT NULL AND max_y IS NOT NULL FROM gpkg_contents WHERE table_name = ?"
        styles = "SELECT sum(useAsDefault) FROM layer_styles WHERE f_table_name = ?"
        kind = "SELECT geometry_type_name FROM gpkg_geometry_columns WHERE table_name = ?"
        expected: list[tuple[str, object, object]] = [
            ("integrity", one("PRAGMA integrity_check"), "ok"),
            ("journal mode", one("PRAGMA journal_mode"), "delete"),
            ("number of features", one(f"SELECT count(*) FROM {table}"), count),  # noqa: S608 (quoted above)
            ("entries in the R-tree", one(f"SELECT count(*) FROM {rtree}"), count),  # noqa: S608
            ("known extent", one(extent, layer.name), 1 if count else 0),
            ("geometry type", one(kind, layer.name), layer.geometry_type.upper()),
            ("default styles", one(styles, layer.name), 1),
        ]
    for what, found, wanted in expected:
        if found != wanted:
            raise OutputError(
                f"{path}: {what} is {found!r} after writing, expected {wanted!r}; is the disk full?"
            )
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            raise OutputError(
                f"{path}: was not closed completely ({path.name}{suffix} is left); is the disk full?"
            )
