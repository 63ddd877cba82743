"""Legends in text form: CSV files, colour tables, QGIS styles, the tag of a raster."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from geoseg.errors import LegendError, plural
from geoseg.grid.legend import Legend, LegendClass, trimmed
from geoseg.grid.qml import style_classes
from geoseg.storage.foreign_text import read_json
from geoseg.storage.printable import shown

LEGEND_TAG = "GEOSEG_LEGEND"
"""Tag of a class map with its legend as JSON: a list of {code, name, color}."""
TASK_TAG = "GEOSEG_TASK"
"""Tag of a map with one band of 0 and 1 per class, in the order of the legend. Its value is ``multilabel``."""


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
"""Names of table columns in lower case, in order of preference."""

_LONGEST_LINE = 10_000
"""Characters of a line in a table of classes. The csv module's own limit is one for the whole process, which readers of
run lengths raise."""


def legend_of(given: Legend | str | os.PathLike[str] | None) -> Legend | None:
    """Return a legend given as such or as the path of a file.

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
    """Read a legend from a CSV file, a colour table (``.clr``, or ``.txt`` as QGIS exports it) or a QGIS style.

    The format is detected by content.

    Raises
    ------
    LegendError
        If the file is not one of these.
    """
    text = _read_text(path)
    if text.lstrip().startswith("<") or path.suffix.lower() == ".qml":
        return _read_style(path, text)
    if path.suffix.lower() == ".clr" or _is_color_table(text):
        return _read_colors(path, text)
    return _read_csv(path, text)


def _is_color_table(text: str) -> bool:
    """Tell whether the first line with content is one of a colour table."""
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
    """Read lines of value, red, green, blue, optional opacity and optional name, separated by spaces or commas."""
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
    """Read the classes of the QGIS style of a paletted raster or of a categorised vector layer."""
    found = style_classes(text)
    if found is None:
        raise LegendError(
            f"{path}: is not a QGIS style with classes, expected that of a paletted raster or a categorised layer"
        )
    return _legend_of_entries(path, found)


def _legend_of_entries(path: Path, entries: Iterable[tuple[str, str, str | None]]) -> Legend:
    """Make a legend of values, names and colours; a class without a name is named after its code."""
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
        raise error.into(LegendError, path) from error


def _read_csv(path: Path, text: str) -> Legend:
    """Read a table with a header: ``code,name,color``, or ``Value,Label,R,G,B``; colours may be missing.

    Semicolons and tabs separate as well as commas; a colour is ``#rrggbb``, ``rrggbb`` or ``#rgb``.
    """
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)  # the comma where none occurs
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if len(line) > _LONGEST_LINE:
            raise LegendError(
                f"{path}, line {number}: has {plural(len(line), 'character')}, expected at most {_LONGEST_LINE:,}"
            )
    rows = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
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
            raise error.into(LegendError, where) from error
        except ValueError as error:
            raise LegendError(f"{where}: code is {shown(cells['code'])}, expected a whole number") from error
        code, name, _ = classes[-1]
        for earlier in classes[:-1]:
            if code == earlier[0] or name == earlier[1]:
                repeated = f"the code {code}" if code == earlier[0] else f"the name {name!r}"
                raise LegendError(f"{where}: repeats {repeated}, expected unique codes and names")
    try:
        return Legend.of(classes)
    except LegendError as error:
        raise error.into(LegendError, path) from error


def _rows(path: Path, rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, naming the line of an error of the csv module."""
    try:
        yield from rows
    except csv.Error as error:
        raise LegendError(f"{path}, line {rows.line_num + 1}: cannot be read ({error})") from error


def _columns(header: Sequence[str]) -> dict[str, str]:
    """Find the columns of code, name and colour by `_COLUMNS`; no column serves twice."""
    fields = {name.strip().lower(): name for name in header if name}
    found: dict[str, str] = {}
    for key, names in _COLUMNS.items():
        column = next((fields[name] for name in names if name in fields), None)
        if column is not None and column not in found.values():
            found[key] = column
    return found


def _color_of(cells: dict[str, str]) -> str | None:
    """Return the colour of a row, from one column or from red, green and blue; None if it has none.

    Raises
    ------
    LegendError
        If red, green or blue is not a number from 0 to 255.
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
    """Parse a whole number, also in the form ``10.0``.

    Raises
    ------
    ValueError
        If it is not a whole number.
    """
    return int(re.sub(r"\.0*$", "", text.strip()))


def _color(text: str) -> str:
    """Normalise a colour to ``#rrggbb``; return any other text unchanged."""
    color = text.strip().lower()
    numbers = re.fullmatch(r"(?:rgb)?\(?\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*\)?", color)
    if numbers and all(int(number) < 256 for number in numbers.groups()):
        return "#{:02x}{:02x}{:02x}".format(*map(int, numbers.groups()))
    digits = color.removeprefix("#")
    if re.fullmatch(r"[0-9a-f]{3}", digits) and color != digits:  # without # it may be any word or number
        digits = "".join(2 * digit for digit in digits)
    return f"#{digits}" if re.fullmatch(r"[0-9a-f]{6}", digits) else color


def legend_to_json(legend: Legend) -> str:
    """Write a legend as the text of `LEGEND_TAG`."""
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
