"""Measure the time that each stage of a run takes, if requested."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Stage = Literal["read", "upload", "model", "stitch", "write"]
ON_DEVICE: tuple[Stage, ...] = ("upload", "model", "stitch")
"""Stages that run on the device, one after the other; it is idle for the rest of the wall time."""
BESIDE: tuple[Stage, ...] = ("read", "write")
"""Stages that other threads run meanwhile."""


class Clock:
    """Seconds spent in each stage of a run.

    Read: from the file to rows in memory. Upload: rows to the device, cut and normalised there. Model: the network,
    or waiting for it where it computes beside what the others do. Stitch: softmax, taper, sum, decision, and back to
    the host. Write: finished strips to the disk.

    Law: a clock that is off costs one look-up. On CUDA, events are recorded between the kernels and nobody waits
    for them, so that a measured run is as fast as an unmeasured one.

    Parameters
    ----------
    device : str or torch.device, optional
        Device of the stages, such as ``cpu`` or ``cuda``; without one nothing is measured.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        self._device = None if device is None else str(device).partition(":")[0]
        self._seconds: dict[Stage, float] = dict.fromkeys((*ON_DEVICE, *BESIDE), 0.0)
        self._spans: list[tuple[Stage, torch.cuda.Event, torch.cuda.Event]] = []
        self._lock = threading.Lock()

    def stage(self, name: Stage) -> AbstractContextManager[None]:
        """Measure a ``with`` block; device stages belong to one thread, the others add up over threads."""
        if self._device is None:
            return nullcontext()
        return self._events(name) if self._device == "cuda" and name in ON_DEVICE else self._wall(name)

    def profile(self, seconds: float) -> dict[str, float] | None:
        """Return the seconds of each stage, and for how long the device was idle in a run of `seconds`.

        Returns
        -------
        dict of str to float, or None
            ``read``, ``upload``, ``model``, ``stitch``, ``write`` and ``idle``, s; None where the clock is off.
        """
        if self._device is None:
            return None
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
            self._settle(len(self._spans))
        found: dict[str, float] = {name: self._seconds[name] for name in ("read", *ON_DEVICE, "write")}
        found["idle"] = max(0.0, seconds - sum(self._seconds[name] for name in ON_DEVICE))
        return found

    @contextmanager
    def _wall(self, name: Stage) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            if self._device == "mps" and name in ON_DEVICE:
                import torch

                torch.mps.synchronize()
            with self._lock:
                self._seconds[name] += time.perf_counter() - started

    @contextmanager
    def _events(self, name: Stage) -> Iterator[None]:
        import torch

        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        try:
            yield
        finally:
            last.record()
            self._spans.append((name, first, last))
            # Add up the events that have passed now and then: a large scene would accumulate millions.
            if len(self._spans) > 4096:
                self._settle(next((i for i, span in enumerate(self._spans) if not _passed(span[2])), 0))

    def _settle(self, count: int) -> None:
        """Add the durations of the oldest `count` events, which have passed."""
        for name, first, last in self._spans[:count]:
            self._seconds[name] += first.elapsed_time(last) / 1e3
        del self._spans[:count]


def _passed(event: torch.cuda.Event) -> bool:
    return bool(event.query())  # type: ignore[no-untyped-call]
