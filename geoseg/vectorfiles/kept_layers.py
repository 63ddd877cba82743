"""Content of a GeoPackage besides the layers that are replaced, which is kept.

Overwriting replaces only the layers that a command writes: a GeoPackage is a container, and its other layers, tables
and projects are kept.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import ELSEWHERE, Message, OptionError, OutputBusyError, OutputError
from geoseg.storage.printable import listed
from geoseg.vectorfiles.appending import Base
from geoseg.vectorfiles.databases import opened
from geoseg.vectorfiles.geopackage_tables import has_table

_log = logging.getLogger(__name__)

_SYSTEM = ("gpkg_", "gpkgext_", "rtree_", "sqlite_", "ogr_", "layer_styles")
"""Name prefixes of tables that belong to the format or to other tables."""


def kept_beside(path: Path, layers: Iterable[str]) -> Base | None:
    """Return the GeoPackage at `path` whose other content is kept; None if there is none to keep.

    Parameters
    ----------
    path : Path
        File that may be replaced, or that does not exist.
    layers : iterable of str
        Names of the layers that will be written.

    Raises
    ------
    OptionError
        If one of them is another kind of table in the file.
    OutputBusyError
        If another program is writing the file.
    OutputError
        If the file is a database without layers, whose tables would be lost.
    """
    names = list(layers)
    others = content_beside(path, names)
    if not others:
        return None
    _log.info(f"{path}: its other content is kept: {listed(others)}")
    return Base.of(path, replaced=names)


def content_beside(path: Path, layers: Iterable[str]) -> list[str]:
    """Return the names of a GeoPackage's content besides some layers; empty for other files.

    Raises
    ------
    OptionError, OutputBusyError, OutputError
        Under the conditions of `kept_beside`.
    """
    own = {name.lower() for name in layers}
    if not path.is_file():
        return []
    try:
        with opened(path) as database:
            tables = [
                str(name)
                for (name,) in database.execute(
                    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                )
                if not str(name).lower().startswith(_SYSTEM)
            ]
            if not has_table(database, "gpkg_contents"):
                if tables:
                    raise OutputError(
                        f"{path}: is a database with {listed(tables)}, which is no GeoPackage; choose another name"
                    )
                return []
            kinds = {
                str(name).lower(): str(kind)
                for name, kind in database.execute("SELECT table_name, data_type FROM gpkg_contents")
            }
    except sqlite3.OperationalError as error:
        raise OutputBusyError(
            f"{path}: cannot be looked into ({error})",
            Message("close it in other programs, or {}", ELSEWHERE),
        ) from error
    except (sqlite3.Error, UnicodeDecodeError):  # not a database, or a damaged one
        return []
    for name in sorted(own & {table.lower() for table in tables}):
        if kinds.get(name) != "features":
            raise OptionError(
                f"{path}: {name} is a table of {kinds.get(name, 'unknown content')} there, expected a layer of "
                "polygons",
                Message("pass another {layer}"),
            )
    return sorted(name for name in tables if name.lower() not in own)
