"""Predict samples of validation images beside their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from geoseg.assessment.report.pictures import Look, Mask, differences, painted
from geoseg.datasets.dataset import IGNORED, Pair
from geoseg.engine.engine import Engine
from geoseg.engine.folded import folded
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan, tile_counts
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.engine.small_regions import without_small
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.augment import Augment
from geoseg.learning.config import Config
from geoseg.learning.metrics import Confusion
from geoseg.learning.scoring import scored_sizes
from geoseg.models.model import Model
from geoseg.progress import OnProgress, Steps

SHOWN: Final = 6
"""Samples per panel."""
_EDGES: Final = (256, 512)
"""Smallest and largest edge of a sample, px."""
_LOOKED_AT: Final = 24
"""Windows that are predicted to find the worst."""
_OF_IMAGE: Final = 8
"""Labelled windows considered per image."""
_TRIED: Final = 200
DRAWS: Final = 7
"""Augmented chips in the augmentation panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A window of a validation image as pictures (data URIs), with its scores.

    Parameters
    ----------
    name : str
        Name of the image.
    place : str
        Position of the window; empty for the whole image.
    image, label, prediction, errors : str
        Pictures as data URIs.
    mean_iou, accuracy : float or None
        Scores of the window; None if no class occurs.
    """

    name: str
    place: str
    image: str
    label: str
    prediction: str
    errors: str
    mean_iou: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """Samples from all validation images, and the worst of all windows that were predicted.

    `looked_at` is the number of windows among which the worst were chosen; if all windows are shown anyway,
    there is no second panel.
    """

    samples: tuple[Sample, ...]
    worst: tuple[Sample, ...]
    looked_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A training chip, original or augmented, and its label, as data URIs."""

    image: str
    label: str


Place = tuple[int, Window]
"""Index of an image, and a window in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Pictures of a model's predictions.

    Parameters
    ----------
    model : Model
        The model.
    pairs : sequence of Pair
        Validation images, normalised.
    colors : sequence of (int, int, int)
        Colour of each value of a mask.
    """

    model: Model
    pairs: Sequence[Pair]
    colors: Sequence[tuple[int, int, int]]

    def panels(self, scores: Mapping[str, float | None], progress: OnProgress | None = None) -> Panels:
        """Predict samples, and windows of the images with the lowest scores.

        Parameters
        ----------
        scores : mapping of str to float or None
            Scores of whole images by name; images without one come last.
        progress : callable, optional
            Called with (done, total, what) after each sample.
        """
        offered = [tuple(labelled_windows(pair, self._edge(pair))) for pair in self.pairs]
        spread = evenly(len(self.pairs), SHOWN)
        shown = list(islice(in_turn(offered, spread), SHOWN))
        ranks = {pair.name: scores.get(pair.name) for pair in self.pairs}
        order = sorted(range(len(self.pairs)), key=lambda i: _low_first(ranks[self.pairs[i].name]))
        candidates = list(islice(in_turn(offered, order[:_LOOKED_AT]), _LOOKED_AT))
        places = [*shown, *(place for place in candidates if place not in shown)]
        network, step, samples = folded(self.model.network), Steps(progress, len(places), "report"), []
        for place in places:
            samples.append(self._sample(network, *place))
            step()
        ordered = sorted(samples, key=lambda sample: _low_first(sample.mean_iou))
        if len(samples) <= SHOWN:
            return Panels(samples=tuple(ordered), worst=(), looked_at=len(samples))
        return Panels(
            samples=tuple(samples[: len(shown)]), worst=tuple(ordered[:SHOWN]), looked_at=len(samples)
        )

    def _edge(self, pair: Pair) -> int:
        """Return the edge of a sample in px; for a model of whole images, that of the image."""
        if self.model.card.image_size is not None:
            return max(pair.grid.shape)
        return min(max(self.model.card.tile.size, _EDGES[0]), _EDGES[1])

    def _sample(self, network: nn.Module, number: int, window: Window) -> Sample:
        pair = self.pairs[number]
        pixels, valid, mask = pair.read(window)
        predicted = self._predicted(network, pair, window)
        if pair.channels.task == "multilabel":
            confusion = Confusion.of_layers(mask, predicted)
        else:
            confusion = Confusion.of(mask, predicted, pair.channels.kinds)
        whole = window.shape == pair.grid.shape
        return Sample(
            name=pair.name,
            place=""
            if whole
            else f"rows {window.row}–{window.row_stop - 1}, columns {window.col}–{window.col_stop - 1}",
            image=Look.of(self.model.card, pixels, valid).photo(pixels, valid),
            label=painted(mask, self.colors),
            prediction=painted(predicted, self.colors),
            errors=differences(mask, predicted),
            mean_iou=_number(confusion.mean_iou),
            accuracy=_number(confusion.accuracy),
        )

    def _predicted(self, network: nn.Module, pair: Pair, window: Window) -> Mask:
        """Return the model's prediction in the form of a mask; IGNORED where not valid."""
        card = self.model.card
        shape, tiling = window.shape, None
        if card.image_size is None:
            tiling = Tiling(size=card.tile.size, overlap=card.tile.overlap)
        settings = Settings.choose("auto", "auto", None, tile_counts(shape, tiling))
        plan = Plan.of(shape, tiling, settings.batch_size)
        engine = Engine(
            network=Network(
                network, pair.gain, pair.bias, settings,
                temperature=card.divisor, task=card.task,
            ),
            plan=plan,
            reader=RowReader(pair.image.crop(window), plan, tolerant=False),
            # Results are then channel indices, or 0 and 1, as in masks.
            channels=(1,) if card.task == "binary" else range(len(card.channels)),
            thresholds=card.thresholds,
            image_size=card.image_size,
        )  # fmt: skip
        codes = np.concatenate([result.codes for result in engine.run() if result.strip.rows], axis=-2)
        if card.min_regions is not None and shape == pair.grid.shape:
            layers = (codes == 1).reshape(-1, *shape)
            kept = without_small(layers, scored_sizes(pair, card.min_regions)).reshape(codes.shape)
            codes = np.where(codes == NODATA, codes, kept)
        return np.where(codes == NODATA, IGNORED, codes.astype(np.int64))


