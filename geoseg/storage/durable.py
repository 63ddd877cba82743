"""Durable file writes: a name holds the old or the new file at every instant, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg.errors import OutputError, plural

_WINDOWS = os.name == "nt"


def fsync(path: Path) -> None:
    """Force the content of a file, or the names in a folder, to the disk.

    On Windows folders cannot be opened and need no flushing, and a file must be open for writing to be flushed.
    """
    if _WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(finished: Path, final: Path) -> None:
    """Rename a finished file to its final name on the same file system, atomically and durably."""
    try:
        fsync(finished)
        # Path.replace is os.replace: atomic on POSIX and on Windows.
        finished.replace(final)
    except OSError as error:
        raise OutputError(
            f"{final}: cannot be written ({error.strerror}); the previous file is untouched"
        ) from error
    try:
        fsync(final.parent)
    except OSError as error:
        raise OutputError(
            f"{final}: is written, but the disk did not confirm its new name ({error.strerror}), so a power cut "
            "could undo it; check the disk"
        ) from error


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a whole file under a temporary name beside `path`, then rename it."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: {plural(len(data), 'byte')} could not be written ({error.strerror}); make room and run the "
            "command again"
        ) from error
    try:
        replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # if it was not renamed
