"""What a GeoPackage holds: plain values for `geoseg info`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from geoseg.errors import SceneError
from geoseg.vector.databases import opened

Description = dict[str, Any]

_LAYERS = """
SELECT c.table_name AS name, g.column_name AS geometry, g.geometry_type_name AS type,
       c.min_x, c.min_y, c.max_x, c.max_y, s.organization, s.organization_coordsys_id AS code, s.srs_name
  FROM gpkg_contents c JOIN gpkg_geometry_columns g USING (table_name)
  LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id
 WHERE c.data_type = 'features' ORDER BY c.table_name
"""
_COUNT = "SELECT COUNT(*) FROM {table}"
_CLASSES = """
SELECT class_code AS code, class_name AS name, COUNT(*) AS polygons, SUM(area_m2) AS area_m2
  FROM {table} GROUP BY class_code, class_name ORDER BY class_code
"""


def describe_geopackage(path: Path) -> Description:
    """Describe the vector layers of a GeoPackage, with what each class covers where they are land cover.

    Raises
    ------
    SceneError
        If the file is no GeoPackage, or is damaged.
    """
    try:
        with opened(path) as database:
            database.row_factory = sqlite3.Row
            described = [_layer(database, row) for row in database.execute(_LAYERS).fetchall()]
    except sqlite3.Error as error:
        raise SceneError(f"{path}: is no GeoPackage that can be read ({error})") from error
    return {"kind": "GeoPackage", "path": str(path), "bytes": path.stat().st_size, "layers": described}


def _layer(database: sqlite3.Connection, row: sqlite3.Row) -> Description:
    name = row["name"]
    quoted = '"' + name.replace('"', '""') + '"'
    columns = [c["name"] for c in database.execute("SELECT name FROM pragma_table_info(?)", (name,))]
    known = row["code"] is not None and row["code"] > 0
    extent = [row["min_x"], row["min_y"], row["max_x"], row["max_y"]]
    layer = {
        "name": name,
        "geometry": row["type"],
        "features": database.execute(_COUNT.format(table=quoted)).fetchone()[0],
        "crs": f"{row['organization']}:{row['code']} {row['srs_name']}" if known else row["srs_name"],
        "bounds": None if None in extent else extent,
        "attributes": [column for column in columns if column not in ("fid", row["geometry"])],
        "style": _default_style(database, name),
    }
    if {"class_code", "class_name", "area_m2"} <= set(columns):
        layer["classes"] = [dict(row) for row in database.execute(_CLASSES.format(table=quoted))]
    return layer


def _default_style(database: sqlite3.Connection, layer: str) -> str | None:
    """Name the style that QGIS gives a layer when it opens it."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'").fetchone():
        return None
    found = database.execute(
        "SELECT styleName FROM layer_styles WHERE f_table_name = ? AND useAsDefault", (layer,)
    ).fetchone()
    return None if found is None else str(found[0])
