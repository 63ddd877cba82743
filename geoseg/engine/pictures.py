"""Run many small images through one network: what is asked for, and what is returned.

Implemented by `geoseg.engine.array_pictures` with OpenVINO and by `geoseg.engine.torch_pictures` with torch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.clock import Clock
from geoseg.engine.cutting import Cutting, Picture
from geoseg.engine.mosaic import Deciding
from geoseg.grid.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The part of every picture that is decided, and its size; by default the whole picture at its own size.

    Parameters
    ----------
    content : Window, optional
        Window inside every picture; by default all of it.
    size : (int, int), optional
        (rows, cols) to which the probabilities of the part are resized before they are decided.
    """

    content: Window | None = None
    size: tuple[int, int] | None = None

    @property
    def inside(self) -> tuple[slice, slice]:
        """Slices of the rows and columns of the part."""
        return (slice(None), slice(None)) if self.content is None else self.content.slices

    def shape(self, picture: Picture) -> tuple[int, int]:
        """Return the (rows, cols) that are decided of a picture."""
        if self.size is not None:
            return self.size
        return picture.plan.shape if self.content is None else self.content.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureTerms:
    """How pictures are cut, decided and shown.

    Parameters
    ----------
    cutting : Cutting
        How the model wants its images.
    deciding : Deciding
        How probabilities become codes.
    shown : Shown
        Part and size of every picture that is decided.
    clock : Clock
        Measures the stages; off by default.
    """

    cutting: Cutting
    deciding: Deciding
    shown: Shown = field(default_factory=Shown)
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureResult:
    """The class codes of one picture.

    Parameters
    ----------
    picture : Picture
        The picture, without its pixels.
    codes : ndarray of uint8, shape (row, col), or (layer, row, col) for a multilabel task
        Class codes of the shown part, as in `StripResult`.
    has_nan : bool
        Whether the probability of a valid pixel is NaN; the codes are meaningless then.
    """

    picture: Picture
    codes: npt.NDArray[np.uint8]
    has_nan: bool


class PictureEngine(Protocol):
    """Run one network over many pictures.

    Laws: the result of a picture is what `geoseg.engine.engine.Engine` gives for it alone, whatever it was
    computed together with; results come out in the order in which pictures went in.
    """

    def run(self, pictures: Iterable[Picture]) -> Generator[list[PictureResult], None, None]:
        """Yield the results of the pictures in order, several at a time."""
