"""The claim on one output: probed, locked, with a scratch folder, committed at the end."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import GeosegError, OutputBusyError, OutputError, OutputExistsError, ResumeError
from geoseg.storage.durable import replace, write_bytes
from geoseg.storage.journal import JOURNAL
from geoseg.storage.lock import locked

_REMOTE = re.compile("/vsi|[a-z][a-z0-9]+:/")
RASTER_SUFFIXES = (".tif", ".tiff")
_SIDECARS = "sidecars.json"
"""In the scratch folder: what a commit has still to write."""
_PART = ".geoseg-part"
_RUN_FILE = ".run.json"
"""What `geoseg.inference.summary` adds to the name of an output."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one output, and the folder beside it to prepare it in.

    Parameters
    ----------
    path : Path
        The output.
    scratch : Path
        Folder on the same file system, absolute: what a name begins with, as ``http:`` or a blank, means nothing to
        libraries behind a slash. Whatever lies in it is gone after success.
    """

    path: Path
    scratch: Path

    def prepare(self, name: str | None = None) -> Path:
        """Return a path in the scratch folder to write a product at, with what a killed try left there gone.

        Writers would append to half a GeoPackage, or count its changes on. The name says nothing of the
        output's, which may be any: ``band-000000`` too, or 243 bytes long.
        """
        suffix = Path(name or self.path.name).suffix
        for leftover in self.scratch.glob("product*"):
            leftover.unlink()
        return self.scratch / f"product{suffix}"

    def commit(
        self, finished: Path, final: Path | None = None, sidecars: Mapping[str, str] | None = None
    ) -> None:
        """Give a verified file from the scratch folder its final name.

        Law: the final name holds the old complete file or the new complete file at every instant. Sidecars
        that described the old file go first, the new ones come last; where a kill falls between, the next `claim`
        of the name puts them there.

        Parameters
        ----------
        finished : Path
            Complete, verified file in the scratch folder.
        final : Path, optional
            Its name; the claimed output by default.
        sidecars : mapping of str to str, optional
            Text by suffix: ``.qml`` takes the place of the extension, ``.aux.xml`` is added to the name.

        Raises
        ------
        OutputBusyError
            If a program has opened the old GeoPackage since it was claimed.
        """
        target = final or self.path
        _check_transactions(target)
        # Some writers make private files; a product gets what the umask gives, as its folder did.
        finished.chmod(self.scratch.stat().st_mode & 0o666)
        sidecar_path(target, _RUN_FILE).unlink(missing_ok=True)
        if target.suffix.lower() in RASTER_SUFFIXES:
            for suffix in (".aux.xml", ".ovr", ".msk", ".qml"):
                sidecar_path(target, suffix).unlink(missing_ok=True)
        if sidecars:
            note = {"name": target.name, "inode": finished.stat().st_ino, "texts": dict(sidecars)}
            write_bytes(self.scratch / _SIDECARS, json.dumps(note).encode())
        replace(finished, target)
        for suffix, text in (sidecars or {}).items():
            write_bytes(sidecar_path(target, suffix), text.encode())
        (self.scratch / _SIDECARS).unlink(missing_ok=True)


def _put_sidecars(scratch: Path) -> None:
    """Write the sidecars that a commit had not written yet when it was killed, its file having its name already."""
    try:
        note = json.loads((scratch / _SIDECARS).read_text(encoding="utf-8"))
        target = scratch.parent / note["name"]
        if target.stat().st_ino != note["inode"]:
            return
    except (OSError, ValueError, KeyError):
        return
    for suffix, text in note["texts"].items():
        write_bytes(sidecar_path(target, suffix), text.encode())


def sidecar_path(path: Path, suffix: str) -> Path:
    """Name of a sidecar: QGIS styles replace the extension, GDAL's files are added to the name."""
    return path.with_suffix(suffix) if suffix == ".qml" else path.with_name(path.name + suffix)


def scratch_folder(path: Path) -> Path:
    """Folder beside an output in which it is prepared, as an absolute path."""
    return path.absolute().with_name(path.name + _PART)


def clear_leftovers(path: Path) -> None:
    """Remove what a writer that was killed left beside a finished output: its scratch folder and its lock.

    Raises
    ------
    OutputBusyError
        If it was not killed.
    """
    if scratch_folder(path).exists() or _lock_file(path).exists():
        with claim(path, overwrite=True):
            pass


