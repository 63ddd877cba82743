"""What a process of the command line sets before the first raster is opened; the library never does."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterable
from types import FrameType
from typing import Any, TextIO

import click

_CACHE_MB = "64"
"""Block cache of GDAL, MB: rows are read once and in order, a larger cache only holds memory."""
_GIVEN_BACK = 8_000_000
"""Memory of so many bytes and more goes back to the system when it is freed."""
_M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""
_GRACE = 15.0
"""Seconds between SIGTERM and the end: time to leave through every context manager, and for a step of a training."""
_SKIP = {"GDAL_SKIP": "VRT", "OGR_SKIP": "OGR_VRT"}


def prepare_process(arguments: list[str]) -> None:
    """Guard GDAL, make SIGTERM unwind, keep other libraries' warnings off the terminal.

    Parameters
    ----------
    arguments : list of str
        The command line: a VRT on it was typed by the person and is opened as such.
    """
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    os.environ.setdefault("GDAL_CACHEMAX", _CACHE_MB)
    # Torch asks the system for each large tensor anew. In pages of 2 MB a network alone has 25 times fewer page
    # faults, which is 4 % of the time of `predict` on the CPU. Counts only before torch allocates.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _give_memory_back()
    if not names_vrt(arguments):
        skip_vrt()
    signal.signal(signal.SIGTERM, _terminate)
    _end_in_time()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _give_memory_back() -> None:
    """Have glibc return large pieces to the system, unless the person set from what size on.

    By itself it comes to keep pieces of up to 32 MB, which is a tenth of the memory of `predict` and grows over
    its first bands.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(_GIVEN_BACK)  # for processes that this one starts
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _GIVEN_BACK)


class _Unfailing(io.RawIOBase):
    """Bytes for a file descriptor; what it has no room for is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        with contextlib.suppress(OSError):
            while left:
                left = left[os.write(self._descriptor, left) :]
        return len(memoryview(data).cast("B"))


def unfailing(stream: TextIO) -> TextIO:
    """Return a stream of messages that never raises: a full disk under a log must not end the work.

    Parameters
    ----------
    stream : text file
        stderr; one without a file descriptor is returned itself.
    """
    try:
        raw = _Unfailing(stream.fileno())
    except (AttributeError, OSError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors="backslashreplace", line_buffering=True,
        write_through=True,
    )  # fmt: skip


def abandon_full_stdout() -> None:
    """Send what stdout has no room for nowhere: Python would try once more at its end, and complain in its own way."""
    try:
        if sys.stdout is not None:  # closed by whoever started it
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def names_vrt(names: Iterable[str]) -> bool:
    """Whether one of the names is a VRT."""
    return any(name.lower().endswith(".vrt") for name in names)


def skip_vrt() -> None:
    """Take the VRT drivers out of GDAL: a VRT that hides inside a file or its sidecar is then not followed.

    Counts only before rasterio and pyogrio are imported, and only where the person set no such list.
    """
    for name, driver in _SKIP.items():
        os.environ.setdefault(name, driver)


def allow_vrt() -> None:
    """Take `skip_vrt` back: a list of scenes on stdin names a VRT."""
    for name, driver in _SKIP.items():
        if os.environ.get(name) == driver:
            del os.environ[name]


def _end_in_time() -> None:
    """Have SIGTERM end the process within `_GRACE` even where nothing unwinds.

    Python looks at signals between two steps of its own, and a library may take minutes for one. But the signal's own
    handler writes a byte at once, which a thread waits for. Work that is ended like this is left as a kill leaves it.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):  # a child that is ended would end its parent
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_wait_for_the_end, args=(ours, theirs), daemon=True).start()


def _wait_for_the_end(ours: socket.socket, _theirs: socket.socket) -> None:
    """Wait for the byte of SIGTERM, and no longer than `_GRACE` for the process to end by itself."""
    while signal.SIGTERM not in ours.recv(64):
        continue
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)


def _terminate(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Leave through every context manager, so that locks and scratch folders are cleaned up."""
    click.echo("Terminated", err=True)
    raise SystemExit(128 + signum)
