"""File locks, so that each output has one writer at a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.errors import ELSEWHERE, Message, OutputBusyError, OutputError, plural

try:
    import fcntl

    HAS_FLOCK = True
except ImportError:  # Windows
    HAS_FLOCK = False

_held: set[int] = set()
"""File descriptors of the locks that this process holds."""
_WAIT = Message("wait for it, or choose another {output}")


def _let_go() -> None:
    """Close inherited lock files in a forked child, which would hold the locks after its parent was killed."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):  # not on systems without fork
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock of an output for the length of a `with` block.

    The kernel releases the lock when the process dies, so a lock file left by a killed run does not block the next
    one. The file contains the owner's process id and host for the error message of others, on systems that let them
    read a locked file.

    Raises
    ------
    OutputBusyError
        If another process holds the lock.
    OutputError
        If the folder is not writable or its file system has no locks.
    """
    if not HAS_FLOCK:
        with _locked_elsewhere(path, output):
            yield
        return
    handle = _acquire(path, output)
    _held.add(handle)
    try:
        with suppress(OSError):  # only needed for messages; a full disk is reported by later writes
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        # Removed while still held: a process that opened it meanwhile notices that it is gone (see _acquire).
        path.unlink(missing_ok=True)
        _held.discard(handle)
        os.close(handle)


@contextmanager
def _locked_elsewhere(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock on systems without ``flock``, through filelock (on Windows ``msvcrt.locking``)."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputBusyError(f"{output}: in use by another process", _WAIT) from None
    except OSError as error:
        raise OutputError(
            f"{output}: the folder {path.parent} cannot be written or has no file locks ({error.strerror})",
            ELSEWHERE,
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(path: Path, output: Path) -> int:
    """Open and lock the file, retrying if it was removed in between."""
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise OutputError(
                    f"{output}: the name is too long: working files beside it need "
                    f"{plural(len(path.name) - len(output.name), 'more character')}; choose a shorter one"
                ) from error
            raise OutputError(
                f"{output}: the folder {path.parent} cannot be written ({error.strerror})", ELSEWHERE
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
                raise OutputBusyError(f"{output}: in use by process {owner}", _WAIT) from None
            raise OutputError(
                f"{output}: its file system has no file locks ({error.strerror}); write to a local folder"
            ) from error
        os.close(handle)
