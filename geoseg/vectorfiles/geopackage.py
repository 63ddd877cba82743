"""GeoPackages that QGIS opens styled: written to a scratch path, then opened again and verified.

Every polygon layer gets an R-tree, its extent, its CRS and its legend as the default style in the table
`layer_styles`. Equal features give equal bytes: every time stamp in the file is `TIMESTAMP`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import OptionError, OutputError
from geoseg.grid.legend import Legend
from geoseg.polygons.features import GEOMETRY, Features
from geoseg.polygons.proof import COVERAGE, coverage_entries, coverage_json
from geoseg.raster.file_kinds import GEOPACKAGE, kind_by_name
from geoseg.vectorfiles.appending import Base
from geoseg.vectorfiles.arrow_writer import (
    Layer,
    StoppedError,
    feature_batches,
    literal_name,
    room,
    write_batches,
)
from geoseg.vectorfiles.geopackage_tables import has_table, read_metadata, write_metadata, write_style

if TYPE_CHECKING:
    import pyarrow as pa


def check_geopackage_name(path: Path) -> None:
    """Raise OptionError unless a file name has the extension of a GeoPackage."""
    if kind_by_name(path) != GEOPACKAGE:
        raise OptionError(
            f"{path}: polygons are written as a GeoPackage, expected a name that ends in .gpkg; "
            "ogr2ogr turns a GeoPackage into other formats"
        )


_OPTIONS = {
    "GEOMETRY_NAME": GEOMETRY,
    "FID": "fid",
    "SPATIAL_INDEX": "YES",
}


def write_geopackage(
    path: Path,
    features: Features,
    *,
    layer: str | Mapping[int, str] = "landcover",
    legend: Legend | None = None,
    metadata: Mapping[str, str] | None = None,
    base: Base | None = None,
) -> None:
    """Write features as a new GeoPackage and verify it.

    Parameters
    ----------
    path : Path
        File to write, at a scratch path; an existing one is replaced.
    features : Features
        Features to write; an empty set gives a valid empty layer of the right type.
    layer : str or mapping of int to str
        Name of the layer; or, for features sorted by class (`Features.joined`), the layer name of each class by its
        code: classes may overlap, and each becomes a coverage of its own.
    legend : Legend, optional
        Legend for the style, instead of the features' own.
    metadata : mapping of str to str, optional
        Entries of the file's metadata table.
    base : Base, optional
        GeoPackage whose content the new one includes, as in `write_layers`.

    Raises
    ------
    OptionError
        If the layer name is not allowed.
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
    write_layers(path, layers, base)


def write_layers(
    path: Path, layers: Iterable[tuple[Layer, Iterable[Features]]], base: Base | None = None
) -> None:
    """Write streams of features, one layer each, as `write_geopackage` does.

    The streams are consumed while writing, one layer after the other; each yields at least one part, which may be
    empty. Their errors are raised unchanged.

    Parameters
    ----------
    path : Path
        File to write.
    layers : iterable of Layer and iterable of Features
        Layers with their features.
    base : Base, optional
        GeoPackage whose content the new file includes: layers of the same names are continued or replaced.
    """
    write_tables(path, ((feature_batches(parts), layer) for layer, parts in layers), base)


def write_tables(
    path: Path, tables: Iterable[tuple[Iterable[pa.RecordBatch], Layer]], base: Base | None = None
) -> None:
    """Write Arrow batches with WKB in the column `GEOMETRY`, as `write_layers` does."""
    path.unlink(missing_ok=True)
    written: list[tuple[Layer, int]] = []
    triggers: set[str] = set()
    try:
        with literal_name(path) as literal:
            if base is not None:
                base.copy_to(literal)
                triggers = _triggers(literal)
            for batches, asked in tables:
                layer = asked if base is None else replace(asked, name=base.spelled(asked.name))
                options = _OPTIONS | {"DESCRIPTION": layer.description}
                options |= {"SRID": "-1"} if layer.crs is None else {}
                before = base.features(layer.name) if base is not None else None
                if before is None:
                    triggers |= _own_triggers(layer.name)
                if base is not None and before is not None:
                    fit = base.fit(layer.name)
                    layer, batches = replace(layer, geometry_type=fit.geometry_type), fit.fitted(batches)
                count = write_batches(literal, batches, layer, "GPKG", options, append=before is not None)
                written.append((layer, count + (before or 0)))
        _write_tables_beside(path, [layer for layer, _ in written])
        for layer, count in written:
            _verify(path, count, layer)
        if lost := triggers - _triggers(path):
            raise OutputError(f"{path}: the trigger {min(lost)} is lost after writing; is the disk full?")
    except (sqlite3.Error, OSError, RuntimeError) as error:
        if isinstance(error, StoppedError):
            raise error.cause from None
        reason = " ".join(str(error).split())
        raise OutputError(f"{path}: the GeoPackage could not be written ({reason}); {room(path)}") from error


