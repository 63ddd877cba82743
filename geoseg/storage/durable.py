"""Files that are the old or the new one at every instant, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg.errors import OutputError

_WINDOWS = os.name == "nt"


def fsync(path: Path) -> None:
    """Force a file's bytes, or a folder's names, to the disk.

    Windows writes names by itself and opens no folder, and forces only what is open for writing.
    """
    if _WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(finished: Path, final: Path) -> None:
    """Give a finished file its final name on the same file system, durably and in one step."""
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
            f"{final}: is written, but the disk does not confirm its name ({error.strerror}), which a power cut "
            "could take back; check the disk"
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
            f"{path}: {len(data)} bytes could not be written ({error.strerror}); make room and run the command again"
        ) from error
    try:
        replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # where it did not get its name
