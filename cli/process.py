"""Settings of the command line's process before the first raster is opened; the library never changes them."""

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
"""GDAL's block cache in MB: rows are read once and in order, so a larger cache is of no use."""
_GIVEN_BACK = 8_000_000
"""Blocks of memory of this size or more are returned to the system when they are freed."""
_M_MMAP_THRESHOLD = -3
"""Constant in glibc's malloc.h."""
_GRACE = 15.0
"""Seconds between SIGTERM and the forced end: time for context managers to exit and a training step to finish."""
_SKIP = {"GDAL_SKIP": "VRT", "OGR_SKIP": "OGR_VRT"}


def prepare_process(arguments: list[str]) -> None:
    """Guard GDAL, let SIGTERM unwind the stack, and suppress other libraries' warnings.

    Parameters
    ----------
    arguments : list of str
        The command line; a VRT named on it was chosen by the user and may be opened.
    """
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    os.environ.setdefault("GDAL_CACHEMAX", _CACHE_MB)
    # Torch requests each large tensor anew from the system. With pages of 2 MB a network has 25 times fewer page
    # faults, which saves 4 % of the time of `predict` on the CPU. Must be set before torch allocates.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _give_memory_back()
    if not names_vrt(arguments):
        skip_vrt()
    signal.signal(signal.SIGTERM, _terminate)
    _end_in_time()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _give_memory_back() -> None:
    """Let glibc return large blocks to the system, unless the user has set the threshold.

    By default it keeps blocks of up to 32 MB, which is a tenth of the memory of `predict` and grows over
    its first strips.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(_GIVEN_BACK)  # for processes that this one starts
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _GIVEN_BACK)


class _Unfailing(io.RawIOBase):
    """Raw output to a file descriptor that drops what cannot be written."""

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
    """Return a stream for messages that never raises: a full disk under a log must not end the work.

    Parameters
    ----------
    stream : text file
        stderr; a stream without a file descriptor is returned unchanged.
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
    """Discard unwritten output of a full stdout; Python would otherwise report an error of its own at exit."""
    try:
        if sys.stdout is not None:  # closed by whoever started it
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def names_vrt(names: Iterable[str]) -> bool:
    """Return whether one of the names is a VRT."""
    return any(name.lower().endswith(".vrt") for name in names)


def skip_vrt() -> None:
    """Disable GDAL's VRT drivers, so that a VRT hidden in a file or its sidecar is not followed.

    Works only before rasterio and pyogrio are imported, and only if the user has set no such list.
    """
    for name, driver in _SKIP.items():
        os.environ.setdefault(name, driver)


def allow_vrt() -> None:
    """Undo `skip_vrt`, for example if a list of scenes on stdin names a VRT."""
    for name, driver in _SKIP.items():
        if os.environ.get(name) == driver:
            del os.environ[name]


def _end_in_time() -> None:
    """Let SIGTERM end the process within `_GRACE` even if the stack does not unwind.

    Python handles signals between two of its instructions, and a library call may take minutes. But the C signal
    handler writes a byte at once, for which a thread waits. Such an end leaves the work as a kill does.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):  # otherwise SIGTERM to a child would end its parent
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_wait_for_the_end, args=(ours, theirs), daemon=True).start()


def _wait_for_the_end(ours: socket.socket, _theirs: socket.socket) -> None:
    """Wait for the byte of SIGTERM, then at most `_GRACE` for the process to end by itself."""
    while signal.SIGTERM not in ours.recv(64):
        continue
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)


def _terminate(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Exit through all context managers, so that locks and scratch folders are cleaned up."""
    click.echo("Terminated", err=True)
    raise SystemExit(128 + signum)
