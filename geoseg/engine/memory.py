"""How large a batch the memory of a machine without a GPU holds.

A GPU says that its memory is full, and the batch is halved. The memory of the machine ends in a kill of the
process, so what a tile needs is measured before the first large batch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from geoseg.engine.settings import Settings

log = logging.getLogger("geoseg")

_TRIED = 4
"""Tiles of the batch that is measured."""
_SMALL = 32
"""Batches up to this are not worth measuring."""
_SHARE = 0.7
"""Of the free memory; the rest is for pictures that are read and written, and for others."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def fitted_to_memory(settings: Settings, run: Callable[[int], object]) -> Settings:
    """Return the settings with a batch that the memory holds.

    Parameters
    ----------
    settings : Settings
    run : callable
        Runs the network on a batch of so many tiles.
    """
    size = settings.batch_size
    if settings.device != "cpu" or size <= _SMALL:
        return settings
    before, free = resident(), free_memory()
    if before is None or free is None:
        return settings
    run(_TRIED)
    # An earlier peak may hide this one: then a tile is taken to need more than it does.
    needed = max((peak() or before) - before, 0) // _TRIED
    most = int(_SHARE * free / max(needed, 1))
    if size <= most:
        return settings
    fitting = -(-size // -(-size // max(most, min(size, _TRIED))))
    log.warning(
        "a batch of %d would need about %.0f GB and %.0f GB are free: the batch size is %d",
        size, size * needed / 1e9, free / 1e9, fitting,
    )  # fmt: skip
    return replace(settings, batch_size=fitting)


def resident() -> int | None:
    """Bytes of memory that this process has now, where the system tells."""
    return _kilobytes(Path("/proc/self/status"), "VmRSS")


def peak() -> int | None:
    """Most bytes that it had so far."""
    return _kilobytes(Path("/proc/self/status"), "VmHWM")


def free_memory() -> int | None:
    """Bytes that this process may still take, where the system tells; containers often allow less than all."""
    free, own = _kilobytes(Path("/proc/meminfo"), "MemAvailable"), resident()
    if free is None or own is None:
        return None
    for path in _LIMITS:
        try:
            free = min(free, max(int(Path(path).read_text()) - own, 0))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return free


def _kilobytes(path: Path, key: str) -> int | None:
    try:
        found = re.search(rf"^{key}:\s*(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
