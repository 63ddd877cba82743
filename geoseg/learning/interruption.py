"""Signals that stop a training between two steps instead of within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - no error, as KeyboardInterrupt is none
    """A signal asked the training to stop; its state is saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Interruption:
    """Remembers the first SIGINT or SIGTERM; the second one ends the process at once, as it would without."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals; others that took them since are set aside. Only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in _SIGNALS:
            found = signal.signal(signum, self._remember)
            self._before.setdefault(signum, found)

    def restore(self) -> None:
        """Give the signals back."""
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
    """Listen for the length of a `with` block."""
    interruption = Interruption()
    interruption.listen()
    try:
        yield interruption
    finally:
        interruption.restore()
