"""Rows of a class map beside its reference, as class indices, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.assessment.evaluation.reference import IGNORED, Indices, Reference
from geoseg.errors import ClassMapError
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.raster.classmap import Strip

PIXELS = 2**21
"""Pixels that are read at a time, about."""
LEAST_ROWS = 64
"""Rows that are read at a time, at least; no neighbourhood reaches further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a map and of its reference.

    Parameters
    ----------
    first : int
        Row of the map at which they begin.
    found, truth : (row, col) int16
        Class index of the map and of the reference; IGNORED in both where a pixel is not compared.
    unlabelled, unmapped : int
        Pixels of the map without a reference, and pixels with a reference where the map has no data.
    """

    first: int
    found: Indices
    truth: Indices
    unlabelled: int
    unmapped: int

    @property
    def compared(self) -> npt.NDArray[np.bool_]:
        """Whether a pixel is compared."""
        compared: npt.NDArray[np.bool_] = self.found != IGNORED
        return compared


def rows_of(
    strips: Iterable[Strip],
    index: Callable[[Strip], Indices],
    reference: Reference,
    layer: int | None = None,
) -> Iterator[Rows]:
    """Read a map and its reference from top to bottom.

    Parameters
    ----------
    strips : iterable of Strip
        Codes and validity of the map.
    index : callable
        Returns the class index of a strip's pixels, IGNORED where they are not valid.
    reference : Reference
        The labels.
    layer : int, optional
        Of overlapping classes: which class.
    """
    first = 0
    for codes, valid in in_pieces(strips):
        height, width = codes.shape
        found = index((codes, valid))
        truth = reference.indices(Window(row=first, col=0, height=height, width=width), layer)
        mapped, labelled = found != IGNORED, truth != IGNORED
        compared = mapped & labelled
        yield Rows(
            first=first,
            found=np.where(compared, found, np.int16(IGNORED)),
            truth=np.where(compared, truth, np.int16(IGNORED)),
            unlabelled=int(np.count_nonzero(mapped & ~labelled)),
            unmapped=int(np.count_nonzero(labelled & ~mapped)),
        )
        first += height


def in_pieces(strips: Iterable[Strip]) -> Iterator[Strip]:
    """Cut and join strips so that all but the last have equally many rows, about `PIXELS` pixels."""
    kept: list[Strip] = []
    height = 0
    for codes, valid in strips:
        wanted = max(LEAST_ROWS, PIXELS // max(1, codes.shape[1]))
        kept.append((codes, valid))
        height += len(codes)
        while height >= wanted:
            joined = _joined(kept)
            yield joined[0][:wanted], joined[1][:wanted]
            kept, height = [(joined[0][wanted:], joined[1][wanted:])], height - wanted
    if height:
        yield _joined(kept)


def _joined(strips: list[Strip]) -> Strip:
    if len(strips) == 1:
        return strips[0]
    return np.concatenate([codes for codes, _ in strips]), np.concatenate([valid for _, valid in strips])


def class_index(legend: Legend, name: str) -> Callable[[Strip], Indices]:
    """Return the function from a strip's codes to class indices.

    Parameters
    ----------
    legend : Legend
        Classes of the map; their codes ascend.
    name : str
        Name of the map, for messages.
    """
    known = np.asarray(legend.codes, dtype=np.int64)

    def index(strip: Strip) -> Indices:
        codes, valid = strip
        wide = codes.astype(np.int64)
        place = np.minimum(np.searchsorted(known, wide), len(known) - 1)
        strange = valid & (known[place] != wide)
        if strange.any():
            raise ClassMapError(
                f"{name}: has code {int(wide[strange][0])}, expected {', '.join(map(str, legend.codes))}; "
                "evaluate it with its own legend"
            )
        return np.where(valid, place, IGNORED).astype(np.int16)

    return index


def present_index(strip: Strip) -> Indices:
    """Return 1 where a layer's class is present, 0 where it is absent, IGNORED where it is not valid."""
    values, valid = strip
    return np.where(valid, values.astype(np.int16), np.int16(IGNORED))
