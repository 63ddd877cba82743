"""The meaning of scale and offset tags: one rule for statistics, training, prediction and the card.

Training images are measured in the units that their tags give if all of them carry tags, and in
stored values if none does; a mix is refused. In the first case the card has units: a scene's own tags apply
and, without tags, the card's. In the second case it has none: stored values are used, whatever a
scene's tags are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, SceneError, plural
from geoseg.models.card import Card
from geoseg.models.remedies import tagged
from geoseg.raster.source import Source

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Scale and offset of each band: ``units = stored * scale + offset``.

    Parameters
    ----------
    scale, offset : tuple of float
        One number per band.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @classmethod
    def none(cls, bands: int) -> Scaling:
        """Return the identity scaling, for values used as they are stored."""
        return cls(scale=(1.0,) * bands, offset=(0.0,) * bands)

    def units(self, stored: Floats) -> Floats:
        """Convert stored values (band, ...) to the units that the tags give."""
        scale, offset = self._along(stored.ndim)
        return stored * scale + offset

    def stored(self, units: Floats) -> Floats:
        """Convert values in units back to stored values; the inverse of `units`."""
        scale, offset = self._along(units.ndim)
        return (units - offset) / scale

    @property
    def bands(self) -> tuple[bool, ...]:
        """Whether each band is tagged: GDAL gives untagged bands scale 1 and offset 0."""
        return tuple(pair != (1.0, 0.0) for pair in zip(self.scale, self.offset, strict=True))

    def _along(self, ndim: int) -> tuple[Floats, Floats]:
        shape = (-1,) + (1,) * (ndim - 1)
        return np.reshape(self.scale, shape), np.reshape(self.offset, shape)

    def __str__(self) -> str:
        """Describe both for messages: ``scale 0.0001, offset -0.1``."""
        parts = []
        for word, numbers in (("scale", self.scale), ("offset", self.offset)):
            same = len(set(numbers)) == 1
            parts.append(
                f"{word} {numbers[0]:g}" if same else f"{word}s {' '.join(f'{n:g}' for n in numbers)}"
            )
        return ", ".join(parts)


def tags_of(source: Source) -> Scaling | None:
    """Return the scale and offset tags of a source's chosen bands; None if it has none.

    Raises
    ------
    SceneError
        If a scale is 0, or a tag is not finite.
    """
    if source.scale is None and source.offset is None:
        return None
    plain = Scaling.none(source.count)
    tags = Scaling(scale=source.scale or plain.scale, offset=source.offset or plain.offset)
    if 0 in tags.scale or not all(map(math.isfinite, (*tags.scale, *tags.offset))):
        raise SceneError(
            f"{source.path}: its tags {tags} make all values equal or not finite; correct them {tagged(source)}"
        )
    return tags


def scaling_under(card: Card, source: Source) -> Scaling:
    """Return the scaling from a source's stored values to the units of a card's mean and std.

    If the card has units, these are the source's tags, and the card's own for bands without tags.
    """
    own = tags_of(source) if card.has_units else None
    if own is None:
        return Scaling(scale=card.scale, offset=card.offset)
    if not any(own.bands):
        return own  # an array to which the tags were already applied
    bands = zip(own.bands, own.scale, own.offset, card.scale, card.offset, strict=True)
    pairs = [(scale, offset) if tagged else theirs for tagged, scale, offset, *theirs in bands]
    return Scaling(scale=tuple(s for s, _ in pairs), offset=tuple(o for _, o in pairs))


def scalings_of(images: Sequence[Source]) -> tuple[Scaling, ...]:
    """Return the scaling of each image of a set that is measured together, in the set's units.

    Raises
    ------
    DataError
        If some images are tagged and some are not: their values may not be comparable.
    """
    unlike = unlike_tags(images)
    if unlike:
        path, what = next(iter(unlike.items()))
        more = f" (and {len(unlike) - 1} more)" if len(unlike) > 1 else ""
        raise DataError(f"{path}{more}: {what}")
    return tuple(tags_of(image) or Scaling.none(image.count) for image in images)


def unlike_tags(images: Sequence[Source]) -> dict[str, str]:
    """Return the images, by name, whose tags differ from those of the largest group, with an explanation.

    A band must have tags in all images or in none.
    """
    tags = {image.path: tags_of(image) for image in images}
    groups: dict[tuple[bool, ...], list[str]] = {}
    for image in images:
        own = tags[image.path]
        alike = groups.setdefault((False,) * image.count if own is None else own.bands, [])
        if image.path not in alike:
            alike.append(image.path)
    usual = max(groups.values(), key=len)
    count = f"{plural(len(usual), 'image')} {'differs' if len(usual) == 1 else 'differ'}"
    others = f"{count}: {usual[0]} {_words(tags[usual[0]])}"
    return {
        path: f"{_words(tags[path])}, and {others}; give all of them the tags that are true of their numbers, or "
        "none, with gdal_translate -a_scale and -a_offset (1 and 0 are none)"
        for paths in groups.values()
        if paths is not usual
        for path in paths
    }


def _words(tags: Scaling | None) -> str:
    return "has no scale and offset tags" if tags is None else f"is tagged with {tags}"
