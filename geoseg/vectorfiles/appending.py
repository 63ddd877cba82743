"""Appending to a GeoPackage: what it contains, and whether the polygons of another map fit.

The file itself is never written to: a copy is extended and replaces it when complete.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from geoseg.errors import LegendError, Message, OptionError, OutputBusyError, OutputError
from geoseg.grid.legend import Legend
from geoseg.grid.qml import style_classes
from geoseg.polygons.features import Features
from geoseg.polygons.proof import COVERAGE, coverage_entries, stated_grid
from geoseg.storage.space import check_space
from geoseg.vectorfiles.class_names import CODE, NAME, Called
from geoseg.vectorfiles.databases import opened
from geoseg.vectorfiles.geopackage_tables import default_style, has_table, read_metadata
from geoseg.vectorfiles.layer_fit import Fit, check_fit
from geoseg.vectorfiles.styles import ClassStyle

Value = TypeVar("Value", int, str)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """An existing GeoPackage whose content a new one continues.

    Parameters
    ----------
    path : Path
        The existing file.
    signature : tuple of int
        Inode, size and modification time, to detect changes.
    layers : mapping of str to int
        Number of features of each vector layer.
    replaced : frozenset of str
        Layers that are written anew instead of being continued.
    styled : bool
        Whether replaced layers keep their styles.
    """

    path: Path
    signature: tuple[int, int, int]
    layers: Mapping[str, int]
    replaced: frozenset[str] = frozenset()
    styled: bool = False

    @classmethod
    def of(cls, path: Path, replaced: Iterable[str] = ()) -> Base:
        """Inspect a GeoPackage and check that there is room for a copy.

        Parameters
        ----------
        path : Path
            GeoPackage to continue.
        replaced : iterable of str
            Names of layers that are written anew.

        Raises
        ------
        OutputError
            If it is not a GeoPackage, or the disk is too full.
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
        """Return a layer's name in the file's spelling: SQLite ignores case."""
        return next((known for known in self.layers if known.lower() == name.lower()), name)

    def features(self, name: str) -> int | None:
        """Return the number of features of a layer that is continued; None for any other."""
        return self.layers.get(name) if self.goes_on(name) else None

    def goes_on(self, name: str) -> bool:
        """Return whether a layer exists and is appended to."""
        return name in self.layers and name not in self.replaced

    def check(self, name: str, nothing: Features, legend: Legend | None) -> None:
        """Refuse polygons that do not fit an existing layer.

        Parameters
        ----------
        name : str
            Name of the layer, which may not exist.
        nothing : Features
            Empty set of features with the columns of the polygons.
        legend : Legend or None
            Classes of the map, as far as they are known before it is read.

        Raises
        ------
        OptionError
            If the columns, the geometry type or the CRS differ.
        LegendError
            If codes have other names in the layer.
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
                f"{where}: has names for its classes ({_words(known)}) and the map has none",
                Message("pass {legend}"),
            )
        if legend is not None:
            _check_together(called, legend)

    def check_new(self, name: str, entry: Mapping[str, Any], legend: Legend | None) -> None:
        """Refuse a map whose polygons are already in a layer, by its metadata: every area would count twice.

        Parameters
        ----------
        name : str
            Name of the layer, which may not exist.
        entry : mapping
            Measurements from `Proof.entry`. The same scene on the same grid counts as the same map, unless the
            classes are all others.
        legend : Legend or None
            Legend of the map, to compare classes given by name with those given by code.

        Raises
        ------
        OptionError
            If the layer already has polygons of the map.
        """
        if not self.features(name):
            return
        with _opened(self.path) as database:
            known = coverage_entries(read_metadata(database, name).get(COVERAGE))
            told = "scene" in Fit.of(database, name).columns
        for other in known:
            same = other.get("scene") == entry["scene"] and _same_grid(other.get("grid"), entry["grid"])
            ours, theirs = (_codes(each.get("classes") or (), legend) for each in (entry, other))
            if same and not (ours and theirs and ours.isdisjoint(theirs)):
                scene = f"scene {entry['scene']!r}" if entry["scene"] else "a map without a name"
                grid = entry["grid"]
                # Polygons with a scene cannot be added to a layer without this attribute.
                remedy = Message("pass {duplicate}", duplicate=True)
                if told:
                    remedy = Message("give it its own {scene_name}, or {}", remedy)
                raise OptionError(
                    f"{self.path}, layer {name}: holds polygons of {scene} on this grid ({grid['width']:,} x "
                    f"{grid['height']:,} px at {grid['transform'][2]:.10g} {grid['transform'][5]:.10g}) already, and "
                    f"added again every area would count twice",
                    Message("if it is another one {}", remedy),
                )

    def check_legend(self, name: str, legend: Legend) -> None:
        """Raise LegendError unless the written classes have the same names as in the layer."""
        if self.goes_on(name):
            with _opened(self.path) as database:
                _check_together(_called(database, name, f"{self.path}, layer {name}"), legend)

    def metadata(self, name: str) -> dict[str, str]:
        """Return the metadata of a layer."""
        with _opened(self.path) as database:
            return read_metadata(database, name)

    def fit(self, name: str) -> Fit:
        """Return which attributes and geometries a continued layer accepts."""
        with _opened(self.path) as database:
            return Fit.of(database, name)

    def copy_to(self, path: Path) -> None:
        """Write a copy without write-ahead log, and without the styles of replaced layers."""
        shutil.copyfile(self.path, path)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA journal_mode = DELETE")
            if has_table(database, "layer_styles") and not self.styled:
                gone = [(name,) for name in self.replaced]
                database.executemany("DELETE FROM layer_styles WHERE f_table_name = ?", gone)

    def check_unchanged(self) -> None:
        """Raise OutputBusyError if the file was changed since it was inspected."""
        if _signature(self.path) != self.signature:
            raise OutputBusyError(
                f"{self.path}: was changed by another program meanwhile; close it there and run the command again"
            )


def _check_together(called: Called, legend: Legend) -> None:
    """Raise LegendError if a legend contradicts a layer's: a code with two names, or a name with two codes.

    The layer's style and its features may have different names; a match with either suffices.
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
        raise LegendError(
            f"{called.where}: {problem}", Message("pass a {legend} that agrees, or another {layer}")
        )


def _unlike(one: Value, others: list[Value]) -> Value | None:
    """Return the first of some values if all of them differ from one, else None."""
    return others[0] if others and one not in others else None


def _codes(classes: Iterable[str], legend: Legend | None) -> set[str]:
    """Return the codes of classes that are given by name or by code."""
    codes = {} if legend is None else {c.name.strip(): str(c.code) for c in legend.classes}
    return {codes.get(str(each).strip(), str(each).strip()) for each in classes}


def _same_grid(one: object, other: object) -> bool:
    """Tell whether two entries state the same grid; their CRS is that of the layer."""
    grids = stated_grid(one, None), stated_grid(other, None)
    return grids[0] is not None and grids[1] is not None and not grids[0].differs_from(grids[1])


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _signature(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a GeoPackage read-only; errors of SQLite become one line."""
    try:
        with opened(path) as database:
            yield database
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise OutputError(
            f"{path}: is no GeoPackage that polygons can be added to ({' '.join(str(error).split())[:200]})",
            Message("pass {overwrite} in place of {append} to replace it", overwrite=True, append=True),
        ) from error


def _one(database: sqlite3.Connection, sql: str, *values: object) -> Any:
    row = database.execute(sql, values).fetchone()
    return None if row is None else row[0]


def _called(database: sqlite3.Connection, name: str, where: str) -> Called:
    """Count the names that the features of a layer give their classes, and read those of its style."""
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
