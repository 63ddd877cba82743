"""Strips of a run computed by several processes of this machine, each with a device of its own.

Strips are independent, so each process takes a part of the rows, and the bytes are those of a single process. The
processes write strips into the run's store; only this process writes the journal, when it is told of a finished
strip.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess as Process
from typing import Any, TypeVar

from geoseg.engine.settings import Settings
from geoseg.errors import GeosegError
from geoseg.inference.strip_store import Record

T = TypeVar("T")
Told = Callable[[int], None]
"""Called with the rows of each strip that has been computed."""
Share = Callable[[range, Record, Told], T]
"""Computes strips, records them and reports their rows; it is pickled to the process that calls it."""


def parts(count: int, several: int) -> list[range]:
    """Split `count` strips into consecutive parts whose sizes differ by at most one; at least one part."""
    several = max(1, min(several, count))
    bounds = [count * part // several for part in range(several + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


def side_by_side(
    share: Share[T], strips: Sequence[range], settings: Settings, record: Record, told: Told
) -> list[T]:
    """Compute ranges of strips in parallel processes, the n-th on the n-th device.

    Parameters
    ----------
    share : callable
        Computes one range.
    strips : sequence of range
        The ranges.
    settings : Settings
        How the model runs.
    record : Record
        Record of this process, to which all finished strips are added.
    told : callable
        Called with the number of rows of each finished strip.

    Raises
    ------
    GeosegError
        If a process fails or ends unexpectedly; the others are then stopped, and the strips that they have
        finished are kept.
    """
    finished: list[T] = []
    with _processes(share, strips, settings) as waiting:
        while waiting:
            for connection in wait(list(waiting)):
                assert isinstance(connection, Connection)
                try:
                    kind, what = connection.recv()
                except (EOFError, OSError):
                    raise GeosegError(_why_it_ended(waiting[connection])) from None
                if kind == "note":
                    record.append(what)
                elif kind == "rows":
                    told(what)
                elif kind == "error":
                    raise what
                else:
                    finished.append(what)
                    del waiting[connection]
    return finished


@contextmanager
def _processes(
    share: Share[T], strips: Sequence[range], settings: Settings
) -> Iterator[dict[Connection, Process]]:
    """Start a process for each part; all are ended with the ``with`` block."""
    # Not forked: CUDA cannot be used in a fork of a process that has used it.
    context = multiprocessing.get_context("spawn")
    started: dict[Connection, Process] = {}
    try:
        for number, part in enumerate(strips):
            here, there = context.Pipe(duplex=False)
            process = context.Process(
                target=_compute, args=(share, part, settings, number, there), name=f"geoseg-{number}"
            )
            process.start()
            there.close()  # otherwise the end of the process would not be noticed here
            started[here] = process
        yield dict(started)
        for process in started.values():
            process.join()
    finally:
        for connection, process in started.items():
            process.terminate()
            process.join()
            connection.close()


def _why_it_ended(process: Process) -> str:
    process.join()
    code = process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    often = "; often that is for lack of memory" if how == "SIGKILL" else ""
    return f"a process of this run was ended ({how}){often}; run the same command again to continue"


class _Sender:
    """A record that is kept in another process."""

    entries: Sequence[Mapping[str, Any]] = ()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one = threading.Lock()  # strips are stored by another thread than the computing one

    def append(self, entry: Mapping[str, Any]) -> None:
        """Send an entry to the process that keeps the record."""
        self.send("note", dict(entry))

    def send(self, kind: str, what: object) -> None:
        """Send a message."""
        with self._one:
            self._connection.send((kind, what))


def _compute(share: Share[T], strips: range, settings: Settings, number: int, connection: Connection) -> None:
    """Compute a part, and send results and errors to the first process."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the first process receives the signal, too, and ends this one
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    sender = _Sender(connection)
    try:
        _set_torch(settings, number)
        sender.send("done", share(strips, sender, lambda rows: sender.send("rows", rows)))
    except Exception as error:
        if not isinstance(error, GeosegError):
            error.add_note(f"in a process that computes:\n{traceback.format_exc()}")
        sender.send("error", error)


def _set_torch(settings: Settings, number: int) -> None:
    """Set torch's threads and device, if torch computes."""
    if settings.runtime != "torch" and sys.modules.get("torch") is None:
        return
    import torch

    torch.set_num_threads(settings.threads)
    if settings.device == "cuda":
        torch.cuda.set_device(number)


def _end_with_the_first() -> None:
    """Exit when the parent process has ended: otherwise two runs could write to one folder."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)
