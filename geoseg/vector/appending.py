"""A GeoPackage to which the polygons of another map are added: what it holds, and whether they fit.

It is never written to: a copy grows, and takes its place when it is complete.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from geoseg.errors import LegendError, OptionError, OutputBusyError, OutputError
from geoseg.grid.legend import Legend
from geoseg.grid.qml import style_classes
from geoseg.storage.space import check_space
from geoseg.vector.class_names import CODE, NAME, Called
from geoseg.vector.databases import opened
from geoseg.vector.features import Features
from geoseg.vector.geopackage_tables import default_style, has_table, read_metadata
from geoseg.vector.layer_fit import Fit, check_fit
from geoseg.vector.proof import COVERAGE, coverage_entries
from geoseg.vector.styles import ClassStyle

Value = TypeVar("Value", int, str)


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
    styled : bool
        Whether these keep their styles.
    """

    path: Path
    signature: tuple[int, int, int]
    layers: Mapping[str, int]
    replaced: frozenset[str] = frozenset()
    styled: bool = False

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
            check_fit(database, name, nothing, where)
            called = _called(database, name, where)
        known = called.legend()
        if known is None:
            return
        if legend is None and any(c.name != f"class {c.code}" for c in known.classes):
            raise LegendError(
                f"{where}: has names for its classes ({_words(known)}) and the map has none; pass --legend"
            )
        if legend is not None:
            _check_together(called, legend)

    def check_new(self, name: str, entry: Mapping[str, Any], legend: Legend | None) -> None:
        """Refuse a map whose polygons a layer has already, as far as its metadata tells: every area would double.

        Parameters
        ----------
        name : str
            A layer that may not be there.
        entry : mapping
            As `Proof.entry` gives it. The same scene on the same grid is the same map, unless of other classes alone.
        legend : Legend or None
            Of the map: classes may be named or given by their codes.

        Raises
        ------
        OptionError
        """
        if not self.features(name):
            return
        with _opened(self.path) as database:
            known = coverage_entries(read_metadata(database, name).get(COVERAGE))
            told = "scene" in Fit.of(database, name).columns
        for other in known:
            same = all(other.get(key) == entry[key] for key in ("scene", "grid"))
            ours, theirs = (_codes(each.get("classes") or (), legend) for each in (entry, other))
            if same and not (ours and theirs and ours.isdisjoint(theirs)):
                scene = f"scene {entry['scene']!r}" if entry["scene"] else "a map without a name"
                grid = entry["grid"]
                # A layer without the attribute does not take polygons with it.
                remedy = "give it its own --scene, or pass --duplicate" if told else "pass --duplicate"
                raise OptionError(
                    f"{self.path}, layer {name}: holds polygons of {scene} on this grid ({grid['width']:,} x "
                    f"{grid['height']:,} px at {grid['transform'][2]:.10g} {grid['transform'][5]:.10g}) already, and "
                    f"added again every area would count twice; if it is another one {remedy}"
                )

    def check_legend(self, name: str, legend: Legend) -> None:
        """Raise LegendError unless the classes that were written are called as a layer calls them."""
        if self.goes_on(name):
            with _opened(self.path) as database:
                _check_together(_called(database, name, f"{self.path}, layer {name}"), legend)

    def metadata(self, name: str) -> dict[str, str]:
        """Return what is kept with a layer."""
        with _opened(self.path) as database:
            return read_metadata(database, name)

    def fit(self, name: str) -> Fit:
        """Return what of polygons a layer that goes on takes."""
        with _opened(self.path) as database:
            return Fit.of(database, name)

    def copy_to(self, path: Path) -> None:
        """Write a copy that closes without traces, and without the styles of layers that are written anew."""
        shutil.copyfile(self.path, path)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA journal_mode = DELETE")
            if has_table(database, "layer_styles") and not self.styled:
                gone = [(name,) for name in self.replaced]
                database.executemany("DELETE FROM layer_styles WHERE f_table_name = ?", gone)

    def check_unchanged(self) -> None:
        """Raise OutputBusyError if somebody wrote the file since it was looked into."""
        if _signature(self.path) != self.signature:
            raise OutputBusyError(
                f"{self.path}: was changed by another program meanwhile; close it there and run the command again"
            )


def _check_together(called: Called, legend: Legend) -> None:
    """Raise LegendError unless a legend could be that of a layer: no code with two names, no name with two codes.

    The layer's style and its features may have different names; either will do.
    """
    styled, plain = called.legend(tell=False), replace(called, styles={}).legend(tell=False)
    known = [each for each in (styled, plain) if each is not None]
    names = [{c.code: c.name for c in each.classes} for each in known]
    codes = [{c.name: c.code for c in each.classes} for each in known]
    for c in legend.classes:
        other_name = _unlike(c.name, [each[c.code] for each in names if c.code in each])
        other_code = _unlike(c.code, [each[c.name] for each in codes if c.name in each])
        if other_name is not None:
            problem = f"calls code {c.code} {other_name!r}, the map {c.name!r}"
        elif other_code is not None:
            problem = f"gives {c.name!r} the code {other_code}, the map {c.code}"
        else:
            continue
        raise LegendError(f"{called.where}: {problem}; pass a --legend that agrees, or another --layer")


def _unlike(one: Value, others: list[Value]) -> Value | None:
    """Return the first of some values that are all others than one."""
    return others[0] if others and one not in others else None


def _codes(classes: Iterable[str], legend: Legend | None) -> set[str]:
    """Codes of classes that are named or given by their codes."""
    codes = {} if legend is None else {c.name.strip(): str(c.code) for c in legend.classes}
    return {codes.get(str(each).strip(), str(each).strip()) for each in classes}


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


def _called(database: sqlite3.Connection, name: str, where: str) -> Called:
    """Names that the features of a layer and its style have for the classes."""
    fields = [CODE, *(column for column in Fit.of(database, name).columns if column == NAME)]
    listed = ", ".join(fields)
    found = database.execute(f"SELECT {listed}, count(*) FROM {quoted(name)} GROUP BY {listed}")  # noqa: S608
    style = default_style(database, name)
    shown = (style_classes(style[1]) if style else None) or []
    styles = {value: ClassStyle(label or "", color) for value, label, color in shown}
    return Called.of({tuple(row[:-1]): int(row[-1]) for row in found}, where, styles)


def _words(legend: Legend) -> str:
    words = [f"{c.code} {c.name}" for c in legend.classes]
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
