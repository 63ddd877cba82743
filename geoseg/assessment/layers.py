"""Describe vector files as plain values for `geoseg info`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from geoseg.errors import SceneError
from geoseg.grid.grid import crs_name
from geoseg.vectorfiles.databases import opened
from geoseg.vectorfiles.reading import VectorLayer, choose_layers, layer_shape, read_columns, total_bounds

Description = dict[str, Any]

_LAYERS = """
SELECT c.table_name AS name, g.column_name AS geometry, g.geometry_type_name AS type,
       c.min_x, c.min_y, c.max_x, c.max_y, s.organization, s.organization_coordsys_id AS code, s.srs_name
  FROM gpkg_contents c JOIN gpkg_geometry_columns g USING (table_name)
  LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id
 WHERE c.data_type = 'features' ORDER BY c.table_name
"""
_LAND_COVER = ["class_code", "class_name", "area_m2"]
"""Attributes of land-cover polygons."""
_COUNT = "SELECT COUNT(*) FROM {table}"
_CLASSES = """
SELECT class_code AS code, class_name AS name, COUNT(*) AS polygons, SUM(area_m2) AS area_m2
  FROM {table} GROUP BY class_code, class_name ORDER BY class_code
"""


def describe_geopackage(path: Path) -> Description:
    """Describe the vector layers of a GeoPackage, and the areas of classes if they are land cover.

    Raises
    ------
    SceneError
        If the file is not a GeoPackage, or is damaged.
    """
    try:
        with opened(path) as database:
            database.row_factory = sqlite3.Row
            described = [_layer(database, row) for row in database.execute(_LAYERS).fetchall()]
    except sqlite3.Error as error:
        raise SceneError(f"{path}: is not a GeoPackage that can be read ({error})") from error
    return {"kind": "GeoPackage", "path": str(path), "bytes": path.stat().st_size, "layers": described}


def describe_vectors(path: Path) -> Description:
    """Describe the layers of any other vector file, as `describe_geopackage` does.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    layers = choose_layers(path)
    size = sum(item.stat().st_size for item in path.iterdir()) if path.is_dir() else path.stat().st_size
    return {
        "kind": layers[0].kind.bare_name,
        "path": str(path),
        "bytes": size,
        "layers": [_layer_of_file(path, layer) for layer in layers],
    }


def _layer_of_file(path: Path, layer: VectorLayer) -> Description:
    geometry, features = layer_shape(path, layer)
    bounds = total_bounds(path, layer)
    described = {
        "name": layer.name,
        "geometry": geometry,
        "features": features,
        "crs": crs_name(layer.crs),
        "bounds": None if bounds is None else list(bounds),
        "attributes": [field for field in layer.fields if field != "bbox"],
    }
    if set(_LAND_COVER) <= set(layer.fields):
        table = read_columns(path, layer, _LAND_COVER).combine_chunks()
        sums = table.group_by(_LAND_COVER[:2]).aggregate([("area_m2", "count"), ("area_m2", "sum")])
        described["classes"] = [
            {
                "code": row["class_code"],
                "name": row["class_name"],
                "polygons": row["area_m2_count"],
                "area_m2": row["area_m2_sum"],
            }
            for row in sums.sort_by("class_code").to_pylist()
        ]
    return described


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
    if set(_LAND_COVER) <= set(columns):
        layer["classes"] = [dict(row) for row in database.execute(_CLASSES.format(table=quoted))]
    return layer


def _default_style(database: sqlite3.Connection, layer: str) -> str | None:
    """Return the name of a layer's default style in QGIS, or None."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'").fetchone():
        return None
    found = database.execute(
        "SELECT styleName FROM layer_styles WHERE f_table_name = ? AND useAsDefault", (layer,)
    ).fetchone()
    return None if found is None else str(found[0])