def augmentation(
    pair: Pair, config: Config, model: Model, colors: Sequence[tuple[int, int, int]], *, spread: float
) -> list[Draw]:
    """Return a training chip as it is, then augmented as configured.

    Parameters
    ----------
    pair : Pair
        A training image.
    config : Config
        Configuration of the training.
    model : Model
        The trained model.
    colors : sequence of (int, int, int)
        Colours of the classes.
    spread : float
        Unit of brightness and noise (`Augment.in_units_of`).
    """
    height, width = config.chip_shape
    row, col = _richest(pair, height, width)
    window = Window(row=row, col=col, height=height, width=width)
    sample = pair.sample(window)
    augment = Augment(**config.train.augment.model_dump()).in_units_of(spread)
    batch = [sample[key][None].expand(DRAWS, *sample[key].shape) for key in ("image", "mask", "valid")]
    image, mask, there = (each.contiguous() for each in batch)
    changed = augment(image, mask, there, (config.train.seed, 0, 0))
    chips = [tuple(sample[key] for key in ("image", "mask", "valid")), *zip(*changed, strict=True)]
    stored, valid, _ = pair.read(window)
    look = Look.of(model.card, stored, valid)
    gain = torch.tensor(pair.gain).view(-1, 1, 1)
    bias = torch.tensor(pair.bias).view(-1, 1, 1)
    return [
        Draw(
            image=look.photo(((image - bias) / gain).numpy(), there.numpy()),
            label=painted(mask.numpy(), colors),
        )
        for image, mask, there in chips
    ]


def _richest(pair: Pair, height: int, width: int) -> tuple[int, int]:
    """Return the corner of a window with labels of as many classes as possible; (0, 0) for small images."""
    if pair.grid.height <= height and pair.grid.width <= width:
        return 0, 0
    found = next(iter(labelled_windows(pair, max(height, width))), None)
    return (found.row, found.col) if found else (0, 0)


def labelled_windows(pair: Pair, edge: int) -> list[Window]:
    """Return windows with labels, those with most classes first; only some windows of large images are tried."""
    tiling = Tiling(size=edge, overlap=0)
    height, width = pair.grid.shape
    places = [(row, col) for row in tiling.starts(height) for col in tiling.starts(width)]
    order = np.random.default_rng(0).permutation(len(places))
    found: list[tuple[int, int, Window]] = []
    for tried, at in enumerate(order):
        if len(found) == _OF_IMAGE or (found and tried > _TRIED):
            break
        row, col = places[at]
        window = Window(row=row, col=col, height=min(edge, height), width=min(edge, width))
        mask = pair.mask(window)
        labelled = int((mask >= 0).sum())
        if labelled:
            found.append((_kinds(mask), labelled, window))
    found.sort(key=lambda each: each[:2], reverse=True)
    return [window for _, _, window in found]


def _kinds(mask: Mask) -> int:
    """Count the classes in a mask."""
    if mask.ndim == 3:
        return int((mask > 0).any(axis=(1, 2)).sum())
    return len(np.unique(mask[mask >= 0]))


def in_turn(offered: Sequence[Sequence[Window]], order: Sequence[int]) -> Iterator[Place]:
    """Yield the first window of every image, then the second of every image, and so on."""
    for row in zip_longest(*(offered[number] for number in order)):
        yield from ((number, window) for number, window in zip(order, row, strict=True) if window is not None)


def evenly(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` evenly spaced indices below `count`."""
    return list(range(count)) if count <= wanted else [i * count // wanted for i in range(wanted)]


def _low_first(score: float | None) -> tuple[bool, float]:
    return (True, 0.0) if score is None else (False, score)


def _number(value: Any) -> float | None:
    return float(value) if value == value else None
