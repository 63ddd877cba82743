"""Legends as text: CSV files, colour tables, QGIS styles, the tag of a raster."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from geoseg.errors import LegendError
from geoseg.grid.legend import Legend, LegendClass, trimmed
from geoseg.grid.qml import style_classes
from geoseg.storage.foreign_text import read_json
from geoseg.storage.printable import shown

LEGEND_TAG = "GEOSEG_LEGEND"
"""Tag of a class map that holds its legend as JSON: a list of {code, name, color}."""
TASK_TAG = "GEOSEG_TASK"
"""Tag of a class map with a band of 0 and 1 for each class of its legend, in that order: ``multilabel``."""


_LARGEST = 16 * 2**20
_PART = r"(?:\s*,\s*|\s+)"
_COLOR_LINE = re.compile(
    rf"([+-]?\d+(?:\.0*)?){_PART}(\d+){_PART}(\d+){_PART}(\d+)(?:{_PART}\d+)?(?:{_PART}(.*))?"
)
_COLUMNS = {
    "code": ("code", "value", "class_code", "pixel value", "pixel_value", "raster value", "gridcode", "grid_code", "id",
             "dn", "class"),
    "name": ("name", "label", "class_name", "classname", "class name", "description", "category", "class", "title"),
    "color": ("color", "colour", "hex", "rgb", "html"),
    "red": ("red", "r"),
    "green": ("green", "g"),
    "blue": ("blue", "b"),
}  # fmt: skip
"""What the columns of a table are called, in small letters; the first that is there counts."""


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
            f"the legend is a {type(given).__name__}, expected a Legend or the path of a file with one"
        )
    return read_legend(Path(given))


def read_legend(path: Path) -> Legend:
    """Read a legend from a CSV file, a colour table (``.clr``, or as QGIS exports it, ``.txt``) or a QGIS style.

    What the file holds decides, not what it is called.

    Raises
    ------
    LegendError
    """
    text = _read_text(path)
    if text.lstrip().startswith("<") or path.suffix.lower() == ".qml":
        return _read_style(path, text)
    if path.suffix.lower() == ".clr" or _is_color_table(text):
        return _read_colors(path, text)
    return _read_csv(path, text)


def _is_color_table(text: str) -> bool:
    """Whether the first line that says something is one of a colour table."""
    first = next(
        (line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")), ""
    )
    return first.upper().startswith("INTERPOLATION:") or _COLOR_LINE.fullmatch(first) is not None


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise LegendError(f"{path}: is larger than {_LARGEST // 2**20} MB, expected a legend")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LegendError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _read_colors(path: Path, content: str) -> Legend:
    """Read lines of value, red, green, blue, maybe opacity, maybe a name, parted by spaces or commas."""
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
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
        found.append(
            (code, trimmed(trimmed(name or "").strip('"')), "#{:02x}{:02x}{:02x}".format(*map(int, rgb)))
        )
    return _legend_of_entries(path, found)


def _read_style(path: Path, text: str) -> Legend:
    """Read the classes of a style of a paletted raster, or of a layer with categories."""
    found = style_classes(text)
    if found is None:
        raise LegendError(
            f"{path}: is no QGIS style with classes, expected a paletted raster's or categories"
        )
    return _legend_of_entries(path, found)


def _legend_of_entries(path: Path, entries: Iterable[tuple[str, str, str | None]]) -> Legend:
    """Legend of value, name and colour; what has no name is called after its code."""
    classes = []
    for value, name, color in entries:
        try:
            code = _whole(value)
        except ValueError as error:
            raise LegendError(
                f"{path}: a class has the value {shown(value)}, expected a whole number"
            ) from error
        classes.append((code, name or f"class {code}", _color(color or "") or None))
    try:
        return Legend.of(classes)
    except LegendError as error:
        raise LegendError(f"{path}: {error}") from error


def _read_csv(path: Path, text: str) -> Legend:
    """Read a table with a header: ``code,name,color``, or ``Value,Label,R,G,B``; colours may be missing.

    Semicolons and tabs separate as well as commas; a colour is ``#rrggbb``, ``rrggbb`` or ``#rgb``.
    """
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)  # the comma where none occurs
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    try:
        header = [name or "" for name in rows.fieldnames or []]
    except csv.Error as error:
        raise LegendError(f"{path}: its first line cannot be read ({error})") from error
    columns = _columns(header)
    if not {"code", "name"} <= set(columns):
        found = ", ".join(name.strip() for name in header) or "nothing"
        raise LegendError(f"{path}: its first line holds {found[:200]}, expected code,name,color")
    classes: list[tuple[int, str, str | None]] = []
    for row in _rows(path, rows):
        where = f"{path}, line {rows.line_num}"
        cells = {key: trimmed(row[column] or "") for key, column in columns.items()}
        try:
            classes.append((_whole(cells["code"]), cells["name"], _color_of(cells)))
            Legend.of(classes[-1:])
        except LegendError as error:
            raise LegendError(f"{where}: {error}") from error
        except ValueError as error:
            raise LegendError(f"{where}: code is {shown(cells['code'])}, expected a whole number") from error
        code, name, _ = classes[-1]
        for earlier in classes[:-1]:
            if code == earlier[0] or name == earlier[1]:
                repeated = f"the code {code}" if code == earlier[0] else f"the name {name!r}"
                raise LegendError(f"{where}: repeats {repeated}, expected a code and a name of its own")
    try:
        return Legend.of(classes)
    except LegendError as error:
        raise LegendError(f"{path}: {error}") from error


def _rows(path: Path, rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table; what the csv module refuses is named with its line."""
    try:
        yield from rows
    except csv.Error as error:
        raise LegendError(f"{path}, line {rows.line_num + 1}: cannot be read ({error})") from error


