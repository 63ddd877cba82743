"""Tables of a GeoPackage besides the features: QGIS's default styles and metadata of layers."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from geoseg.grid.legend import Legend
from geoseg.grid.qml import grown_qml, polygon_qml
from geoseg.polygons.features import GEOMETRY
from geoseg.vectorfiles.arrow_writer import TIMESTAMP

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
# As the standard has them: OGC 12-128r18, annex F.8.
_METADATA = """
CREATE TABLE gpkg_metadata (
    id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL, md_scope TEXT NOT NULL DEFAULT 'dataset',
    md_standard_uri TEXT NOT NULL, mime_type TEXT NOT NULL DEFAULT 'text/xml', metadata TEXT NOT NULL DEFAULT ''
)
"""
_METADATA_REFERENCE = """
CREATE TABLE gpkg_metadata_reference (
    reference_scope TEXT NOT NULL, table_name TEXT, column_name TEXT, row_id_value INTEGER,
    timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')), md_file_id INTEGER NOT NULL,
    md_parent_id INTEGER, CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),
    CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id)
)
"""
# As GDAL creates the table.
_EXTENSIONS = """
CREATE TABLE gpkg_extensions (
    table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL,
    CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name)
)
"""
_STANDARD = "http://gdal.org"
"""URI that marks the metadata as GDAL's, which returns keys and values as the layer's own."""
_FIND = """
SELECT m.id, m.metadata FROM gpkg_metadata m JOIN gpkg_metadata_reference r ON m.id = r.md_file_id
 WHERE r.table_name = ? AND r.reference_scope = 'table' AND m.md_standard_uri = ? ORDER BY m.id LIMIT 1
"""


def has_table(database: sqlite3.Connection, name: str) -> bool:
    """Tell whether a database has a table."""
    row = database.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)
    ).fetchone()
    return row is not None


def write_style(database: sqlite3.Connection, layer: str, legend: Legend, style: str | None = None) -> None:
    """Make a legend the default style of a layer, or add its new codes to an existing style.

    Parameters
    ----------
    database : sqlite3.Connection
        The GeoPackage.
    layer : str
        Name of the layer.
    legend : Legend
        Classes of the layer.
    style : str, optional
        QML to write for a layer without a style, instead of the legend's.
    """
    if not has_table(database, "layer_styles"):
        database.execute(_LAYER_STYLES)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?, 0)",
            (TIMESTAMP,),
        )
    found = default_style(database, layer)
    if found is not None:
        row, text = found
        database.execute(
            "UPDATE layer_styles SET useAsDefault = (id = ?) WHERE f_table_name = ?", (row, layer)
        )
        database.execute("UPDATE layer_styles SET styleQML = ? WHERE id = ?", (grown_qml(text, legend), row))
        return
    database.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
        "styleName, styleQML, styleSLD, useAsDefault, description, owner, update_time) "
        "VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '', ?)",  # QGIS looks for '', not NULL
        (layer, GEOMETRY, layer[:30], style or polygon_qml(legend), "legend by geoseg", TIMESTAMP),
    )


def default_style(database: sqlite3.Connection, layer: str) -> tuple[int, str] | None:
    """Return the row id and QML of the style in which QGIS shows a layer; None if it has none."""
    if not has_table(database, "layer_styles"):
        return None
    found: tuple[int, str] | None = database.execute(
        "SELECT id, styleQML FROM layer_styles WHERE f_table_name = ? AND styleQML IS NOT NULL "
        "ORDER BY useAsDefault DESC, id DESC LIMIT 1",
        (layer,),
    ).fetchone()
    return found


def write_metadata(database: sqlite3.Connection, layer: str, items: Mapping[str, str]) -> None:
    """Add metadata to a layer in GDAL's form, replacing entries with the same keys."""
    if not items:
        return
    if not has_table(database, "gpkg_metadata"):
        _make_metadata_tables(database)
    known = read_metadata(database, layer)
    text = "".join(
        f"    <MDI key={quoteattr(key)}>{escape(value)}</MDI>\n" for key, value in {**known, **items}.items()
    )
    text = f"<GDALMultiDomainMetadata>\n  <Metadata>\n{text}  </Metadata>\n</GDALMultiDomainMetadata>\n"
    row = database.execute(_FIND, (layer, _STANDARD)).fetchone()
    if row is not None:
        database.execute("UPDATE gpkg_metadata SET metadata = ? WHERE id = ?", (text, row[0]))
        return
    number = database.execute(
        "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata) "
        "VALUES ('dataset', ?, 'text/xml', ?)",
        (_STANDARD, text),
    ).lastrowid
    database.execute(
        "INSERT INTO gpkg_metadata_reference (reference_scope, table_name, timestamp, md_file_id) "
        "VALUES ('table', ?, ?, ?)",
        (layer, TIMESTAMP, number),
    )


def read_metadata(database: sqlite3.Connection, layer: str) -> dict[str, str]:
    """Return the metadata of a layer."""
    if not has_table(database, "gpkg_metadata") or not has_table(database, "gpkg_metadata_reference"):
        return {}
    row = database.execute(_FIND, (layer, _STANDARD)).fetchone()
    if row is None or "<!ENTITY" in row[1]:
        return {}
    try:
        root = ElementTree.fromstring(row[1])  # noqa: S314  entities are refused above
    except ElementTree.ParseError:
        return {}
    domains = [each for each in root.iter("Metadata") if not each.get("domain")]
    return {item.get("key", ""): item.text or "" for each in domains for item in each.findall("MDI")}


def _make_metadata_tables(database: sqlite3.Connection) -> None:
    if not has_table(database, "gpkg_extensions"):
        database.execute(_EXTENSIONS)
    database.execute(_METADATA)
    database.execute(_METADATA_REFERENCE)
    database.executemany(
        "INSERT INTO gpkg_extensions (table_name, extension_name, definition, scope) "
        "VALUES (?, 'gpkg_metadata', 'http://www.geopackage.org/spec120/#extension_metadata', 'read-write')",
        [("gpkg_metadata",), ("gpkg_metadata_reference",)],
    )
