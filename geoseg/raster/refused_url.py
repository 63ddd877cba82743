"""Why a URL cannot be read: GDAL says the same of a web page as of a server that sends whole files only."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from functools import lru_cache
from typing import Final

from geoseg.raster.file_kinds import VRT, kind_of_bytes

_SECONDS: Final = 20
_START: Final = 1024  # bytes
_AT_ONCE: Final = 2**14
"""Bytes that GDAL fetches at first: a file that is no larger needs no parts."""
_WHOLE: Final = (
    "the server sends whole files only and no parts of them (range requests), which reading from a URL needs; "
    "fetch the file first, for example with curl -O"
)
_WORDS: Final = {
    401: "the server wants to know who asks (HTTP 401)",
    403: "the server refuses to give it (HTTP 403)",
    404: "there is no such file on the server (HTTP 404); check the address",
}


def why_refused(name: str) -> str | None:
    """Say why GDAL could not open a file of a web server.

    Parameters
    ----------
    name : str
        URL, or a ``/vsicurl/`` name.

    Returns
    -------
    str or None
        What is wrong and what to do; None where the file's start does not tell, or it is no address of the web.
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
    """Say that a file that GDAL could open is not to be read, since its server does not give parts of it."""
    _, start, whole = _asked(name)
    return _WHOLE if start and whole else None


@lru_cache(maxsize=256)
def _asked(name: str) -> tuple[int, bytes, bool]:
    """Ask for the start of a file: the status, what came, and whether it was all of a larger one."""
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
