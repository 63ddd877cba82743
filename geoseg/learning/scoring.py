"""Score a network on whole images, with the engine that predicts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.datasets.dataset import IGNORED, Channels, Pair
from geoseg.engine.engine import Engine
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan, tile_counts
from geoseg.engine.resized import ResizedSource
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.engine.small_regions import without_small
from geoseg.engine.strip_work import StripResult
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.losses import Loss
from geoseg.learning.metrics import Confusion, ImageMeans
from geoseg.models.card import Card

_CLOSEST = 1e-7
"""Probabilities are clamped to this distance from 0 and 1, so that their logits are finite in float32."""
_PIECE = 2**22
"""Labels per piece of the loss, which takes about ten numbers for each of them and every channel."""
_READ = 2**20
"""Labels that are read at once."""

Mask = npt.NDArray[np.int16]
"""A mask of `Pair` as int16, which takes a quarter of the memory."""
OnStrip = Callable[[StripResult, Mask], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Scores images in the same way as they will be predicted.

    Parameters
    ----------
    tiling : Tiling
        Tile size and overlap.
    device, precision : str
        Device and precision, as for `Settings.choose`.
    loss : Loss, optional
        Loss that is also computed, on the stitched probabilities.
    image_size : tuple of int, optional
        (rows, cols) of the network's input if it takes whole images instead of tiles.
    thresholds : tuple of float, optional
        As the card has them.
    min_regions : tuple of int, optional
        Minimum region sizes, as in the card. An image's classes are then held in memory, one byte per pixel and
        class, and every valid pixel is computed, since the size of a region includes its unlabelled pixels.
    temperature : float, or tuple of float
        Divides the logits, as in the card.
    """

    tiling: Tiling
    device: str = "auto"
    precision: str = "auto"
    loss: Loss | None = None
    image_size: tuple[int, int] | None = None
    thresholds: tuple[float, ...] | None = None
    min_regions: tuple[int, ...] | None = None
    temperature: float | tuple[float, ...] = 1.0

    def deciding_as(self, card: Card) -> Scorer:
        """Return the scorer with the temperature, thresholds and minimum region sizes of a card."""
        return replace(
            self, thresholds=card.thresholds, min_regions=card.min_regions, temperature=card.divisor
        )

    def image(self, network: nn.Module, pair: Pair, also: OnStrip | None = None) -> Score:
        """Count the pixels of one image, strip by strip, exactly as `predict` would classify them.

        Tiles without labelled pixels are not computed.

        Parameters
        ----------
        network : nn.Module
            The network.
        pair : Pair
            Image and labels.
        also : callable, optional
            Called with each strip, which carries probabilities, and its mask.
        """
        regions = self.min_regions is not None and any(self.min_regions)
        confusion = Score.nothing(pair.channels).confusion
        summed, counted, kept = 0.0, 0, []
        for result, mask in self.strips(network, pair, everywhere=regions, probabilities=also is not None):
            if also is not None:
                also(result, mask)
            loss, pixels = self._loss(result.probabilities, mask)
            summed, counted = summed + loss, counted + pixels
            if regions:
                kept.append((result.codes == 1, mask.astype(np.int8)))
            else:
                confusion += _count(mask, result.codes, pair.channels)
        if kept:
            present, masks = (np.concatenate(parts, axis=-2) for parts in zip(*kept, strict=True))
            layers = present.reshape(-1, *present.shape[-2:])
            left = without_small(layers, scored_sizes(pair, self.min_regions or ())).reshape(present.shape)
            confusion = _count(masks, left.astype(np.uint8), pair.channels)
        return Score(confusion=confusion, image_means=ImageMeans.of(confusion), losses=(summed, counted))

    def strips(
        self, network: nn.Module, pair: Pair, *, everywhere: bool = False, probabilities: bool = False
    ) -> Iterator[tuple[StripResult, Mask]]:
        """Run the network over an image.

        Parameters
        ----------
        network : nn.Module
            The network.
        pair : Pair
            Image and labels.
        everywhere : bool
            Whether valid pixels without a label are also computed.
        probabilities : bool
            Whether results carry probabilities; with a loss they always do.

        Yields
        ------
        result : StripResult
            Result whose codes are channel indices, or 0 and 1, as in masks.
        mask : int16, (rows, width) or (class, rows, width)
            Labels, IGNORED where there is no result.
        """
        settings, plan = self._plan(pair.grid.shape)
        truth = _Truth(pair)
        engine = Engine(
            network=Network(network, pair.gain, pair.bias, settings, self.temperature, pair.channels.task),
            plan=plan,
            reader=RowReader(pair.image, plan, tolerant=False),
            channels=(1,) if pair.channels.task == "binary" else range(pair.channels.count),
            thresholds=self.thresholds,
            clip=None if everywhere else truth.counted,
            keep_probabilities=probabilities or self.loss is not None,
            image_size=self.image_size,
        )
        for result in engine.run():
            if result.strip.rows:
                mask = truth.rows(result.strip.rows.start, result.strip.rows.stop)
                np.copyto(mask, IGNORED, where=result.codes == NODATA)
                yield result, mask

    def _plan(self, shape: tuple[int, int]) -> tuple[Settings, Plan]:
        """Choose batches and strips for an image."""
        tiling = self.tiling if self.image_size is None else None
        settings = Settings.choose(self.device, self.precision, None, tile_counts(shape, tiling))
        return settings, Plan.of(shape, tiling, settings.batch_size)

    def _loss(self, probabilities: Tensor | None, mask: Mask) -> tuple[float, int]:
        """Return the loss of a strip times its labelled pixels, and their number; in pieces if it is large."""
        if self.loss is None or probabilities is None:
            return 0.0, 0
        counts = (mask >= 0).reshape(-1, mask.shape[-1]).sum(axis=0)
        found = np.flatnonzero(counts)
        if not len(found):
            return 0.0, 0
        width, summed = max(1, _PIECE // mask[..., 0].size), 0.0
        for first in range(int(found[0]), int(found[-1]) + 1, width):
            cols = slice(first, min(first + width, int(found[-1]) + 1))
            counted = int(counts[cols].sum())
            if counted:
                summed += counted * self._mean_loss(self.loss, probabilities[..., cols], mask[..., cols])
        return summed, int(counts.sum())

    @staticmethod
    def _mean_loss(loss: Loss, probabilities: Tensor, mask: Mask) -> float:
        sure = probabilities.clamp(_CLOSEST, 1 - _CLOSEST)
        logits = sure.log() if loss.task == "multiclass" else torch.logit(sure)
        target = torch.from_numpy(mask.astype(np.int64)).to(logits.device)
        return float(loss(logits.unsqueeze(0), target.unsqueeze(0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Counts and losses of scored images; scores of parts add up.

    Parameters
    ----------
    confusion : Confusion
        Pixels of all images.
    image_means : ImageMeans
        Scores of each image by itself.
    losses : (float, int)
        Sum over all strips of loss times labelled pixels, and the number of labelled pixels.
    """

    confusion: Confusion
    image_means: ImageMeans
    losses: tuple[float, int] = (0.0, 0)

    @classmethod
    def nothing(cls, channels: Channels) -> Score:
        """Return the score of no images."""
        if channels.task == "multilabel":
            confusion = Confusion(np.zeros((channels.count, 2, 2), dtype=np.int64))
        else:
            confusion = Confusion.empty(channels.kinds)
        return cls(confusion=confusion, image_means=ImageMeans.of(confusion))

    @property
    def loss(self) -> float:
        """Mean loss; NaN if none was computed."""
        total, counted = self.losses
        return total / counted if counted else math.nan

    def __add__(self, other: Score) -> Score:
        """Add the scores of other images."""
        losses = (self.losses[0] + other.losses[0], self.losses[1] + other.losses[1])
        return Score(
            confusion=self.confusion + other.confusion,
            image_means=self.image_means + other.image_means,
            losses=losses,
        )

    def added_by(self, add: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Score:
        """Return the sum of the scores of all processes.

        Parameters
        ----------
        add : callable
            Returns the sum of the arrays with which all processes call it.
        """
        means = self.image_means
        summed, counted = add(np.array(self.losses, dtype=np.float64))
        return Score(
            confusion=Confusion(add(self.confusion.counts)),
            image_means=ImageMeans(
                sums=add(means.sums), images=add(means.images), accuracies=add(means.accuracies)
            ),
            losses=(float(summed), int(counted)),
        )


def scored_sizes(pair: Pair, sizes: Iterable[int]) -> tuple[int, ...]:
    """Convert px of an image's own grid to px of the image as scored, which may be resized; rounded up."""
    image = pair.image
    if not isinstance(image, ResizedSource):
        return tuple(sizes)
    own, scored = (grid.height * grid.width for grid in (image.source.grid, image.grid))
    return tuple(-(-size * scored // own) for size in sizes)


class _Truth:
    """Masks of an image by rows; rows that the engine requests are kept until their result arrives."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._kept: list[tuple[int, Mask]] = []

    def counted(self, first: int, stop: int) -> npt.NDArray[np.bool_]:
        """Return whether a pixel has a label in any class, (rows, width)."""
        mask = self._read(first, stop)
        # The engine reads one strip ahead of the one that it computes.
        self._kept = [*self._kept[-2:], (first, mask)]
        counted = mask >= 0
        return np.asarray(counted.any(axis=0)) if counted.ndim == 3 else counted

    def rows(self, first: int, stop: int) -> Mask:
        """Return a copy of the mask of rows."""
        for start, mask in self._kept:
            if start <= first and stop <= start + mask.shape[-2]:
                return mask[..., first - start : stop - start, :].copy()
        return self._read(first, stop)

    def _read(self, first: int, stop: int) -> Mask:
        """Read the mask in pieces, since it is int64 while it is read."""
        shape = (stop - first, self._pair.grid.width)
        width = max(1, _READ // shape[0])
        parts = []
        for col in range(0, shape[1], width):
            window = Window(row=first, col=col, height=shape[0], width=min(width, shape[1] - col))
            parts.append(self._pair.mask(window).astype(np.int16))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _count(
    mask: npt.NDArray[np.signedinteger], codes: npt.NDArray[np.uint8], channels: Channels
) -> Confusion:
    """Count the pixels of a strip, whose codes are channel indices, or 0 and 1."""
    predicted: npt.NDArray[Any] = codes
    if channels.task == "multilabel":
        return Confusion.of_layers(mask, predicted)
    return Confusion.of(mask, predicted, channels.kinds)
