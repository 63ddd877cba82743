"""List the pictures in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from geoseg.errors import OptionError, SceneError

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".j2k")
"""Suffixes of pictures in a folder, in lower or upper case."""

Paths = str | os.PathLike[str]


def list_pictures(given: Paths | Sequence[Paths]) -> dict[str, Path]:
    """Return pictures by file name; those of a folder sorted by name.

    Subfolders, hidden files and files with other suffixes are ignored.

    Parameters
    ----------
    given : path or sequence of paths
        Folders, files, or both.

    Raises
    ------
    SceneError
        If there are no pictures.
    OptionError
        If two have the same name.
    """
    several = [given] if isinstance(given, str | os.PathLike) else given
    found: dict[str, Path] = {}
    for path in (file for each in several for file in _files(Path(each))):
        if path.name in found:
            raise OptionError(
                f"{path} and {found[path.name]} have the same name; run them one folder after the other"
            )
        found[path.name] = path
    if not found:
        raise SceneError("no pictures were given, expected a folder or files")
    return found


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        raise SceneError(f"{path}: holds no pictures, expected files that end in {', '.join(SUFFIXES)}")
    return sorted(files)


def signatures(pictures: Mapping[str, Path]) -> dict[str, list[int]]:
    """Return size in bytes and modification time in ns of each picture, to detect changes; [] if it is missing."""
    found: dict[str, list[int]] = {}
    for name, path in pictures.items():
        try:
            status = path.stat()
        except OSError:
            found[name] = []
        else:
            found[name] = [status.st_size, status.st_mtime_ns]
    return found
