"""The date on which a scene was taken, from its metadata or its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import Final

_TAGS: Final = (
    "ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME",
    "DATATAKE_1_DATATAKE_SENSING_START", "PRODUCT_START_TIME", "ACQUIRED", "DATETIME",
)  # fmt: skip
"""Tags in which programs say when a scene was taken, the surest first."""
_WRITTEN: Final = "TIFFTAG_DATETIME"
"""TIFF's own tag, which many programs set to the time at which they wrote the file: the last resort."""
_DAY: Final = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_:.]?)(\d\d)\2(\d\d)(?=\D|T|$)")


def date_of(path: str, tags: Mapping[str, str]) -> str | None:
    """Return the date of a scene as ``YYYY-MM-DD``; None if nothing tells.

    Tags about the acquisition come first, then the first date in the file's name, then in its folder's, then
    the time at which the file was written.

    Parameters
    ----------
    path : str
        Path or URL of the scene.
    tags : mapping of str to str
        Metadata of its file.
    """
    known = {key.upper(): value for key, value in tags.items()}
    place = PurePath(path)
    texts = [*(known.get(tag, "") for tag in _TAGS), place.name, place.parent.name, known.get(_WRITTEN, "")]
    return next((found for text in texts if (found := _first_day(text)) is not None), None)


def _first_day(text: str) -> str | None:
    for year, _, month, day in _DAY.findall(text):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue  # digits that are no day, such as a tile's number
    return None
