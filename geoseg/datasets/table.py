"""Read tables that list a data set: CSV, Parquet, GeoPackage or another vector file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from geoseg.errors import DataError, plural
from geoseg.raster.file_kinds import GEOPARQUET, kind_of
from geoseg.storage.printable import listed

Row = Mapping[str, str]
"""Cells by column name in lower case; an empty cell is an empty text."""

COLUMNS: Final = ("image", "label", "split", "group")
"""Columns that are used; others are ignored."""
_DELIMITERS: Final = ",;\t"


def read_table(path: Path, needed: Sequence[str]) -> list[Row]:
    """Read the rows of a table, top to bottom.

    Parameters
    ----------
    path : Path
        The table.
    needed : sequence of str
        Columns that must exist.

    Raises
    ------
    DataError
        If the table cannot be read, has no rows, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path}: is not there; correct data.table or data.root")
    columns = _columns(path)
    known = {name.strip().lower(): name for name in columns}
    missing = [name for name in needed if name not in known]
    if missing:
        raise DataError(
            f"{path}: has no column {' and no column '.join(missing)}, found {listed(columns) or 'none'}; "
            "add or rename it"
        )
    chosen = {name: [_text(cell) for cell in columns[known[name]]] for name in COLUMNS if name in known}
    rows = [dict(zip(chosen, cells, strict=True)) for cells in zip(*chosen.values(), strict=True)]
    if not rows:
        raise DataError(f"{path}: has no rows, expected one for each image")
    return list(rows)


def _columns(path: Path) -> dict[str, list[Any]]:
    if path.suffix.lower() in (".csv", ".tsv"):
        return _csv(path)
    try:
        kind = kind_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if kind is None or kind.holds != "vector":
        raise DataError(f"{path}: is not a table that can be read, expected .csv, .gpkg or .parquet")
    return _parquet(path) if kind == GEOPARQUET else _vectors(path)


def _csv(path: Path) -> dict[str, list[Any]]:
    """Return the columns of a CSV file; the delimiter is found from its header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(_DELIMITERS, key=header.count)
            lines = [cells for cells in csv.reader(file, delimiter=delimiter, strict=True) if any(cells)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file in UTF-8 ({error}); save it as one") from error
    if not lines:
        raise DataError(f"{path}: is empty, expected a header and a row for each image")
    names = lines[0]
    _refuse_repeated(path, names)
    for number, cells in enumerate(lines[1:], start=1):
        if len(cells) != len(names):
            raise DataError(
                f"{path}: row {number} has {plural(len(cells), 'cell')}, expected {len(names)} as the header "
                "has; correct it"
            )
    return {name: [cells[i] for cells in lines[1:]] for i, name in enumerate(names)}


def _vectors(path: Path) -> dict[str, list[Any]]:
    """Return the columns of the only (or first) layer of a vector file."""
    from geoseg.vectorfiles.ogr import pyogrio
    from geoseg.vectorfiles.reading import check_vector_file

    check_vector_file(path)
    try:
        found, _, _, columns = pyogrio.raw.read(path.absolute(), layer=0, read_geometry=False)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a table ({_one_line(error)})") from error
    return {str(name): list(column) for name, column in zip(found["fields"], columns, strict=True)}


def _parquet(path: Path) -> dict[str, list[Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            read = file.read(columns=[name for name in names if name.strip().lower() in COLUMNS]).to_pydict()
            return {name: read.get(name, []) for name in names}
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a Parquet table ({_one_line(error)})") from error


def _refuse_repeated(path: Path, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in (name.strip().lower() for name in names):
        if name in seen and name in COLUMNS:
            raise DataError(f"{path}: has two columns {name}, expected one; remove the other")
        seen.add(name)


def _text(cell: Any) -> str:
    """Return a cell as text: 3.0 (in an integer column with gaps) is 3, and missing values are empty."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
