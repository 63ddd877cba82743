"""Memory of this process, as Linux reports it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def resident() -> int | None:
    """Return the resident memory of this process in bytes, or None if the system does not report it."""
    return kilobytes(_STATUS, "VmRSS")


def peak() -> int | None:
    """Return the peak resident memory of this process in bytes, or None if the system does not report it."""
    return kilobytes(_STATUS, "VmHWM")


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB, on every system."""
    # Some sandboxes leave it out. ru_maxrss begins with the peak of the process that started this one.
    if (found := peak()) is not None:
        return found / 1e6
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most / 1e3


def kilobytes(path: Path, key: str) -> int | None:
    """Return the bytes in a line ``key: N kB`` of a file under /proc, or None if it has no such line."""
    try:
        found = re.search(rf"^{key}:\s*(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
