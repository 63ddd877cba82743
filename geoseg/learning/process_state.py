"""Process state that a training changes and restores."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, used by dropout and others, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Set torch's number of CPU threads, if one is given, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's messages except errors."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def rank(devices: int) -> int:
    """Return the rank of this process among those that train together; Lightning starts all but the first."""
    return int(os.environ.get("LOCAL_RANK", "0")) if devices > 1 else 0


class Interrupted(Exception):  # noqa: N818 - no error, as KeyboardInterrupt is none
    """A signal has stopped the training; its state is saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Interruption:
    """Remembers the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Install the signal handlers, replacing others; only possible in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in _SIGNALS:
            found = signal.signal(signum, self._remember)
            self._before.setdefault(signum, found)

    def restore(self) -> None:
        """Restore the previous signal handlers."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
            return
        self.restore()
        handler = signal.getsignal(signum)
        if callable(handler):
            handler(signum, frame)
        else:
            signal.raise_signal(signum)


@contextmanager
def listening() -> Iterator[Interruption]:
    """Handle signals for the length of a ``with`` block."""
    interruption = Interruption()
    interruption.listen()
    try:
        yield interruption
    finally:
        interruption.restore()