def _write_tables_beside(path: Path, layers: Iterable[Layer]) -> None:
    """Store the legends as default styles of the layers, and the layers' metadata."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        for layer in layers:
            write_style(database, layer.name, layer.legend(), layer.style)
            items = dict(layer.metadata)
            if layer.coverage is not None:
                stored = read_metadata(database, layer.name).get(COVERAGE)
                before = coverage_entries(stored or layer.metadata.get(COVERAGE))
                items[COVERAGE] = coverage_json([*before, layer.coverage()])
            write_metadata(database, layer.name, items)
            _note_count(database, layer.name)


def _own_triggers(table: str) -> set[str]:
    """Return the names of the triggers that GDAL creates for a new layer."""
    index = f"rtree_{table}_{GEOMETRY}"
    counts = {f"trigger_{what}_feature_count_{table}" for what in ("insert", "delete")}
    return counts | {f"{index}_{what}" for what in ("insert", "delete")}


def _triggers(path: Path) -> set[str]:
    """Return the names of a file's triggers; GDAL drops one while writing and may fail to restore it silently."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}


def _note_count(database: sqlite3.Connection, table: str) -> None:
    """Update a layer's number of features in GDAL's table, which QGIS shows.

    GDAL adds to the number it finds, which is wrong if another program deleted rows without the triggers that update
    it; and GDAL does not report that it cannot write the number.
    """
    if has_table(database, "gpkg_ogr_contents"):
        quoted = '"' + table.replace('"', '""') + '"'
        database.execute(
            f"UPDATE gpkg_ogr_contents SET feature_count = (SELECT count(*) FROM {quoted}) "  # noqa: S608 (quoted)
            "WHERE lower(table_name) = lower(?)",
            (table,),
        )


def _verify(path: Path, count: int, layer: Layer) -> None:
    """Open the file again; raise OutputError for any sign of an incomplete write."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:

        def one(sql: str, *values: str) -> object:
            row = database.execute(sql, values).fetchone()
            return None if row is None else row[0]

        rtree = '"' + f"rtree_{layer.name}_{GEOMETRY}_rowid".replace('"', '""') + '"'
        table = '"' + layer.name.replace('"', '""') + '"'
        extent = "SELECT min_x IS NOT NULL AND max_y IS NOT NULL FROM gpkg_contents WHERE table_name = ?"
        styles = "SELECT sum(useAsDefault) FROM layer_styles WHERE f_table_name = ?"
        shapes = f"SELECT count(*) FROM {table} WHERE {GEOMETRY} IS NOT NULL"  # noqa: S608
        geometry = {"Unknown": "GEOMETRY"}.get(layer.geometry_type, layer.geometry_type.upper())
        kind = "SELECT geometry_type_name FROM gpkg_geometry_columns WHERE table_name = ?"
        # GDAL's own record of the count, which QGIS shows.
        stored = "SELECT feature_count FROM gpkg_ogr_contents WHERE lower(table_name) = lower(?)"
        noted = one(stored, layer.name) if has_table(database, "gpkg_ogr_contents") else None
        expected: list[tuple[str, object, object]] = [
            ("integrity", one("PRAGMA integrity_check"), "ok"),
            ("journal mode", one("PRAGMA journal_mode"), "delete"),
            ("number of features", one(f"SELECT count(*) FROM {table}"), count),  # noqa: S608 (quoted above)
            ("noted number of features", count if noted is None else noted, count),
            ("entries in the R-tree", one(f"SELECT count(*) FROM {rtree}"), one(shapes)),  # noqa: S608
            ("known extent", one(extent, layer.name), 1 if count else 0),
            ("geometry type", one(kind, layer.name), geometry),
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
