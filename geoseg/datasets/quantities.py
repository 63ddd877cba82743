"""Kinds of values in a training configuration that its parts share."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, Field

from geoseg.errors import OptionError
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import LARGEST_EDGE
from geoseg.raster.declared import nodata_of
from geoseg.raster.validity import nodata_words

STRICT: Final = ConfigDict(extra="forbid", frozen=True)

# Counted in steps or files: what is done a billion times is never done.
Count = Annotated[int, Field(ge=1, le=10**9)]
# An epoch keeps eight bytes or more of each chip.
Chips = Annotated[int, Field(ge=1, le=10**8)]
# A batch of so many of the smallest chips is no longer limited by anything else; what fits the memory is looked at
# when the network is there.
Batch = Annotated[int, Field(ge=1, le=2**16)]
Edge = Annotated[int, Field(ge=1, le=LARGEST_EDGE)]
Margin = Annotated[int, Field(ge=0, le=LARGEST_EDGE)]
# Rows or columns: a file of GDAL's has no more.
Pixels = Annotated[int, Field(ge=1, lt=2**31)]
Offset = Annotated[int, Field(ge=0, lt=2**31)]
# GDAL opens no file of more.
BandNumber = Annotated[int, Field(ge=1, le=65_535)]
# Each is a process with torch in it, of 1 GB.
Workers = Annotated[int, Field(ge=0, le=256)]
Devices = Annotated[int, Field(ge=1, le=64)]
# The largest machines have fewer cores; a thread each is all that helps.
Threads = Annotated[int, Field(ge=1, le=1024)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# Numbers that float32 computes with.
Amount = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
# No place on the ground is farther from another, in m.
Length = Annotated[float, Field(ge=0, le=5e7, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Code = Annotated[int, Field(ge=0, lt=NODATA)]


def _pattern(text: object) -> object:
    """Refuse what is no regular expression with one group."""
    if isinstance(text, str):
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(f"has {groups} groups, expected one: the part that image and labels share")
    return text


def _nodata(given: object) -> str | None:
    """Write no data as the command line has it."""
    try:
        values = nodata_of(given)
    except OptionError as error:
        raise ValueError(str(error)) from error
    return None if values is None else nodata_words(values)


Nodata = Annotated[str, BeforeValidator(_nodata)]
"""No data of the images in place of their files': a number, ``none``, or one for each band (``0/255``: either)."""

Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A regular expression whose one group is what an image's file and its labels' file have in common."""
