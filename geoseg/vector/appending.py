"""A GeoPackage to which the polygons of another map are added: what it holds, and whether they fit.

It is never written to: a copy grows, and takes its place when it is complete.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import LegendError, OptionError, OutputBusyError, OutputError
from geoseg.grid.legend import Legend
from geoseg.grid.qml import style_classes
from geoseg.storage.space import check_space
from geoseg.vector.databases import opened
from geoseg.vector.features import GEOMETRY, Features
from geoseg.vector.geopackage_tables import default_style, has_table

_SQL_TYPES = {"int64": "INTEGER", "string": "TEXT", "double": "REAL"}
_GIVES = {
    "confidence": "--confidence",
    "second_code": "--probabilities",
    "second_name": "--probabilities",
    "second_share": "--probabilities",
    "scene": "--scene",
}
"""Options with which polygons have a column."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """A GeoPackage that is to grow.

    Parameters
    ----------
    path : Path
    signature : tuple of int
        What tells a changed file.
    layers : mapping of str to int
        Features of each layer of polygons and the like.
    replaced : frozenset of str
        Those of the layers that are written anew instead of going on.
    """

    path: Path
    signature: tuple[int, int, int]
    layers: Mapping[str, int]
    replaced: frozenset[str] = frozenset()

    @classmethod
    def of(cls, path: Path, replaced: Iterable[str] = ()) -> Base:
        """Look into a GeoPackage, and whether there is room for a copy.

        Parameters
        ----------
        path : Path
        replaced : iterable of str
            Names of layers that are written anew.

        Raises
        ------
        OutputError
            If it is none, or the disk is too full.
        """
        signature = _signature(path)
        with _opened(path) as database:
            names = [
                str(name)
                for (name,) in database.execute(
                    "SELECT table_name FROM gpkg_contents WHERE data_type = 'features' ORDER BY table_name"
                )
            ]
            counts = {name: _one(database, f"SELECT count(*) FROM {quoted(name)}") for name in names}  # noqa: S608
        check_space(path.parent, signature[1], remedy="make room")
        anew = {name.lower() for name in replaced}
        return cls(
            path=path,
            signature=signature,
            layers=counts,
            replaced=frozenset(name for name in names if name.lower() in anew),
        )

    def spelled(self, name: str) -> str:
        """Return a layer's name as the file has it: SQLite does not tell upper from lower case."""
        return next((known for known in self.layers if known.lower() == name.lower()), name)

    def features(self, name: str) -> int | None:
        """Count the features of a layer that goes on; None where it is not there."""
        return self.layers.get(name) if self.goes_on(name) else None

    def goes_on(self, name: str) -> bool:
        """Whether a layer is there, and not written anew."""
        return name in self.layers and name not in self.replaced

    def check(self, name: str, nothing: Features, legend: Legend | None) -> None:
        """Refuse polygons that do not fit a layer.

        Parameters
        ----------
        name : str
            A layer that may not be there.
        nothing : Features
            None of the polygons, with their columns.
        legend : Legend or None
            Classes of the map, as far as they are known before it is read.

        Raises
        ------
        OptionError
            If the columns, the kind of geometry or the CRS are others.
        LegendError
            If codes have other names there.
        """
        if not self.goes_on(name):
            return
        where = f"{self.path}, layer {name}"
        with _opened(self.path) as database:
            _check_geometry(database, name, nothing.crs, where)
            _check_columns(database, name, nothing, where)
            known = _legend_of(database, name)
        if known is None:
            return
        if legend is None and any(c.name != f"class {c.code}" for c in known.classes):
            raise LegendError(
                f"{where}: has names for its classes ({_words(known)}) and the map has none; pass --legend"
            )
        if legend is not None:
            check_together(known, legend, where)

    def legend(self, name: str) -> Legend | None:
        """Classes of a layer by its features and its style; None where there are none."""
        if not self.goes_on(name):
            return None
        with _opened(self.path) as database:
            return _legend_of(database, name)

    def copy_to(self, path: Path) -> None:
        """Write a copy that closes without traces, and without the styles of layers that are written anew."""
        shutil.copyfile(self.path, path)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA journal_mode = DELETE")
            if has_table(database, "layer_styles"):
                gone = [(name,) for name in self.replaced]
                database.executemany("DELETE FROM layer_styles WHERE f_table_name = ?", gone)

    def check_unchanged(self) -> None:
        """Raise OutputBusyError if somebody wrote the file since it was looked into."""
        if _signature(self.path) != self.signature:
            raise OutputBusyError(
                f"{self.path}: was changed by another program meanwhile; close it there and run the command again"
            )


