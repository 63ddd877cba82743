"""Loaded by dask into the workers that a command starts: they leave Ctrl-C, which a terminal sends to all, to it."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C in this process, whose end is its nanny's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
