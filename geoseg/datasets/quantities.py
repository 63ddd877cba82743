"""Kinds of values in a training configuration that its parts share."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, Field

from geoseg.grid.legend import NODATA

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


Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A regular expression whose one group is what an image's file and its labels' file have in common."""
