"""Why a URL could not be opened: GDAL says the same of a web page as of a server that sends whole files only."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Final

from geoseg.raster.file_kinds import VRT, kind_of_bytes

_SECONDS: Final = 20
_START: Final = 1024  # bytes
_WORDS: Final = {
    401: "the server wants to know who asks (HTTP 401)",
    403: "the server refuses to give it (HTTP 403)",
    404: "there is no such file on the server (HTTP 404); check the address",
}


def why_refused(name: str) -> str | None:
    """Ask a web server for the first bytes of a file that GDAL could not open.

    Parameters
    ----------
    name : str
        URL, or a ``/vsicurl/`` name.

    Returns
    -------
    str or None
        What is wrong and what to do; None where the first bytes do not tell, or it is no address of the web.
    """
    url = name.removeprefix("/vsicurl/")
    if re.match(r"https?://", url) is None:
        return None
    request = urllib.request.Request(url, headers={"Range": f"bytes=0-{_START - 1}"})  # noqa: S310  http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            start, status = answer.read(_START), answer.status
    except urllib.error.HTTPError as error:
        return _WORDS.get(error.code)
    except (OSError, ValueError):
        return None
    kind = kind_of_bytes(start)
    if kind is None or not kind.driver or kind is VRT:
        what = "not one by its first bytes" if kind is None else kind.name
        return f"is {what}, expected a GeoTIFF, JPEG 2000, PNG or JPEG file; check the address"
    if status != 206:
        return (
            "the server sends whole files only and no parts of them (range requests), which reading from a URL needs; "
            "fetch the file first, for example with curl -O"
        )
    return None