def check_together(known: Legend, legend: Legend, where: str) -> None:
    """Raise LegendError unless two legends could be one: no code with two names, no name with two codes."""
    names = {c.code: c.name for c in known.classes}
    codes = {c.name: c.code for c in known.classes}
    for c in legend.classes:
        if names.get(c.code, c.name) != c.name:
            problem = f"calls code {c.code} {names[c.code]!r}, the map {c.name!r}"
        elif codes.get(c.name, c.code) != c.code:
            problem = f"gives {c.name!r} the code {codes[c.name]}, the map {c.code}"
        else:
            continue
        raise LegendError(f"{where}: {problem}; pass a --legend that agrees, or another --layer")


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _signature(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a GeoPackage to read it; what SQLite says of it becomes one line."""
    try:
        with opened(path) as database:
            yield database
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise OutputError(
            f"{path}: is no GeoPackage that polygons can be added to ({' '.join(str(error).split())[:200]}); pass "
            "--overwrite in place of --append to replace it"
        ) from error


def _one(database: sqlite3.Connection, sql: str, *values: object) -> Any:
    row = database.execute(sql, values).fetchone()
    return None if row is None else row[0]


def _check_geometry(database: sqlite3.Connection, name: str, crs: str | None, where: str) -> None:
    found = database.execute(
        "SELECT g.column_name, g.geometry_type_name, g.z, g.m, s.srs_id, s.organization, s.organization_coordsys_id, "
        "s.definition FROM gpkg_geometry_columns g JOIN gpkg_spatial_ref_sys s ON g.srs_id = s.srs_id "
        "WHERE g.table_name = ?",
        (name,),
    ).fetchone()
    if found is None or tuple(found[:4]) != (GEOMETRY, "POLYGON", 0, 0):
        kind = "no geometry" if found is None else f"a column {found[0]} of {found[1]}"
        raise OptionError(f"{where}: has {kind}, expected {GEOMETRY} of POLYGON; add to another --layer")
    indexed = "SELECT 1 FROM gpkg_extensions WHERE table_name = ? AND extension_name = 'gpkg_rtree_index'"
    if not has_table(database, "gpkg_extensions") or not _one(database, indexed, name):
        raise OptionError(
            f"{where}: has no spatial index; make one (in QGIS: Create spatial index) and try again"
        )
    if not _same_crs(crs, *found[4:]):
        raise OptionError(
            f"{where}: has the CRS {found[5]}:{found[6]}, the map {_crs_name(crs)}; add to another --layer, or warp "
            "the map"
        )


def _same_crs(crs: str | None, srs_id: int, organization: str, code: int, definition: str) -> bool:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if crs is None or srs_id in (-1, 0):
        return crs is None and srs_id == -1
    for words in (f"{organization}:{code}", definition):
        try:
            if CRS.from_user_input(words).equals(CRS.from_wkt(crs), ignore_axis_order=True):
                return True
        except CRSError:
            continue
    return False


def _crs_name(crs: str | None) -> str:
    from pyproj import CRS

    return "none" if crs is None else CRS.from_wkt(crs).name


def _check_columns(database: sqlite3.Connection, name: str, nothing: Features, where: str) -> None:
    expected = {field.name: _SQL_TYPES[str(field.type)] for field in nothing.attributes().schema}
    found = {
        row[1]: str(row[2]).partition("(")[0].upper()
        for row in database.execute(f"PRAGMA table_info({quoted(name)})")
        if not row[5] and row[1] != GEOMETRY
    }
    lacking = [column for column in found if column not in expected]
    if lacking:
        raise OptionError(
            f"{where}: has {', '.join(lacking)}, which the polygons lack; {_remedy('pass', lacking)}"
        )
    further = [column for column in expected if column not in found]
    if further:
        raise OptionError(
            f"{where}: lacks {', '.join(further)}, which the polygons have; {_remedy('leave out', further)}"
        )
    for column, kind in expected.items():
        if found[column] != kind:
            raise OptionError(
                f"{where}: column {column} is {found[column]}, expected {kind}; add to another --layer"
            )


def _remedy(verb: str, columns: list[str]) -> str:
    """Say what to do about columns: the options that make them, where options do."""
    options = sorted({_GIVES.get(column, "") for column in columns})
    return (f"{verb} {' and '.join(options)}, or " if all(options) else "") + "add to another --layer"


def _legend_of(database: sqlite3.Connection, name: str) -> Legend | None:
    """Names that the features have, and colours and further classes of the style."""
    rows = database.execute(f"SELECT DISTINCT class_code, class_name FROM {quoted(name)}")  # noqa: S608
    names = {int(code): str(text) for code, text in rows if code is not None and text}
    style = default_style(database, name)
    colors: dict[int, str] = {}
    for value, label, color in (style_classes(style[1]) if style else None) or []:
        if value.lstrip("-").isdecimal():
            if label and label not in names.values():
                names.setdefault(int(value), label)
            colors[int(value)] = color or ""
    try:
        classes = [(code, text, colors.get(code) or None) for code, text in names.items()]
        return Legend.of(classes) if classes else None
    except LegendError:
        return None


def _words(legend: Legend) -> str:
    words = [f"{c.code} {c.name}" for c in legend.classes]
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
