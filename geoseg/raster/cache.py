"""GDAL's block cache, kept small while rasters stream through.

GDAL keeps decoded blocks up to 5 % of the machine's memory, for all datasets, threads and files together.
A raster that is read or written once from top to bottom gains nothing from it and would let peak memory grow
with its height.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# The limit belongs to the process, unlike GDAL's other options. Env(GDAL_CACHEMAX=...) sets it too (in
# bytes), but puts it back in the order in which threads happen to leave their blocks.
from rasterio._env import get_gdal_config, set_gdal_config

_lock = threading.Lock()
_limits: list[int] = []
_before: list[int] = []


@contextmanager
def limited_cache(megabytes: int = 64) -> Iterator[None]:
    """Hold GDAL's block cache of this process to `megabytes` for the length of a ``with`` block.

    It counts for all threads. Blocks may be nested and may overlap in several threads: the largest limit
    among them holds, and what was there before comes back with the last one.

    Parameters
    ----------
    megabytes : int
        Enough for one row of blocks of what is read at the same time.
    """
    limit = megabytes * 2**20
    with _lock:
        if not _limits:
            _before.append(int(get_gdal_config("GDAL_CACHEMAX")))
        _limits.append(limit)
        set_gdal_config("GDAL_CACHEMAX", max(_limits))
    try:
        yield
    finally:
        with _lock:
            _limits.remove(limit)
            set_gdal_config("GDAL_CACHEMAX", max(_limits) if _limits else _before.pop())
