"""Bands of a run computed by several processes of this machine, each with a device of its own.

A band needs no other, so each process takes a part of the rows, and the bytes are those of one process. The processes
write bands where the run keeps them; this one alone has the journal, and notes a band when it is told of it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess as Process
from typing import Any

from geoseg.engine.settings import Settings
from geoseg.errors import GeosegError
from geoseg.inference.assemble import load_checked, plan_of
from geoseg.inference.bandstore import BandStore, Record
from geoseg.inference.filling import Done, Told, Work, compute


def mean_profile(processes: Sequence[Done]) -> dict[str, float] | None:
    """Where the time of a process went, on average."""
    found = [done.profile for done in processes if done.profile is not None]
    return {key: sum(each[key] for each in found) / len(found) for key in found[0]} if found else None


def parts(count: int, several: int) -> list[range]:
    """Share out `count` bands, at least one: parts that follow each other and differ by one band at most."""
    several = max(1, min(several, count))
    bounds = [count * part // several for part in range(several + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


def fill_by_several(work: Work, bands: Sequence[range], record: Record, told: Told) -> list[Done]:
    """Compute parts of the bands side by side, the n-th on the n-th device.

    Raises
    ------
    GeosegError
        What a process met, or that it ended without a word; the others are ended then, and what they have
        finished counts.
    """
    finished: list[Done] = []
    with _processes(work, bands) as waiting:
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
def _processes(work: Work, bands: Sequence[range]) -> Iterator[dict[Connection, Process]]:
    """Start a process for each part; none outlives the block."""
    # Not forked: a child of a process that has used CUDA cannot use it.
    context = multiprocessing.get_context("spawn")
    started: dict[Connection, Process] = {}
    try:
        for number, part in enumerate(bands):
            here, there = context.Pipe(duplex=False)
            process = context.Process(
                target=_compute, args=(work, part, number, there), name=f"geoseg-{number}"
            )
            process.start()
            there.close()  # or its end would never be seen here
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
    return f"a process of this run was ended ({how}){often}; run the same command again to go on"


class _Sender:
    """A record that is elsewhere."""

    entries: Sequence[Mapping[str, Any]] = ()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one = threading.Lock()  # bands are stored by another thread than they are computed

    def append(self, entry: Mapping[str, Any]) -> None:
        """Pass an entry on."""
        self.send("note", dict(entry))

    def send(self, kind: str, what: object) -> None:
        """Send a message."""
        with self._one:
            self._connection.send((kind, what))


def _compute(work: Work, bands: range, number: int, connection: Connection) -> None:
    """Compute a part; everything that happens is told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it as well, and ends this one
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    sender = _Sender(connection)
    try:
        _set_torch(work.settings, number)
        store = BandStore(
            work.folder, plan_of(work.job, work.settings), sender, work.job.layers, work.storage
        )
        done = compute(
            work, load_checked(work.job), store, [bands], sender, lambda rows: sender.send("rows", rows)
        )
        sender.send("done", done)
    except Exception as error:
        if not isinstance(error, GeosegError):
            error.add_note(f"in a process that computes:\n{traceback.format_exc()}")
        sender.send("error", error)


def _set_torch(settings: Settings, number: int) -> None:
    """Give torch its threads and its device, where it computes anything."""
    if settings.runtime != "torch" and sys.modules.get("torch") is None:
        return
    import torch

    torch.set_num_threads(settings.threads)
    if settings.device == "cuda":
        torch.cuda.set_device(number)


def _end_with_the_first() -> None:
    """End when the process that started this one has ended: two runs would write to one folder else."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)
