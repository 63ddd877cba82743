"""Legends as text: CSV files, tags of a raster, category names."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from geoseg.errors import LegendError
from geoseg.grid.legend import Legend, LegendClass, made_up_color

LEGEND_TAG = "GEOSEG_LEGEND"
"""Tag of a class map that holds its legend as JSON: a list of {code, name, color}."""


def read_legend_csv(path: Path) -> Legend:
    """Read a legend from a CSV file with a header: ``code,name,color`` (or ``colour``, which may be missing).

    Raises
    ------
    LegendError
        Naming the file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LegendError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    delimiter = ";" if text.split("\n", 1)[0].count(";") > text.split("\n", 1)[0].count(",") else ","
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    fields = {name.strip().lower(): name for name in rows.fieldnames or [] if name}
    if "code" not in fields or "name" not in fields:
        found = ", ".join(fields) or "nothing"
        raise LegendError(f"{path}: its first line holds {found[:200]}, expected code,name,color")
    color_field = fields.get("color") or fields.get("colour")
    classes: list[LegendClass] = []
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        code, name = (row[fields["code"]] or "").strip(), (row[fields["name"]] or "").strip()
        color = (row[color_field] or "").strip().lower() if color_field else ""
        try:
            classes.append(LegendClass(code=int(code), name=name, color=color or made_up_color(len(classes))))
        except LegendError as error:
            raise LegendError(f"{where}: {error}") from error
        except ValueError as error:
            raise LegendError(f"{where}: code is {code!r}, expected a whole number") from error
    try:
        return Legend(classes=tuple(classes))
    except LegendError as error:
        raise LegendError(f"{path}: {error}") from error


def legend_to_json(legend: Legend) -> str:
    """Return the legend as the text of `LEGEND_TAG`."""
    entries = [{"code": c.code, "name": c.name, "color": c.color} for c in legend.classes]
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def legend_from_json(text: str) -> Legend:
    """Read the text of `LEGEND_TAG`.

    Raises
    ------
    LegendError
        If it is not what `legend_to_json` writes.
    """
    try:
        entries = json.loads(text)
        return Legend(
            classes=tuple(
                LegendClass(code=int(e["code"]), name=str(e["name"]), color=str(e["color"])) for e in entries
            )
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LegendError(f"the tag {LEGEND_TAG} is damaged ({type(error).__name__})") from error
