"""Class names and colours from the QGIS style of a layer, embedded in a GeoPackage or in a ``.qml`` file.

Only names and colours are read from a style: entities are refused, and nothing is fetched.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.grid.legend import trimmed
from geoseg.grid.qml import style_tree, symbol_color
from geoseg.raster.file_kinds import DATABASE, GEOPACKAGE, kind_of
from geoseg.vectorfiles.databases import opened

_LARGEST: Final = 16 * 2**20
_EMBEDDED: Final = """
SELECT styleQML FROM layer_styles
 WHERE f_table_name = ? AND length(styleQML) <= ? ORDER BY useAsDefault DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ClassStyle:
    """Style of a class: its label (possibly empty), and its colour as ``#rrggbb`` or None."""

    name: str
    color: str | None


def class_styles(path: Path, layer: str, class_field: str | None, *, alone: bool) -> dict[str, ClassStyle]:
    """Return the styles of a layer's classes by the text of their values; empty if there is no style.

    Parameters
    ----------
    path : Path
        Vector file.
    layer : str
        Name of the layer.
    class_field : str or None
        Attribute with the classes; only a style categorised by it is used. None if the layer is one class, shown by
        a single symbol.
    alone : bool
        Whether it is the only layer of the file, so that a style file beside belongs to it.
    """
    text = _embedded(path, layer) or (_beside(path) if alone else None)
    root = style_tree(text) if text else None
    renderer = None if root is None else root.find("./renderer-v2")
    if renderer is None:
        return {}
    colors = {symbol.get("name"): symbol_color(symbol) for symbol in renderer.findall("./symbols/symbol")}
    if class_field is None:
        single = renderer.get("type") == "singleSymbol"
        return {layer: ClassStyle("", next(iter(colors.values()), None))} if single else {}
    if renderer.get("type") != "categorizedSymbol" or renderer.get("attr", "").strip('"') != class_field:
        return {}
    found: dict[str, ClassStyle] = {}
    for category in renderer.findall("./categories/category"):
        style = ClassStyle(trimmed(category.get("label") or ""), colors.get(category.get("symbol")))
        values = [category.get("value"), *(value.get("value") for value in category.findall("./val"))]
        found.update({value: style for value in values if value})
    return found


def _embedded(path: Path, layer: str) -> str | None:
    """Return the QML in a GeoPackage's table of styles, preferably the default one."""
    try:
        if kind_of(path) not in (GEOPACKAGE, DATABASE):
            return None
        with opened(path) as database:
            row = database.execute(_EMBEDDED, (layer, _LARGEST)).fetchone()
    except (OSError, sqlite3.Error):  # no such table, most often
        return None
    return row[0] if row and isinstance(row[0], str) else None


def _beside(path: Path) -> str | None:
    """Return the text of the style file beside a vector file."""
    style = path.with_suffix(".qml")
    try:
        if style.stat().st_size > _LARGEST:
            return None
        return style.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
