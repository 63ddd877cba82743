"""Exclusive claims on outputs: checked, locked, prepared in a scratch folder and committed at the end."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geoseg.errors import (
    ELSEWHERE,
    REPLACE,
    GeosegError,
    Message,
    OptionError,
    OutputBusyError,
    OutputError,
    OutputExistsError,
    ResumeError,
    Text,
)
from geoseg.storage.durable import replace, write_bytes
from geoseg.storage.journal import JOURNAL
from geoseg.storage.lock import locked
from geoseg.storage.sidecars import (
    RASTER_SIDECARS,
    RASTER_SUFFIXES,
    refuse_sidecars_of_others,
    sidecar_path,
)

_REMOTE = re.compile("/vsi|[a-z][a-z0-9]+:/")
_SIDECARS = "sidecars.json"
"""File in the scratch folder that lists the sidecars a commit has yet to write."""
_PART = ".geoseg-part"
_RUN_FILE = ".run.json"
"""Suffix that `geoseg.storage.run_record` adds to the name of an output."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Exclusive right to write one output, with a folder beside it to prepare it in.

    Parameters
    ----------
    path : Path
        The output.
    scratch : Path
        Folder on the same file system, removed after success. Its path is absolute, so that libraries do not
        interpret the beginning of a name such as ``http:``.
    """

    path: Path
    scratch: Path

    def prepare(self, name: str | None = None) -> Path:
        """Return a path in the scratch folder for a product, after removing leftovers of a killed run.

        Writers would append to an incomplete GeoPackage, or continue its change counter. The name does not
        derive from the output's, which may collide with other scratch files or be too long.
        """
        suffix = Path(name or self.path.name).suffix
        for leftover in self.scratch.glob("product*"):
            leftover.unlink()
        return self.scratch / f"product{suffix}"

    def commit(
        self, finished: Path, final: Path | None = None, sidecars: Mapping[str, str] | None = None
    ) -> None:
        """Move a verified file from the scratch folder to its final name.

        Law: the final name holds the old complete file or the new complete file at every instant. Sidecars of the
        old file are removed before, new ones written after; if a kill falls in between, the next `claim` of the
        name writes them.

        Parameters
        ----------
        finished : Path
            Complete, verified file in the scratch folder.
        final : Path, optional
            Final name; the claimed output by default.
        sidecars : mapping of str to str, optional
            Text by suffix: ``.qml`` replaces the extension, ``.aux.xml`` is added to the name.

        Raises
        ------
        OutputBusyError
            If a program has opened the old GeoPackage since it was claimed.
        """
        target = final or self.path
        _check_transactions(target)
        # Some writers create private files; a product gets the permissions of the umask, as its folder did.
        finished.chmod(self.scratch.stat().st_mode & 0o666)
        sidecar_path(target, _RUN_FILE).unlink(missing_ok=True)
        if target.suffix.lower() in RASTER_SUFFIXES:
            for suffix in RASTER_SIDECARS:
                sidecar_path(target, suffix).unlink(missing_ok=True)
        if sidecars:
            note = {"name": target.name, "inode": finished.stat().st_ino, "texts": dict(sidecars)}
            write_bytes(self.scratch / _SIDECARS, json.dumps(note).encode())
        replace(finished, target)
        for suffix, text in (sidecars or {}).items():
            write_bytes(sidecar_path(target, suffix), text.encode())
        (self.scratch / _SIDECARS).unlink(missing_ok=True)


def _put_sidecars(scratch: Path) -> None:
    """Write the sidecars that are missing because a commit was killed after its rename."""
    try:
        note = json.loads((scratch / _SIDECARS).read_text(encoding="utf-8"))
        target = scratch.parent / note["name"]
        if target.stat().st_ino != note["inode"]:
            return
    except (OSError, ValueError, KeyError):
        return
    for suffix, text in note["texts"].items():
        write_bytes(sidecar_path(target, suffix), text.encode())


def scratch_folder(path: Path) -> Path:
    """Return the folder beside an output in which it is prepared, as an absolute path."""
    return path.absolute().with_name(path.name + _PART)


def clear_leftovers(path: Path) -> None:
    """Remove the scratch folder and lock that a killed writer left beside a finished output.

    Raises
    ------
    OutputBusyError
        If the writer is still running.
    """
    if scratch_folder(path).exists() or _lock_file(path).exists():
        with claim(path, overwrite=True):
            pass


def _lock_file(path: Path) -> Path:
    return path.absolute().with_name(path.name + ".geoseg-lock")


def check_local(path: Path) -> None:
    """Refuse a path on object storage, which has neither rename nor locks.

    Raises
    ------
    OutputError
        If the path is remote or not valid UTF-8.
    """
    if _REMOTE.match(str(path)):
        raise OutputError(
            f"{path}: outputs need a local file system (rename and locks); write locally, then copy"
        )
    check_encoding(path, OutputError)


def check_encoding(path: Path, error: type[GeosegError]) -> None:
    """Raise `error` for a path that is not valid UTF-8, which GDAL, PROJ and JSON cannot handle."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = ascii(os.fspath(path))
        raise error(f"{shown}: is not valid UTF-8, as paths must be; choose another name") from None


