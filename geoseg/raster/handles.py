"""Open datasets: one per thread and process, never shared across a fork.

Processes that share a dataset through a fork share its file position, so reads return wrong data without an error.
So a handle belongs to one thread of one process, and a forked child opens its own. Where GDAL cannot open a URL, the
server is asked for the reason, which GDAL's errors do not tell.
"""

from __future__ import annotations

import os
import re
import threading
import urllib.error
import urllib.request
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.errors import SceneError
from geoseg.raster.file_kinds import VRT, kind_of_bytes
from geoseg.raster.opening import Location

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)
"""Errors of rasterio for files that cannot be read or written; copying raises GDAL's own errors, too."""

_MOST_OPEN = 32
"""Most handles that a thread keeps open; the least recently used one is closed."""

_OPTIONS = {
    "VRT": {"GDAL_VRT_ENABLE_PYTHON": "NO"},
    "JPEG": {"GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE"},  # otherwise missing parts are filled with grey
}
_REMOTE_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no sidecars, whose format could not be checked
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "3",
}

_quiet = threading.Lock()
_Kept = dict[int, OrderedDict[Location, rasterio.DatasetReader]]
_kept: _Kept = {}
"""References that keep a forked child from closing inherited handles, which may deadlock."""

_local = threading.local()
_SECONDS: Final = 20
_START: Final = 1024  # bytes
_AT_ONCE: Final = 2**14
"""Size in bytes of GDAL's first request: smaller files need no range requests."""
_WHOLE: Final = (
    "the server sends whole files only and no parts of them (range requests), which reading from a URL needs; "
    "fetch the file first, for example with curl -O"
)
_WORDS: Final = {
    401: "the server requires authentication (HTTP 401)",
    403: "the server denies access (HTTP 403)",
    404: "there is no such file on the server (HTTP 404); check the address",
}


class _Shelf:
    """The handles of one thread, closed when the thread ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.open: OrderedDict[Location, rasterio.DatasetReader] = OrderedDict()
        _kept[id(self)] = self.open

    # Defaults keep references: at interpreter exit globals may be gone before the last shelf is.
    def __del__(self, getpid: Callable[[], int] = os.getpid, kept: _Kept = _kept) -> None:
        if self.pid == getpid():
            kept.pop(id(self), None)
            while self.open:
                self.open.popitem()[1].close()


@contextmanager
def handle(location: Location) -> Iterator[rasterio.DatasetReader]:
    """Provide this thread's dataset for the length of a ``with`` block, with GDAL's options set.

    Raises
    ------
    SceneError
        If it cannot be opened, or has changed since it was located.
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
    """Set GDAL's options for a raster; most have none, because entering an Env costs more than a small read."""
    options = {**_OPTIONS.get(location.driver, {}), **(_REMOTE_OPTIONS if location.remote else {})}
    if options:
        context: AbstractContextManager[object] = rasterio.Env(**options)
        return context
    return nullcontext()


def open_dataset(location: Location) -> rasterio.DatasetReader:
    """Open a dataset with the expected driver only."""
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


def drop_handle(location: Location) -> None:
    """Close this thread's dataset of a raster after a failed read.

    Some drivers report missing data only once, and return grey pixels without an error from then on.
    """
    shelf: _Shelf | None = getattr(_local, "shelf", None)
    if shelf is not None and shelf.pid == os.getpid():
        dataset = shelf.open.pop(location, None)
        if dataset is not None:
            dataset.close()


def forget_error(dataset: rasterio.DatasetReader) -> None:
    """Clear the error of a failed read from GDAL's state, which `colorinterp` would raise again."""
    with suppress(CPLE_BaseError):
        _ = dataset.colorinterp


def one_line(error: BaseException) -> str:
    """Return the root cause of an error in one line."""
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    return " ".join(str(reason).split()) or type(reason).__name__


def why_refused(name: str) -> str | None:
    """Explain why GDAL could not open a file of a web server.

    Parameters
    ----------
    name : str
        URL, or a ``/vsicurl/`` name.

    Returns
    -------
    str or None
        What is wrong and what to do; None if the start of the file does not tell, or if it is not a web address.
    """
    status, start, whole = _asked(name)
    if not start:
        return _WORDS.get(status)
    kind = kind_of_bytes(start)
    if kind is None or not kind.driver or kind is VRT:
        what = "not one by its first bytes" if kind is None else kind.name
        return f"is {what}, expected a GeoTIFF, JPEG 2000, PNG or JPEG file; check the address"
    return _WHOLE if whole else None


def sends_whole(name: str) -> str | None:
    """Explain that a file cannot be streamed because its server ignores range requests; None if it does not."""
    _, start, whole = _asked(name)
    return _WHOLE if start and whole else None


@lru_cache(maxsize=256)
def _asked(name: str) -> tuple[int, bytes, bool]:
    """Request the start of a file; return the status, the bytes, and whether the server sent all of a large file."""
    url = name.removeprefix("/vsicurl/")
    if re.match(r"https?://", url) is None:
        return 0, b"", False
    request = urllib.request.Request(url, headers={"Range": f"bytes=0-{_START - 1}"})  # noqa: S310  http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            size = int(answer.headers.get("Content-Length") or 0)
            return answer.status, answer.read(_START), answer.status == 200 and not 0 < size <= _AT_ONCE
    except urllib.error.HTTPError as error:
        return error.code, b"", False
    except (OSError, ValueError):
        return 0, b"", False
