"""The terms of a run of pictures: what is to be predicted, where it goes, what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from geoseg.engine.cutting import Cutting, Picture
from geoseg.engine.pictures import Predicted
from geoseg.engine.settings import Settings
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import given_model, tiling_of
from geoseg.models.card import Card, read_card
from geoseg.models.model import Model
from geoseg.storage.journal import Journal


class Sink(Protocol):
    """Where pictures go. `todo` is what is left of them, by name; `journal` outlives a kill."""

    todo: dict[str, Path]
    journal: Journal

    @property
    def settings(self) -> dict[str, Any] | None:
        """Settings of the run that is to be continued."""

    def check(self, name: str, shape: tuple[int, int]) -> None:
        """Raise GeosegError unless a picture of this shape can be written; called before it is predicted."""

    def planes(self, predicted: Predicted) -> tuple[Tensor, Tensor]:
        """Return probabilities (channel, row, col) and valid (row, col) as they are to be decided."""

    def make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> Any:
        """Make of decided codes what is kept; called in threads."""

    def keep(self, made: Mapping[str, Any]) -> None:
        """Take what `make` returned for pictures, by name, and record that they are done."""

    def fail(self, name: str, reason: str) -> None:
        """Take note that there is nothing to keep of a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A model and the choices for it.

    Parameters
    ----------
    card : Card
    model : Path or Model
    options : PredictOptions
    cutting : Cutting
    """

    card: Card
    model: Path | Model
    options: PredictOptions
    cutting: Cutting

    @classmethod
    def of(cls, model: Path | str | Model, options: PredictOptions) -> Work:
        """Read the card, and check that it and the options fit each other; the weights are not read yet."""
        opened = given_model(model)
        card = options.relabelled(opened.card if isinstance(opened, Model) else read_card(opened))
        cutting = Cutting(tiling=tiling_of(card, options), image_size=card.image_size)
        return cls(card=card, model=opened, options=options, cutting=cutting)

    def load(self) -> Model:
        """Open the model and refuse tiles or images that it cannot take."""
        model = self.model if isinstance(self.model, Model) else Model.open(self.model, build=False)
        for edge in self.card.image_size or (self.cutting.tiling.size,):
            model.check_tile_size(edge)
        return model


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run came to."""

    settings: Settings
    done: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    shrunk: list[int] = field(default_factory=list)
    pixels: int = 0
    seconds: float = 0.0
    profile: dict[str, float] | None = None
