"""Kinds of values in a training configuration that its parts share."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, Field

from geoseg.errors import OptionError
from geoseg.grid.legend import NODATA
from geoseg.raster.declared import nodata_of
from geoseg.raster.validity import nodata_words

STRICT: Final = ConfigDict(extra="forbid", frozen=True)

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
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
