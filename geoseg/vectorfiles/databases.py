"""Read-only access to SQLite databases (such as GeoPackages) that leaves no files beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

_WRITE_AHEAD: Final = b"\x02\x02"
"""Bytes 18 and 19 of a database in write-ahead mode, whose changes go to a file beside it first."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database read-only for the length of a `with` block.

    A database in write-ahead mode needs a shared memory file beside it, which cannot be created in a read-only folder.
    If there are no pending changes, the database is complete and is opened without that file.

    Raises
    ------
    sqlite3.Error
        If it cannot be opened, or if pending changes beside it cannot be read: without them its content would be
        outdated.
    """
    changes = path.with_name(f"{path.name}-wal")
    complete = _writes_ahead(path) and not (changes.exists() and changes.stat().st_size)
    how = "immutable=1" if complete else "mode=ro"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=1)) as database:
        try:
            database.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN and changes.exists():
                raise sqlite3.OperationalError(
                    f"{changes.name} holds changes that cannot be read because the folder is read-only; copy both "
                    "files to a writable folder"
                ) from error
            raise
        yield database


def _writes_ahead(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[18:] == _WRITE_AHEAD
