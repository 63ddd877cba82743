"""GeoPackages that QGIS opens coloured: written at a scratch path, then opened again and verified.

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
from geoseg.raster.file_kinds import GEOPACKAGE, kind_by_name
from geoseg.vector.appending import Base
from geoseg.vector.arrow_writer import (
    Layer,
    StoppedError,
    feature_batches,
    literal_name,
    room,
    write_batches,
)
from geoseg.vector.features import GEOMETRY, Features
from geoseg.vector.geopackage_tables import has_table, read_metadata, write_metadata, write_style
from geoseg.vector.proof import COVERAGE, coverage_entries, coverage_json

if TYPE_CHECKING:
    import pyarrow as pa


def check_geopackage_name(path: Path) -> None:
    """Raise OptionError unless a file name says GeoPackage: nobody opens one that is called a Shapefile."""
    if kind_by_name(path) != GEOPACKAGE:
        raise OptionError(
            f"{path}: polygons are written as a GeoPackage, expected a name that ends in .gpkg; "
            "ogr2ogr turns a GeoPackage into other formats"
        )


_OPTIONS = {
    "GEOMETRY_NAME": GEOMETRY,
    "FID": "fid",
    "SPATIAL_INDEX": "YES",
    "DESCRIPTION": "Land cover by geoseg",
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
    base : Base, optional
        As `write_layers` takes it.

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
    write_layers(path, layers, base)


def write_layers(
    path: Path, layers: Iterable[tuple[Layer, Iterable[Features]]], base: Base | None = None
) -> None:
    """Write streams of features, a layer for each; otherwise as `write_geopackage`.

    The features are asked for while they are written, one layer after the other, at least one part of each, which
    may be empty. What their stream raises comes through.

    Parameters
    ----------
    path : Path
    layers : iterable of Layer and iterable of Features
    base : Base, optional
        A GeoPackage which the new file holds, too: layers of its names go on where they end, or are written anew.
    """
    write_tables(path, ((feature_batches(parts), layer) for layer, parts in layers), base)


def write_tables(
    path: Path, tables: Iterable[tuple[Iterable[pa.RecordBatch], Layer]], base: Base | None = None
) -> None:
    """Write Arrow batches whose column `GEOMETRY` is well-known binary; otherwise as `write_layers`."""
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
                options = _OPTIONS | ({"SRID": "-1"} if layer.crs is None else {})
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
    """Embed legends as the layers' default styles, and what is known of the layers."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        for layer in layers:
            write_style(database, layer.name, layer.legend())
            items = dict(layer.metadata)
            if layer.coverage is not None:
                stored = read_metadata(database, layer.name).get(COVERAGE)
                before = coverage_entries(stored or layer.metadata.get(COVERAGE))
                items[COVERAGE] = coverage_json([*before, layer.coverage()])
            write_metadata(database, layer.name, items)
            _note_count(database, layer.name)


def _own_triggers(table: str) -> set[str]:
    """Name triggers that GDAL gives a new layer."""
    index = f"rtree_{table}_{GEOMETRY}"
    counts = {f"trigger_{what}_feature_count_{table}" for what in ("insert", "delete")}
    return counts | {f"{index}_{what}" for what in ("insert", "delete")}


def _triggers(path: Path) -> set[str]:
    """Name the triggers of a file; GDAL drops one while it writes, and says nothing where it cannot put it back."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}


def _note_count(database: sqlite3.Connection, table: str) -> None:
    """Write a layer's number of features where GDAL keeps it and QGIS shows it.

    GDAL adds what it writes to the number it finds, which is wrong where another program deleted rows without
    the triggers that keep it; and GDAL says nothing when it cannot write it.
    """
    if has_table(database, "gpkg_ogr_contents"):
        quoted = '"' + table.replace('"', '""') + '"'
        database.execute(
            f"UPDATE gpkg_ogr_contents SET feature_count = (SELECT count(*) FROM {quoted}) "  # noqa: S608 (quoted)
            "WHERE lower(table_name) = lower(?)",
            (table,),
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
        shapes = f"SELECT count(*) FROM {table} WHERE {GEOMETRY} IS NOT NULL"  # noqa: S608
        geometry = {"Unknown": "GEOMETRY"}.get(layer.geometry_type, layer.geometry_type.upper())
        kind = "SELECT geometry_type_name FROM gpkg_geometry_columns WHERE table_name = ?"
        # GDAL's own note of the count, which QGIS shows.
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
