"""Types of values that the sections of a training configuration share."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, Field

from geoseg.errors import OptionError, plural
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import LARGEST_EDGE
from geoseg.raster.declared import nodata_of
from geoseg.raster.validity import nodata_words

STRICT: Final = ConfigDict(extra="forbid", frozen=True)

# Numbers of steps or files; more than a billion would never finish.
Count = Annotated[int, Field(ge=1, le=10**9)]
# An epoch takes at least eight bytes per chip.
Chips = Annotated[int, Field(ge=1, le=10**8)]
# Larger batches are useless even for the smallest chips; whether a batch fits in memory is checked
# once the network is built.
Batch = Annotated[int, Field(ge=1, le=2**16)]
Edge = Annotated[int, Field(ge=1, le=LARGEST_EDGE)]
Margin = Annotated[int, Field(ge=0, le=LARGEST_EDGE)]
# Rows or columns; GDAL's limit.
Pixels = Annotated[int, Field(ge=1, lt=2**31)]
Offset = Annotated[int, Field(ge=0, lt=2**31)]
# GDAL's limit.
BandNumber = Annotated[int, Field(ge=1, le=65_535)]
# Each is a process that loads torch and takes 1 GB.
Workers = Annotated[int, Field(ge=0, le=256)]
Devices = Annotated[int, Field(ge=1, le=64)]
# The largest machines have fewer cores, and more threads than cores do not help.
Threads = Annotated[int, Field(ge=1, le=1024)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# Limited so that float32 computations do not overflow.
Amount = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
# Metres; larger than the distance between any two places on the earth.
Length = Annotated[float, Field(ge=0, le=5e7, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Code = Annotated[int, Field(ge=0, lt=NODATA)]


def _pattern(text: object) -> object:
    """Raise ValueError for text that is not a regular expression with one group."""
    if isinstance(text, str):
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from error
        if groups != 1:
            raise ValueError(
                f"has {plural(groups, 'group')}, expected one: the part that image and labels share"
            )
    return text


def _nodata(given: object) -> str | None:
    """Format no-data values as on the command line."""
    try:
        values = nodata_of(given)
    except OptionError as error:
        raise ValueError(str(error)) from error
    return None if values is None else nodata_words(values)


Nodata = Annotated[str, BeforeValidator(_nodata)]
"""No-data values that replace those of the images' files: a number, ``none``, or one per band (``0/255``:
either)."""

Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A regular expression whose single group matches the part that an image's file and its labels' file share."""