def output_of(path: Path) -> Path:
    """Return the output that a file in a scratch folder belongs to, for messages; other paths are unchanged."""
    return (
        path.parent.with_name(path.parent.name.removesuffix(_PART))
        if path.parent.name.endswith(_PART)
        else path
    )


def check_output(path: Path) -> None:
    """Refuse a path that cannot become an output, before any work is done.

    Raises
    ------
    OutputError
        If it is remote, a folder or a device, or lies in a folder that does not exist.
    """
    check_local(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, expected a file name")
    if path.exists() and not path.is_file():
        # A rename would replace /dev/null by a file.
        raise OutputError(f"{path}: is a device or a pipe, expected a file name")
    if not path.parent.is_dir():
        raise OutputError(
            f"{path}: the folder {path.parent} does not exist", Message("make it or choose another {output}")
        )


@contextmanager
def claim(path: Path, *, overwrite: bool, resumable: bool = False, fresh: bool = False) -> Iterator[Claim]:
    """Claim an output for the length of a `with` block.

    Parameters
    ----------
    path : Path
        The output.
    overwrite : bool
        Whether an existing output may be replaced.
    resumable : bool
        Whether unfinished work is kept on failure and found again. An existing output is then accepted if its
        scratch folder still exists (the caller compares the journal).
    fresh : bool
        Discard unfinished work first.

    Raises
    ------
    OutputExistsError, OutputBusyError, OutputError
        If the output exists, is in use or cannot be written, or if a file beside a raster would go that is not
        its own; before anything is written.
    """
    check_output(path)
    scratch = scratch_folder(path)
    with locked(_lock_file(path), path):
        _put_sidecars(scratch)
        if fresh or not resumable or not (scratch / JOURNAL).exists():
            _discard(scratch)
        if path.exists():
            if not overwrite and not scratch.exists():
                raise OutputExistsError(f"{path}: already exists", REPLACE)
            _check_transactions(path)
        elif not overwrite:
            refuse_sidecars_of_others(path)
        try:
            scratch.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{scratch}: cannot be made ({error.strerror})", ELSEWHERE) from error
        try:
            yield Claim(path, scratch)
        except BaseException as error:
            # A journal alone is of no use: a run that was refused before it began leaves no trace.
            if not resumable or {item.name for item in scratch.glob("*")} <= {JOURNAL}:
                _discard(scratch)
            if isinstance(error, OSError) and _of_writing(error, scratch):
                raise OutputError(
                    f"{path}: cannot be written ({error.strerror}); the previous file is untouched"
                ) from error
            if isinstance(error, GeosegError) and not isinstance(error, ResumeError):
                error.problem = _named(error.problem, scratch, path)
            raise
        _discard(scratch)


def _check_transactions(path: Path) -> None:
    """Refuse to replace a GeoPackage with an open transaction, which SQLite would apply to the new file."""
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            raise OutputBusyError(
                f"{path}: is open in another program (QGIS?), or one died in it and left {path.name}{suffix}",
                Message("close it there or choose another {output}"),
            )


def _named(problem: Text, scratch: Path, output: Path) -> Text:
    """Replace paths in the scratch folder by the output's in a message: users do not know the former."""
    working = re.compile(re.escape(str(scratch)) + r"/[\w.-]+")
    if isinstance(problem, Message):
        return problem.changed(lambda text: working.sub(lambda _: str(output), text))
    return working.sub(lambda _: str(output), problem)


def _of_writing(error: OSError, scratch: Path) -> bool:
    """Tell whether an error concerns a file in the scratch folder; errors of a write name no file."""
    if error.filename is None:
        return error.errno not in (None, errno.EPIPE)
    return str(error.filename).startswith(str(scratch))


def _discard(scratch: Path) -> None:
    """Remove a scratch folder, its journal first, so that a killed clean-up leaves nothing to resume."""
    if not scratch.is_dir():
        return
    (scratch / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(scratch)


def path_of(name: str, value: Any) -> Path | None:
    """Return the path that a keyword names, None where it is left out.

    Raises
    ------
    OptionError
        If it is something else, such as True.
    """
    if value is None:
        return None
    if not isinstance(value, str | PathLike):
        raise OptionError(f"{name} is {value!r}, expected the path of a file to write")
    return Path(value)


def file_given(name: str, value: Any) -> Path:
    """Return the path of a file that is read, which a keyword or one of its entries names.

    Raises
    ------
    OptionError
        If it is something else, such as an array or a frame.
    """
    if not isinstance(value, str | PathLike):
        raise OptionError(
            f"{name} is a {type(value).__name__}, expected the path of a file; write it to one first"
        )
    return Path(value)


def refuse_without_output(**given: object) -> None:
    """Raise OptionError where a keyword speaks of files that are written, and none is: its value is not None or False.

    Parameters
    ----------
    **given
        Values by their keywords.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise OptionError(
                f"{name} is about files that are written; pass output, too, or leave {name} out"
            )
