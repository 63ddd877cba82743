"""Inputs, destination and totals of a run over pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.cutting import Cutting, Picture
from geoseg.engine.pictures import Shown
from geoseg.engine.settings import Settings
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import given_model, tiling_of
from geoseg.models.card import Card
from geoseg.models.card_file import read_card
from geoseg.models.model import Model
from geoseg.storage.journal import Journal


class Sink(Protocol):
    """Destination of predicted pictures.

    `todo` holds the remaining pictures by name; `journal` outlives a kill; `shown` is the part that is decided of
    each.
    """

    todo: dict[str, Path]
    journal: Journal
    shown: Shown

    @property
    def settings(self) -> dict[str, Any] | None:
        """Settings of the run to be continued, or None."""

    def check(self, name: str, shape: tuple[int, int]) -> None:
        """Raise GeosegError unless a picture of this shape can be written; called before it is predicted."""

    def make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> Any:
        """Turn decided codes into what is kept; called in threads."""

    def keep(self, made: Mapping[str, Any]) -> None:
        """Take what `make` returned for pictures, by name, and record them as done."""

    def fail(self, name: str, reason: str) -> None:
        """Record that a picture failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureJob:
    """A model and the options for pictures.

    Parameters
    ----------
    card : Card
        The model's card, with the requested names and colours.
    model : Path or Model
        Model file or model.
    options : PredictOptions
        Options of the prediction.
    cutting : Cutting
        How pictures are cut into tiles.
    """

    card: Card
    model: Path | Model
    options: PredictOptions
    cutting: Cutting

    @classmethod
    def of(cls, model: Path | str | Model, options: PredictOptions) -> PictureJob:
        """Read the card and check it against the options; the weights are not read yet."""
        opened = given_model(model)
        card = options.relabelled(opened.card if isinstance(opened, Model) else read_card(opened))
        cutting = Cutting(tiling=tiling_of(card, options), image_size=card.image_size)
        return cls(card=card, model=opened, options=options, cutting=cutting)

    def load(self) -> Model:
        """Open the model and raise an error for tiles or images that it cannot take."""
        model = self.model if isinstance(self.model, Model) else Model.open(self.model, build=False)
        for edge in self.card.image_size or (self.cutting.tiling.size,):
            model.check_tile_size(edge)
        return model


@dataclass(slots=True, kw_only=True)
class PictureTotals:
    """Totals of a run over pictures."""

    settings: Settings
    done: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    shrunk: list[int] = field(default_factory=list)
    pixels: int = 0
    seconds: float = 0.0
    profile: dict[str, float] | None = None
