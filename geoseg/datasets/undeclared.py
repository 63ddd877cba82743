"""Find undeclared no-data values in training images."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.engine.resized import ResizedSource
from geoseg.errors import Message
from geoseg.raster.look import Remedy, holding, undeclared
from geoseg.raster.sample import Sample, sample, share_words
from geoseg.raster.source import Source
from geoseg.raster.undeclared import Suspect, Watch, zero_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem of an image, with its remedy.

    Parameters
    ----------
    what : Message
        Description of the problem and its remedy.
    amount : str
        How many of its pixels are affected.
    sure : bool
        Whether the image must not be used as it is.
    """

    what: Message
    amount: str
    sure: bool


def undeclared_in(image: Source, watch: Watch) -> Finding | None:
    """Return the finding about undeclared no-data values in an image, or None.

    Parameters
    ----------
    image : Source
        The image.
    watch : Watch
        Observations of all pixels of the image; for a resized image none.
    """
    stored = image.source if isinstance(image, ResizedSource) else image
    no_data = stored.no_data
    if no_data.said and not any(no_data.values):
        return None  # the user declared that there is no no-data value
    part = sample(stored)
    if stored is not image:
        watch.add(part.pixels, part.valid)
    suspects = watch.suspects()
    block = None if no_data.said else zero_block(part)
    both = (*undeclared(suspects, no_data), *([block] if block else []))
    if both:
        remedy = Remedy.of(both, stored)
        words = " and ".join(dict.fromkeys(map(holding, both)))
        what = Message(
            "{} and count as data; set data.nodata to {}{} ({}), or to {} if they are data",
            words, remedy.nodata, remedy.rule_too, remedy.declared, remedy.data,
        )  # fmt: skip
        # A photograph without georeference may really be black at its border.
        sure = not no_data.said and (stored.grid.crs is not None or not both[0].block)
        return Finding(what=what, amount=_amount(both[0], part, watch), sure=sure)
    apart = next((suspect for suspect in suspects if suspect.apart), None)
    if apart is None or no_data.rule is not None:
        return None
    what = Message(
        "{}, which is no data where all bands have it, in some bands only; set data.nodata_rule to any "
        "({nodata_rule}), or to all if they are data",
        holding(apart), nodata_rule="any",
    )  # fmt: skip
    return Finding(what=what, amount=_amount(apart, part, watch), sure=not no_data.said)


def _amount(suspect: Suspect, part: Sample, watch: Watch) -> str:
    if suspect.block:
        return part.amount(suspect.pixels)
    return f"{share_words(suspect.pixels / max(watch.pixels, 1))} of its pixels"
