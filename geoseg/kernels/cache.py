"""The disk cache of compiled kernels: read from every known folder, written to the first writable one.

The folders are ``NUMBA_CACHE_DIR``, ``__pycache__`` beside the modules, and the user's cache folder. Kernels in a
read-only installation (such as a container image filled by ``geoseg warmup``) are used from there.
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
    """Read the object file of a kernel from the cache; None if there is no intact one.

    An empty file means that the kernel can only be called through numba.

    Parameters
    ----------
    name : str
        Name of the kernel.
    key : str
        Identity of the code: types of the arguments and fingerprint of the source.
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
    """Write the object file of a kernel to the cache atomically, if any folder is writable."""
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
    """Return the folder that kernels are written to, or None."""
    return next(filter(writable, _folders()), None)


def writable(folder: Path) -> bool:
    """Tell whether files can be created in a folder, creating the folder if needed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _folders() -> Iterator[Path]:
    """Yield the folders that may hold kernels, in order of preference."""
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
    """Return the file name of a kernel, which depends on its source, numba, LLVM and the processor."""
    digest = hashlib.sha256(f"{_surroundings()} {key}".encode()).hexdigest()
    return f"{name.removeprefix('geoseg.')}-{digest[:24]}.kernel"


@cache
def _surroundings() -> str:
    """Describe the compilers and the processor that machine code depends on."""
    import llvmlite.binding as llvm

    makers = hashlib.sha256()
    for name in ("kernel.py", "machine.py", "objects.py", "unaligned.py"):
        makers.update((Path(__file__).parent / name).read_bytes())
    machine = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return " ".join([makers.hexdigest(), version("numba"), version("llvmlite"), *machine])


@cache
def _tell_once() -> None:
    _log.warning(
        "no folder is writable for compiled kernels, so every run compiles them anew; set %s to a writable folder",
        VARIABLE,
    )
