"""Scores of a network on whole images, by the engine that predicts them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.datasets.dataset import IGNORED, Channels, Pair
from geoseg.engine.bands import Engine
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.losses import Loss
from geoseg.learning.metrics import Confusion

_CLOSEST = 1e-7
"""Probabilities nearer to 0 or 1 than this have no float32 logit worth the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """How images are scored: as they will be predicted.

    Parameters
    ----------
    tiling : Tiling
    device, precision : str
        As `Settings.choose` takes them.
    loss : Loss, optional
        Also computed, on the stitched probabilities.
    image_size : tuple of int, optional
        (rows, cols) of images that the network sees whole, in place of tiles.
    """

    tiling: Tiling
    device: str = "auto"
    precision: str = "auto"
    loss: Loss | None = None
    image_size: tuple[int, int] | None = None

    def image(self, network: nn.Module, pair: Pair) -> Score:
        """Count the pixels of one image, band by band, just as `predict` would classify them.

        Tiles without a pixel that counts are not computed.
        """
        settings, plan = self._plan(pair.grid.shape)
        truth = _Truth(pair)
        engine = Engine(
            network=Network(network, pair.gain, pair.bias, settings, task=pair.channels.task),
            plan=plan,
            reader=RowReader(pair.image, plan, tolerant=False),
            # Results are channels then, or 0 and 1, as masks have them.
            channels=(1,) if pair.channels.task == "binary" else range(pair.channels.count),
            clip=truth.counted,
            keep_probabilities=self.loss is not None,
            image_size=self.image_size,
        )
        total = Score.nothing(pair.channels)
        for result in engine.run():
            if result.band.rows:
                mask = truth.rows(result.band.rows.start, result.band.rows.stop)
                mask[np.broadcast_to(result.codes == NODATA, mask.shape)] = IGNORED
                loss = self._loss(result.probabilities, mask)
                total += Score(confusion=_count(mask, result.codes, pair.channels), losses=loss)
        return total

    def _plan(self, shape: tuple[int, int]) -> tuple[Settings, Plan]:
        """Settle batches and bands of an image."""
        if self.image_size is not None:
            return Settings.choose(self.device, self.precision, 1, (1, 1)), Plan.whole(shape)
        rows, cols = tile_starts(shape, self.tiling)
        settings = Settings.choose(self.device, self.precision, None, (len(rows), len(cols)))
        return settings, Plan.of(shape, self.tiling, settings.batch_size)

    def images(self, network: nn.Module, pairs: Iterable[Pair]) -> Score:
        """Count the pixels of at least one image."""
        first, *others = (self.image(network, pair) for pair in pairs)
        return sum(others, start=first)

    def _loss(self, probabilities: Tensor | None, mask: npt.NDArray[np.int64]) -> tuple[float, int]:
        """Loss of a band times its pixels that count, and their number."""
        counted = int((mask >= 0).sum())
        if self.loss is None or probabilities is None or not counted:
            return 0.0, 0
        sure = probabilities.clamp(_CLOSEST, 1 - _CLOSEST)
        logits = sure.log() if self.loss.task == "multiclass" else torch.logit(sure)
        target = torch.from_numpy(mask).to(logits.device)
        value = float(self.loss(logits.unsqueeze(0), target.unsqueeze(0)))
        return value * counted, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What scoring came to; scores of parts add up.

    Parameters
    ----------
    confusion : Confusion
    losses : (float, int)
        Sum over the bands of the images of their loss times their pixels that count, and the number of these.
    """

    confusion: Confusion
    losses: tuple[float, int] = (0.0, 0)

    @classmethod
    def nothing(cls, channels: Channels) -> Score:
        """Start with no pixel."""
        if channels.task == "multilabel":
            return cls(confusion=Confusion(np.zeros((channels.count, 2, 2), dtype=np.int64)))
        return cls(confusion=Confusion.empty(channels.kinds))

    @property
    def loss(self) -> float:
        """Mean loss; NaN where none was computed."""
        total, counted = self.losses
        return total / counted if counted else math.nan

    def __add__(self, other: Score) -> Score:
        """Add the pixels of another part."""
        losses = (self.losses[0] + other.losses[0], self.losses[1] + other.losses[1])
        return Score(confusion=self.confusion + other.confusion, losses=losses)


class _Truth:
    """Masks of an image by rows; what the engine asks about a band is kept until its result comes."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._kept: list[tuple[int, npt.NDArray[np.int64]]] = []

    def counted(self, first: int, stop: int) -> npt.NDArray[np.bool_]:
        """(rows, width): whether a pixel counts, in any class."""
        mask = self._read(first, stop)
        # The engine reads one band ahead of the one it works on.
        self._kept = [*self._kept[-2:], (first, mask)]
        counted = mask >= 0
        return np.asarray(counted.any(axis=0)) if counted.ndim == 3 else counted

    def rows(self, first: int, stop: int) -> npt.NDArray[np.int64]:
        """Mask of rows, to be changed at will."""
        for start, mask in self._kept:
            if start <= first and stop <= start + mask.shape[-2]:
                return mask[..., first - start : stop - start, :].copy()
        return self._read(first, stop)

    def _read(self, first: int, stop: int) -> npt.NDArray[np.int64]:
        return self._pair.mask(Window(row=first, col=0, height=stop - first, width=self._pair.grid.width))


def _count(mask: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8], channels: Channels) -> Confusion:
    """Count a band; codes are channels here, or 0 and 1."""
    predicted: npt.NDArray[Any] = codes
    if channels.task == "multilabel":
        return Confusion.of_layers(mask, predicted)
    return Confusion.of(mask, predicted, channels.kinds)