def _lock_file(path: Path) -> Path:
    return path.absolute().with_name(path.name + ".geoseg-lock")


def check_local(path: Path) -> None:
    """Refuse a name on object storage, which has neither rename nor locks.

    Raises
    ------
    OutputError
    """
    if _REMOTE.match(str(path)):
        raise OutputError(
            f"{path}: outputs need a local file system (rename and locks); write locally, then copy"
        )
    check_encoding(path, OutputError)


def check_encoding(path: Path, error: type[GeosegError]) -> None:
    """Raise `error` for a path with bytes that are no UTF-8, which GDAL, PROJ and JSON cannot be given."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = ascii(os.fspath(path))
        raise error(f"{shown}: is no text in UTF-8, as paths have to be; choose another name") from None


def output_of(path: Path) -> Path:
    """Name the output that a file in a scratch folder becomes, for messages; any other path is its own."""
    return (
        path.parent.with_name(path.parent.name.removesuffix(_PART))
        if path.parent.name.endswith(_PART)
        else path
    )


def check_output(path: Path) -> None:
    """Refuse a name that cannot become an output, before any work is done.

    Raises
    ------
    OutputError
        If it is remote, a folder or a device, or lies in a folder that is not there.
    """
    check_local(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, expected a file name")
    if path.exists() and not path.is_file():
        # A rename would put a file in the place of /dev/null.
        raise OutputError(f"{path}: is a device or a pipe, expected a file name")
    if not path.parent.is_dir():
        raise OutputError(
            f"{path}: the folder {path.parent} does not exist; make it or choose another with -o"
        )


@contextmanager
def claim(path: Path, *, overwrite: bool, resumable: bool = False, fresh: bool = False) -> Iterator[Claim]:
    """Take an output for the length of a `with` block.

    Parameters
    ----------
    path : Path
        The output.
    overwrite : bool
        Whether an existing output may be replaced.
    resumable : bool
        Whether unfinished work is kept on failure and found again; it also lets an output that this very
        work has already renamed pass (the caller compares the journal).
    fresh : bool
        Throw unfinished work away first.

    Raises
    ------
    OutputExistsError, OutputBusyError, OutputError
        Before anything is written.
    """
    check_output(path)
    scratch = scratch_folder(path)
    with locked(_lock_file(path), path):
        _put_sidecars(scratch)
        if fresh or not resumable or not (scratch / JOURNAL).exists():
            _discard(scratch)
        if path.exists():
            if not overwrite and not scratch.exists():
                raise OutputExistsError(f"{path}: already exists; pass --overwrite to replace it")
            _check_transactions(path)
        try:
            scratch.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{scratch}: cannot be made ({error.strerror}); choose another folder with -o"
            ) from error
        try:
            yield Claim(path, scratch)
        except BaseException as error:
            # A journal alone saves nothing: what was refused before the work began leaves no trace.
            if not resumable or {item.name for item in scratch.glob("*")} <= {JOURNAL}:
                _discard(scratch)
            if isinstance(error, OSError) and _of_writing(error, scratch):
                raise OutputError(
                    f"{path}: cannot be written ({error.strerror}); the previous file is untouched"
                ) from error
            if isinstance(error, GeosegError) and not isinstance(error, ResumeError):
                error.args = (_named(str(error), scratch, path),)
            raise
        _discard(scratch)


def _check_transactions(path: Path) -> None:
    """Refuse to replace a GeoPackage under an open transaction: SQLite would play it into the new file."""
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            raise OutputBusyError(
                f"{path}: is open in another program (QGIS?), or one died in it and left {path.name}{suffix}; "
                "close it there or choose another -o"
            )


def _named(message: str, scratch: Path, output: Path) -> str:
    """Put the name of the output in the place of files in its scratch folder, which nobody has heard of."""
    return re.sub(re.escape(str(scratch)) + r"/[\w.-]+", lambda _: str(output), message)


def _of_writing(error: OSError, scratch: Path) -> bool:
    """Whether an error is of a working file; that of a write names none."""
    if error.filename is None:
        return error.errno not in (None, errno.EPIPE)
    return str(error.filename).startswith(str(scratch))


def _discard(scratch: Path) -> None:
    """Remove a scratch folder, its journal first: a clean-up that is killed leaves no work to go on with."""
    if not scratch.is_dir():
        return
    (scratch / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(scratch)
