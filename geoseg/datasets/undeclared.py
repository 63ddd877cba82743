"""What looks like no data in images to be trained on, and was not declared."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.engine.resized import ResizedSource
from geoseg.raster.look import Remedy, holding, undeclared
from geoseg.raster.sample import Sample, sample, share_words
from geoseg.raster.source import Source
from geoseg.raster.undeclared import Suspect, Watch, zero_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with an image, with what to do.

    Parameters
    ----------
    what : str
    amount : str
        How many of its pixels are concerned.
    sure : bool
        Whether the image should not be used as it is.
    """

    what: str
    amount: str
    sure: bool


def undeclared_in(image: Source, watch: Watch) -> Finding | None:
    """Judge an image.

    Parameters
    ----------
    image : Source
    watch : Watch
        That has seen every pixel of it; of a resized image none.
    """
    stored = image.source if isinstance(image, ResizedSource) else image
    no_data = stored.no_data
    if no_data.said and not any(no_data.values):
        return None  # a person said that there is none
    part = sample(stored)
    if stored is not image:
        watch.add(part.pixels, part.valid)
    suspects = watch.suspects()
    block = None if no_data.said else zero_block(part)
    both = (*undeclared(suspects, no_data), *([block] if block else []))
    if both:
        remedy = Remedy.of(both, stored)
        words = " and ".join(dict.fromkeys(map(holding, both)))
        what = (
            f"{words} and count as data; set data.nodata to {remedy.nodata}{remedy.rule_too} ({remedy.flags}), or "
            f"to {remedy.data} if they are data"
        )
        # A photograph without a place on the ground may well be black at its border.
        sure = not no_data.said and (stored.grid.crs is not None or not both[0].block)
        return Finding(what=what, amount=_amount(both[0], part, watch), sure=sure)
    apart = next((suspect for suspect in suspects if suspect.apart), None)
    if apart is None or no_data.rule is not None:
        return None
    what = (
        f"{holding(apart)}, which is no data where all bands have it, in some bands only; set data.nodata_rule to any "
        "(--nodata-rule any), or to all if they are data"
    )
    return Finding(what=what, amount=_amount(apart, part, watch), sure=not no_data.said)


def _amount(suspect: Suspect, part: Sample, watch: Watch) -> str:
    if suspect.block:
        return part.amount(suspect.pixels)
    return f"{share_words(suspect.pixels / max(watch.pixels, 1))} of its pixels"
