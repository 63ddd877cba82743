"""Trials at once on this machine, each in a process of its own."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol

from geoseg.engine.devices import cpu_threads
from geoseg.experiments.trial_process import Outcome, run_process


class Pool(Protocol):
    """Where trials run."""

    size: int

    @property
    def running(self) -> set[str]:
        """Names of the trials that have begun and whose end was not told yet."""

    def start(self, name: str, order: Mapping[str, Any]) -> None:
        """Begin a trial; there is room for `size` of them."""

    def ended(self, timeout: float) -> list[tuple[str, Outcome]]:
        """Return the trials that have ended, after at most so many seconds."""

    def stop(self) -> None:
        """Let all trials save their state and end."""


class LocalPool:
    """Processes of this machine, which share its cores and GPUs.

    Parameters
    ----------
    size : int
        Most trials at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="trial")
        self._futures: dict[Future[Outcome], str] = {}
        self._ends = threading.Event()
        self._slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(size):
            self._slots.put(slot)

    @property
    def running(self) -> set[str]:
        """Names of the trials that run."""
        return set(self._futures.values())

    def start(self, name: str, order: Mapping[str, Any]) -> None:
        """Begin a trial."""
        self._futures[self._threads.submit(self._run, order)] = name

    def ended(self, timeout: float) -> list[tuple[str, Outcome]]:
        """Return the trials that have ended."""
        if not self._futures:
            return []
        done, _ = wait(self._futures, timeout, FIRST_COMPLETED)
        return [(self._futures.pop(future), future.result()) for future in done]

    def stop(self) -> None:
        """Let all trials save their state and end."""
        self._ends.set()

    def close(self) -> None:
        """Stop what runs, and wait for it."""
        self.stop()
        self._threads.shutdown(wait=True)

    def _run(self, order: Mapping[str, Any]) -> Outcome:
        slot = self._slots.get()
        try:
            return run_process(order, shares(slot, self.size), self._ends.is_set)
        finally:
            self._slots.put(slot)


@contextmanager
def local_pool(size: int) -> Iterator[LocalPool]:
    """Yield processes of this machine; none of them outlives the block."""
    pool = LocalPool(size)
    try:
        yield pool
    finally:
        pool.close()


def shares(slot: int, size: int) -> dict[str, str]:
    """Return the environment of one of several trials at once: its share of the cores, and one of the GPUs.

    Parameters
    ----------
    slot : int
        Its place, from 0.
    size : int
        Trials at once.
    """
    found: dict[str, str] = {}
    if size > 1 and "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, cpu_threads() // size))
    devices = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    if not devices:
        import torch

        devices = [str(each) for each in range(torch.cuda.device_count())]
    if size > 1 and len(devices) > 1:
        found["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return found
