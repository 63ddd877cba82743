"""One writer per output."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.errors import OutputBusyError, OutputError

try:
    import fcntl

    HAS_FLOCK = True
except ImportError:  # Windows
    HAS_FLOCK = False

_held: set[int] = set()
"""Open lock files of this process."""


def _let_go() -> None:
    """Close the lock files in a forked child: it would hold the lock on after its parent was killed."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):  # systems that do not fork need none
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock file `path` of an output for the length of a `with` block.

    The kernel drops the lock when the process dies, so a lock file that a killed run left behind does not
    stand in the way of the next one. It holds the owner's process number and host for the message, where the system
    lets others read a locked file.

    Raises
    ------
    OutputBusyError
        If another process holds it.
    OutputError
        If the folder cannot be written or its file system has no locks.
    """
    if not HAS_FLOCK:
        with _locked_elsewhere(path, output):
            yield
        return
    handle = _acquire(path, output)
    _held.add(handle)
    try:
        with suppress(OSError):  # only the message to others needs it; a full disk shows where it matters
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        # Removed while still held: whoever waits for this file finds out that it is gone (see _acquire).
        path.unlink(missing_ok=True)
        _held.discard(handle)
        os.close(handle)


@contextmanager
def _locked_elsewhere(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock of a system without ``flock``, as filelock knows it (on Windows ``msvcrt.locking``)."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputBusyError(
            f"{output}: in use by another process; wait for it or choose another -o"
        ) from None
    except OSError as error:
        raise OutputError(
            f"{output}: the folder {path.parent} cannot be written or has no file locks ({error.strerror}); choose "
            "another with -o"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(path: Path, output: Path) -> int:
    """Open and lock the file, again if it was removed between the two."""
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise OutputError(
                    f"{output}: the name is too long, expected room for {len(path.name) - len(output.name)} characters "
                    "more, which working files beside it have; choose a shorter one"
                ) from error
            raise OutputError(
                f"{output}: the folder {path.parent} cannot be written ({error.strerror}); choose another with -o"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        except OSError as error:
            owner = os.pread(handle, 200, 0).decode(errors="replace").strip() or "an unknown process"
            os.close(handle)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise OutputBusyError(
                    f"{output}: in use by process {owner}; wait for it or choose another -o"
                ) from None
            raise OutputError(
                f"{output}: its file system has no file locks ({error.strerror}); write to a local folder"
            ) from error
        os.close(handle)