def _columns(header: Sequence[str]) -> dict[str, str]:
    """Say which column holds the code, the name and the colour, by `_COLUMNS`; none holds two."""
    fields = {name.strip().lower(): name for name in header if name}
    found: dict[str, str] = {}
    for key, names in _COLUMNS.items():
        column = next((fields[name] for name in names if name in fields), None)
        if column is not None and column not in found.values():
            found[key] = column
    return found


def _color_of(cells: dict[str, str]) -> str | None:
    """Colour of a row of a table, None where it has none: one column, or red, green and blue.

    Raises
    ------
    LegendError
        If red, green or blue is no number from 0 to 255.
    """
    if cells.get("color"):
        return _color(cells["color"])
    parts = [cells.get(key, "") for key in ("red", "green", "blue")]
    if not all(parts):
        return None
    try:
        numbers = [_whole(part) for part in parts]
        if not all(0 <= number <= 255 for number in numbers):
            raise ValueError
    except ValueError as error:
        raise LegendError(f"the colour is {', '.join(parts)}, expected numbers from 0 to 255") from error
    return "#{:02x}{:02x}{:02x}".format(*numbers)


def _whole(text: str) -> int:
    """Whole number of a text, also of ``10.0``.

    Raises
    ------
    ValueError
    """
    return int(re.sub(r"\.0*$", "", text.strip()))


def _color(text: str) -> str:
    """Return a colour as people write it in the form ``#rrggbb``; anything else as it is."""
    color = text.strip().lower()
    numbers = re.fullmatch(r"(?:rgb)?\(?\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*\)?", color)
    if numbers and all(int(number) < 256 for number in numbers.groups()):
        return "#{:02x}{:02x}{:02x}".format(*map(int, numbers.groups()))
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
        entries = read_json(text)
        return Legend(
            classes=tuple(
                LegendClass(code=int(e["code"]), name=str(e["name"]), color=str(e["color"])) for e in entries
            )
        )
    except (ValueError, TypeError, KeyError) as error:
        raise LegendError(f"the tag {LEGEND_TAG} is damaged ({type(error).__name__})") from error
