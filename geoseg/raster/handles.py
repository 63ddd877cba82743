"""Open datasets: one per thread and process, never across a fork.

A dataset that two processes share through a fork moves one file position under both: reads come back wrong
without an error. So a handle belongs to one thread of one process, and a forked child opens its own.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.errors import SceneError
from geoseg.raster.opening import Location
from geoseg.raster.refused_url import sends_whole, why_refused

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)
"""What rasterio raises for files that cannot be read or written; copying passes GDAL's own errors on."""

_MOST_OPEN = 32
"""Handles a thread keeps; the one unused for longest is closed."""

_OPTIONS = {
    "VRT": {"GDAL_VRT_ENABLE_PYTHON": "NO"},
    "JPEG": {"GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE"},  # what is missing is otherwise filled with grey
}
_REMOTE_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no sidecars, whose first bytes we could not check
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "3",
}

_quiet = threading.Lock()
_Kept = dict[int, OrderedDict[Location, rasterio.DatasetReader]]
_kept: _Kept = {}
"""Keeps a forked child from closing (and maybe dead-locking on) what it inherited."""


class _Shelf:
    """The handles of one thread, closed with it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.open: OrderedDict[Location, rasterio.DatasetReader] = OrderedDict()
        _kept[id(self)] = self.open

    # When the interpreter ends, globals are gone before the last shelf is.
    def __del__(self, getpid: Callable[[], int] = os.getpid, kept: _Kept = _kept) -> None:
        if self.pid == getpid():
            kept.pop(id(self), None)
            while self.open:
                self.open.popitem()[1].close()


_local = threading.local()


@contextmanager
def handle(location: Location) -> Iterator[rasterio.DatasetReader]:
    """Lend this thread's dataset for the length of a ``with`` block, GDAL's options set.

    Raises
    ------
    SceneError
        If it cannot be opened, or is not the file that was located.
    """
    location.check_unchanged()
    shelf: _Shelf | None = getattr(_local, "shelf", None)
    if shelf is None or shelf.pid != os.getpid():
        shelf = _local.shelf = _Shelf()
    with _options(location):
        dataset = shelf.open.get(location)
        if dataset is None:
            dataset = shelf.open[location] = open_dataset(location)
            if len(shelf.open) > _MOST_OPEN:
                shelf.open.popitem(last=False)[1].close()
        shelf.open.move_to_end(location)
        yield dataset


def _options(location: Location) -> AbstractContextManager[object]:
    """GDAL's options for a raster; entering an Env costs more than a small read, so most have none."""
    options = {**_OPTIONS.get(location.driver, {}), **(_REMOTE_OPTIONS if location.remote else {})}
    if options:
        context: AbstractContextManager[object] = rasterio.Env(**options)
        return context
    return nullcontext()


def open_dataset(location: Location) -> rasterio.DatasetReader:
    """Open a dataset by its driver and no other."""
    location.check_sidecars()
    try:
        dataset: rasterio.DatasetReader = open_quietly(location.name, driver=location.driver)
    except (*GDAL_ERRORS, ValueError) as error:
        why = why_refused(location.name) if location.remote else None
        if why is not None:
            raise SceneError(f"{location.typed}: {why}") from error
        raise SceneError(
            f"{location.typed}: cannot be opened as {location.driver} ({one_line(error)})"
        ) from error
    for each in (location, *location.members):
        whole = sends_whole(each.name) if each.remote else None
        if whole is not None:
            dataset.close()
            raise SceneError(f"{each.typed}: {whole}")
    return dataset


def open_quietly(name: str | Path, mode: str = "r", **options: Any) -> Any:
    """Call `rasterio.open` without its warning that a plain image has no georeferencing."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, mode, **options)


def close_handles() -> None:
    """Close the handles of this thread."""
    shelf: _Shelf | None = getattr(_local, "shelf", None)
    if shelf is not None and shelf.pid == os.getpid():
        while shelf.open:
            shelf.open.popitem()[1].close()


def drop_handle(location: Location) -> None:
    """Close this thread's dataset of a raster after a read that failed.

    Some drivers report what is missing once, and from then on show it as grey without an error.
    """
    shelf: _Shelf | None = getattr(_local, "shelf", None)
    if shelf is not None and shelf.pid == os.getpid():
        dataset = shelf.open.pop(location, None)
        if dataset is not None:
            dataset.close()


def forget_error(dataset: rasterio.DatasetReader) -> None:
    """Take the error of a failed read out of GDAL's state: `colorinterp` would raise it a second time."""
    with suppress(CPLE_BaseError):
        _ = dataset.colorinterp


def one_line(error: BaseException) -> str:
    """Return the deepest reason that GDAL gave, in one line."""
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    return " ".join(str(reason).split()) or type(reason).__name__
