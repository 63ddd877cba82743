"""What a GeoPackage holds beside the layers that are to be replaced: it stays.

``--overwrite`` replaces what a command writes, and a GeoPackage is a container: other layers, tables and projects in it
are not the command's to delete.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import OptionError, OutputBusyError, OutputError
from geoseg.raster.labels import listed
from geoseg.vector.appending import Base
from geoseg.vector.databases import opened
from geoseg.vector.geopackage_tables import has_table

_log = logging.getLogger(__name__)

_SYSTEM = ("gpkg_", "gpkgext_", "rtree_", "sqlite_", "ogr_", "layer_styles")
"""How the names of tables begin that belong to the format or to other tables."""


def kept_beside(path: Path, layers: Iterable[str]) -> Base | None:
    """Return the GeoPackage at `path` with these layers to be replaced; None where nothing else would stay.

    Parameters
    ----------
    path : Path
        A file that may be replaced, or none.
    layers : iterable of str
        Names of the layers that are about to be written.

    Raises
    ------
    OptionError
        If one of them is a table of another kind there.
    OutputBusyError
        If another program is writing the file.
    OutputError
        If it is a database without layers, whose tables would be lost.
    """
    names = list(layers)
    others = content_beside(path, names)
    if not others:
        return None
    _log.info(f"{path}: what else it holds stays: {listed(others)}")
    return Base.of(path, replaced=names)


def content_beside(path: Path, layers: Iterable[str]) -> list[str]:
    """Name what a GeoPackage holds besides some layers, which can be replaced; of a file that is none, nothing.

    Raises
    ------
    OptionError, OutputBusyError, OutputError
        As `kept_beside` does.
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
            f"{path}: cannot be looked into ({error}); close it in other programs, or choose another -o"
        ) from error
    except (sqlite3.Error, UnicodeDecodeError):  # no database, or one that is beyond repair
        return []
    for name in sorted(own & {table.lower() for table in tables}):
        if kinds.get(name) != "features":
            raise OptionError(
                f"{path}: {name} is a table of {kinds.get(name, 'unknown content')} there, expected a layer of "
                "polygons; pass another --layer"
            )
    return sorted(name for name in tables if name.lower() not in own)
