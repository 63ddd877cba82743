"""SQLite databases, which GeoPackages are, opened to be read: wherever they lie, and leaving nothing beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

_WRITE_AHEAD: Final = b"\x02\x02"
"""Bytes 18 and 19 of a database whose changes go to a file beside it first."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for the length of a `with` block.

    A database in write-ahead mode needs a shared memory file beside it, which a read-only share has no place for.
    Where no changes lie beside it, it is complete and opened without.

    Raises
    ------
    sqlite3.Error
        If it cannot be opened; also if changes lie beside it that cannot be read from there: without them it would
        show what was there before.
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
                    f"{changes.name} holds changes that cannot be read in a folder that cannot be written; copy both "
                    "files to one that can"
                ) from error
            raise
        yield database


def _writes_ahead(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[18:] == _WRITE_AHEAD
