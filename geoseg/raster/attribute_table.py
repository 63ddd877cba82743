"""Names and colours of codes beside a raster: attribute tables, and GDAL's category names.

An attribute table has one row per code, with its name and colour among other columns.

GDAL stores them as XML, in ``.aux.xml`` or a VRT, and records the usage of each column; ArcGIS stores them in
``.vat.dbf`` beside the raster, where only the column names tell the usage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from geoseg.grid.legend import trimmed

_MIN, _NAME, _MIN_MAX, _RED, _GREEN, _BLUE = 3, 2, 5, 6, 7, 8
"""GDAL's codes for the usage of a column (``GDALRATFieldUsage``)."""
_VALUES: Final = ("value", "code", "class_value", "gridcode")
_NAMES: Final = (
    "class_name", "class_names", "classname", "class name", "name", "label", "land_cover", "land cover", "landcover",
    "land cover class", "nlcd land cover class", "nlcd_land", "class", "category", "description",
)  # fmt: skip
_COLORS: Final = (("red", "r"), ("green", "g"), ("blue", "b"))
_MOST: Final = 65_536
"""Most rows that are read; a class map has fewer codes."""

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class KnownClasses:
    """Names and colours of class codes.

    Parameters
    ----------
    names : dict of int to str
        Names by code; none is empty.
    colors : dict of int to str
        Colours by code, ``#rrggbb``.
    """

    names: dict[int, str] = field(default_factory=dict)
    colors: dict[int, str] = field(default_factory=dict)

    def __or__(self, other: KnownClasses) -> KnownClasses:
        """Return the union of both, in which the other one takes precedence."""
        return KnownClasses(names=self.names | other.names, colors=self.colors | other.colors)


def table_of_xml(band: ElementTree.Element) -> KnownClasses:
    """Read the attribute table of a band from GDAL's XML; empty if it has none, or none of classes."""
    table = band.find("./GDALRasterAttributeTable")
    if table is None:
        return KnownClasses()
    columns = []
    for column in table.findall("./FieldDefn"):
        name, kind, usage = (column.findtext(key) or "" for key in ("Name", "Type", "Usage"))
        columns.append(_Column(name.strip().lower(), kind.strip() == "2", _number(usage)))
    rows = [[cell.text or "" for cell in row.findall("./F")] for row in islice(table.findall("./Row"), _MOST)]
    first, step = _number(table.get("Row0Min", "0")) or 0, _number(table.get("BinSize", "1")) or 1
    return _classes(columns, rows, range(first, first + step * len(rows), step))


def table_of_dbf(content: bytes) -> KnownClasses:
    """Read the attribute table of a ``.vat.dbf``; empty if it is damaged or not one of classes."""
    try:
        count, start, length = struct.unpack_from("<IHH", content, 4)
        columns, widths, at = [], [], 32
        while content[at] != 0x0D:
            name = content[at : at + 11].split(b"\0")[0].decode("latin-1").strip().lower()
            columns.append(_Column(name, content[at + 11 : at + 12] == b"C", None))
            widths.append(content[at + 16])
            at += 32
    except (struct.error, IndexError):
        return KnownClasses()
    rows = []
    for row in range(min(count, _MOST)):
        record = content[start + row * length : start + (row + 1) * length]
        if len(record) < length or record[:1] == b"*":  # cut off, or deleted
            continue
        cells, place = [], 1
        for width in widths:
            cells.append(_text(record[place : place + width]))
            place += width
        rows.append(cells)
    return _classes(columns, rows, None)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    is_text: bool
    usage: int | None


def _classes(columns: Sequence[_Column], rows: list[list[str]], codes: Iterable[int] | None) -> KnownClasses:
    """Return the names and colours in the rows of a table.

    Parameters
    ----------
    columns : sequence of _Column
        Columns of the table.
    rows : list of list of str
        Cells of each row.
    codes : iterable of int or None
        Codes of the rows, for tables without a column of codes.
    """
    rows = [row for row in rows if len(row) == len(columns)]
    value = _find(columns, (_MIN_MAX, _MIN), _VALUES)
    found = [_number(row[value]) for row in rows] if value is not None else list(codes or ())
    if len(found) != len(rows):
        return KnownClasses()
    name = _find(columns, (_NAME,), _NAMES)
    if name is None:
        name = next((i for i, column in enumerate(columns) if column.is_text), None)
    parts = [
        _find(columns, (usage,), names) for usage, names in zip((_RED, _GREEN, _BLUE), _COLORS, strict=True)
    ]
    texts = {} if name is None else {c: trimmed(row[name]) for c, row in zip(found, rows, strict=True)}
    colors = _colors(found, rows, [part for part in parts if part is not None])
    return KnownClasses(
        names={code: text for code, text in texts.items() if code is not None and text}, colors=colors
    )


def _colors(codes: Sequence[int | None], rows: list[list[str]], parts: Sequence[int]) -> dict[int, str]:
    """Return the colours of rows, whose components are numbers up to 255 or fractions up to 1."""
    if len(parts) < 3:
        return {}
    try:
        numbers = [[float(row[part]) for part in parts] for row in rows]
    except ValueError:
        return {}
    top = max((number for row in numbers for number in row), default=0.0)
    scale = 255 if top <= 1 and any("." in row[part] for row in rows for part in parts) else 1
    scaled = [[round(scale * number) for number in row] for row in numbers]
    if not all(0 <= number <= 255 for row in scaled for number in row):
        return {}
    found = ["#{:02x}{:02x}{:02x}".format(*row) for row in scaled]
    if len(found) > 1 and len(set(found)) == 1:  # a column that nobody filled
        return {}
    return {code: color for code, color in zip(codes, found, strict=True) if code is not None}


def _find(columns: Sequence[_Column], usages: Sequence[int], names: Sequence[str]) -> int | None:
    """Return the index of the column with a usage, or else with a known name."""
    for usage in usages:
        for i, column in enumerate(columns):
            if column.usage == usage:
                return i
    called = {column.name: i for i, column in reversed(list(enumerate(columns)))}
    return next((called[name] for name in names if name in called), None)


def _number(text: str) -> int | None:
    """Parse a text as a whole number; return None if it is not one."""
    try:
        number = float(text)
        return int(number) if number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _text(cell: bytes) -> str:
    """Decode a cell of a DBF file, which does not declare its encoding."""
    try:
        return cell.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return cell.decode("cp1252", errors="replace").strip(" \0")


def categories_to_xml(*bands: Mapping[int, str]) -> str:
    """Write the ``.aux.xml`` that names the codes of each band; other codes get an empty name."""
    text = ["<PAMDataset>"]
    for number, names in enumerate(bands, start=1):
        text += [f'  <PAMRasterBand band="{number}">', "    <CategoryNames>"]
        for code in range(max(names) + 1):
            text.append(f"      <Category>{escape(_NOT_XML.sub(' ', names.get(code, '')))}</Category>")
        text += ["    </CategoryNames>", "  </PAMRasterBand>"]
    return "\n".join([*text, "</PAMDataset>", ""])
