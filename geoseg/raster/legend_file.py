"""Legends as text: CSV files, colour tables, QGIS styles, tags of a raster, category names."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import LegendError
from geoseg.grid.legend import Legend, LegendClass, made_up_color
from geoseg.grid.qml import style_classes

LEGEND_TAG = "GEOSEG_LEGEND"
"""Tag of a class map that holds its legend as JSON: a list of {code, name, color}."""
TASK_TAG = "GEOSEG_TASK"
"""Tag of a class map with a band of 0 and 1 for each class of its legend, in that order: ``multilabel``."""


_LARGEST = 16 * 2**20
_PART = r"(?:\s*,\s*|\s+)"
_COLOR_LINE = re.compile(rf"([+-]?\d+){_PART}(\d+){_PART}(\d+){_PART}(\d+)(?:{_PART}\d+)?(?:{_PART}(.*))?")


def legend_of(given: Legend | str | os.PathLike[str] | None) -> Legend | None:
    """Return a legend that was given as such or as the name of a file.

    Raises
    ------
    LegendError
        If it is neither, or the file cannot be used.
    """
    if given is None or isinstance(given, Legend):
        return given
    if not isinstance(given, str | os.PathLike):
        raise LegendError(
            f"the legend is a {type(given).__name__}, expected a Legend or the path of a CSV file"
        )
    return read_legend(Path(given))


def read_legend(path: Path) -> Legend:
    """Read a legend from a CSV file, a colour table (``.clr``) or a QGIS style (``.qml``).

    Raises
    ------
    LegendError
    """
    if path.suffix.lower() == ".clr":
        return _read_colors(path)
    return _read_style(path) if path.suffix.lower() == ".qml" else read_legend_csv(path)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise LegendError(f"{path}: is larger than {_LARGEST // 2**20} MB, expected a legend")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LegendError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _read_colors(path: Path) -> Legend:
    """Read lines of value, red, green, blue, maybe opacity, maybe a name, parted by spaces or commas."""
    found = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        text = line.strip()
        if (
            not text
            or text.startswith("#")
            or text.upper().startswith("INTERPOLATION:")
            or text[:2].lower() == "nv"
        ):
            continue
        match = _COLOR_LINE.fullmatch(text)
        if not match or any(int(part) > 255 for part in match.groups()[1:4]):
            raise LegendError(
                f"{path}, line {number}: holds {text[:80]!r}, expected value red green blue name"
            )
        code, *rgb, name = match.groups()
        found.append((code, (name or "").strip().strip('"'), "#{:02x}{:02x}{:02x}".format(*map(int, rgb))))
    return _legend_of_entries(path, found)


def _read_style(path: Path) -> Legend:
    """Read the classes of a style of a paletted raster, or of a layer with categories."""
    found = style_classes(_read_text(path))
    if found is None:
        raise LegendError(
            f"{path}: is no QGIS style with classes, expected a paletted raster's or categories"
        )
    return _legend_of_entries(path, found)


def _legend_of_entries(path: Path, entries: Iterable[tuple[str, str, str | None]]) -> Legend:
    """Legend of value, name and colour; what has no name is called after its code."""
    classes = []
    for i, (value, name, color) in enumerate(entries):
        try:
            code = int(value)
        except ValueError as error:
            raise LegendError(f"{path}: a class has the value {value!r}, expected a whole number") from error
        classes.append(
            LegendClass(
                code=code, name=name or f"class {code}", color=_color(color or "") or made_up_color(i)
            )
        )
    try:
        return Legend(classes=tuple(classes))
    except LegendError as error:
        raise LegendError(f"{path}: {error}") from error


def read_legend_csv(path: Path) -> Legend:
    """Read a legend from a CSV file with a header: ``code,name,color`` (or ``colour``, which may be missing).

    Semicolons and tabs separate as well as commas; a colour is ``#rrggbb``, ``rrggbb`` or ``#rgb``.

    Raises
    ------
    LegendError
        Naming the file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LegendError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)  # the comma where none occurs
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
        color = _color(row[color_field] or "") if color_field else ""
        try:
            classes.append(LegendClass(code=int(code), name=name, color=color or made_up_color(len(classes))))
        except LegendError as error:
            raise LegendError(f"{where}: {error}") from error
        except ValueError as error:
            raise LegendError(f"{where}: code is {code!r}, expected a whole number") from error
        for earlier in classes[:-1]:
            if classes[-1].code == earlier.code or name == earlier.name:
                repeated = f"the code {code}" if classes[-1].code == earlier.code else f"the name {name!r}"
                raise LegendError(f"{where}: repeats {repeated}, expected a code and a name of its own")
    try:
        return Legend(classes=tuple(classes))
    except LegendError as error:
        raise LegendError(f"{path}: {error}") from error


def _color(text: str) -> str:
    """Return a colour as people write it in the form ``#rrggbb``; anything else as it is."""
    color = text.strip().lower()
    digits = color.removeprefix("#")
    if re.fullmatch(r"[0-9a-f]{3}", digits) and color != digits:  # without # it may be any word or number
        digits = "".join(2 * digit for digit in digits)
    return f"#{digits}" if re.fullmatch(r"[0-9a-f]{6}", digits) else color


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
