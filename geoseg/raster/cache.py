"""Limit of GDAL's block cache while rasters are streamed.

GDAL caches decoded blocks in up to 5 % of the machine's memory, for all datasets and threads together. A raster that
is read or written once from top to bottom gains nothing from it, and peak memory would grow with its height.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Unlike GDAL's other options, the limit is one per process. Env(GDAL_CACHEMAX=...) sets it too (in bytes), but
# threads that leave their blocks in another order than they entered would restore wrong values.
from rasterio.env import get_gdal_config, set_gdal_config

_lock = threading.Lock()
_limits: list[int] = []
_before: list[int] = []


def cache_limit() -> int:
    """Return the limit of GDAL's block cache of this process in bytes."""
    return int(get_gdal_config("GDAL_CACHEMAX"))


@contextmanager
def limited_cache(megabytes: int = 64) -> Iterator[None]:
    """Limit GDAL's block cache of this process to `megabytes` for the length of a ``with`` block.

    The limit applies to all threads. Blocks may be nested and may overlap in several threads: the largest limit
    among them applies, and the last block to end restores the original one.

    Parameters
    ----------
    megabytes : int
        Size of the cache, large enough for one row of blocks of all rasters read at the same time.
    """
    limit = megabytes * 2**20
    with _lock:
        if not _limits:
            _before.append(cache_limit())
        _limits.append(limit)
        set_gdal_config("GDAL_CACHEMAX", max(_limits))
    try:
        yield
    finally:
        with _lock:
            _limits.remove(limit)
            set_gdal_config("GDAL_CACHEMAX", max(_limits) if _limits else _before.pop())
