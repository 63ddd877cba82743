"""Where compiled kernels are kept: found in any folder that has them, written to the first that can be written.

These are the folder that ``NUMBA_CACHE_DIR`` names, ``__pycache__`` beside the modules, and one in the person's home.
In an installation that is only to be read (an image, filled by ``geoseg warmup``) they are read where they are.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

VARIABLE: Final = "NUMBA_CACHE_DIR"
_HERE: Final = Path(__file__).parent
_DIGEST: Final = hashlib.sha256().digest_size
_log = logging.getLogger("geoseg")


def read_object(name: str, key: str) -> bytes | None:
    """Return the object file of a kernel, empty where it can have none; None where nothing whole is kept.

    Parameters
    ----------
    name : str
        Of the kernel.
    key : str
        What its code is for and made of: the form of the arguments, and a fingerprint of its source.
    """
    for folder in _folders():
        try:
            kept = (folder / _file_name(name, key)).read_bytes()
        except OSError:
            continue
        if kept[:_DIGEST] == hashlib.sha256(kept[_DIGEST:]).digest():
            return kept[_DIGEST:]
    return None


def write_object(name: str, key: str, code: bytes) -> None:
    """Keep the object file of a kernel, whole or not at all, where any folder takes it."""
    folder = place()
    try:
        if folder is not None:
            own = folder / f"kernel-{secrets.token_hex(8)}"
            try:
                own.write_bytes(hashlib.sha256(code).digest() + code)
                own.replace(folder / _file_name(name, key))
            finally:
                own.unlink(missing_ok=True)
            return
    except OSError:  # a full disk
        pass
    _tell_once()


def place() -> Path | None:
    """Folder that kernels are written to; None where there is none."""
    return next(filter(writable, _folders()), None)


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _folders() -> Iterator[Path]:
    """Folders that may hold kernels, the first one first."""
    if given := os.environ.get(VARIABLE):
        yield Path(given)
    yield _HERE / "__pycache__"
    if sys.platform == "darwin":
        home = Path("~/Library/Caches")
    elif sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA", "~"))
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    yield home.expanduser() / "geoseg"


def _file_name(name: str, key: str) -> str:
    """Name of a kernel's file: another one for another source, another numba or LLVM, and another processor."""
    digest = hashlib.sha256(f"{_surroundings()} {key}".encode()).hexdigest()
    return f"{name.removeprefix('geoseg.')}-{digest[:24]}.kernel"


@cache
def _surroundings() -> str:
    """Say what makes machine code, and for which processor."""
    import llvmlite.binding as llvm

    makers = hashlib.sha256()
    for name in ("kernel.py", "objects.py", "unaligned.py"):
        makers.update((Path(__file__).parent / name).read_bytes())
    machine = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return " ".join([makers.hexdigest(), version("numba"), version("llvmlite"), *machine])


@cache
def _tell_once() -> None:
    _log.warning(
        "no folder for compiled kernels can be written, so every run compiles them anew; set %s to one",
        VARIABLE,
    )
