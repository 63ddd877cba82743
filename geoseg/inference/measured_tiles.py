"""Tiles of scenes as network input, on which int8 measures value ranges and, with labels, the loss of mean IoU."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.datasets.dataset import Channels
from geoseg.engine.network import Network
from geoseg.engine.resized import resize_chip
from geoseg.engine.settings import Settings
from geoseg.engine.upload import uploaded
from geoseg.errors import OptionError, plural
from geoseg.grid.window import Window
from geoseg.inference.prepare import Job
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.label import UNKNOWN, Codes, Expected, Labels, LabelValue, Meanings
from geoseg.labels.resized_labels import ResizedLabels
from geoseg.learning.metrics import Confusion
from geoseg.models.card import Card
from geoseg.raster.cache import limited_cache
from geoseg.raster.chip import Chip

CPU = torch.device("cpu")
PLAIN = Settings(device="cpu", precision="fp32", batch_size=1, threads=torch.get_num_threads())
"""Settings for computing tile by tile in fp32, as torch would."""
_LOOKED_AT = 8
"""Tiles read in search of one with valid data in half of its pixels."""

MAX_DROP: Final = 0.01
"""How much lower the mean IoU may be in int8 by default."""


class MeasuredTile(NamedTuple):
    """A tile used for measurements.

    Parameters
    ----------
    pixels : Tensor of float32, (1, band, row, col)
        Network input.
    valid : Tensor of bool, (row, col)
        Valid pixels.
    truth : ndarray of uint8 or None
        Labelled codes, as `Labels.read` returns them, if there are labels.
    """

    pixels: Tensor
    valid: Tensor
    truth: Codes | None

    @property
    def image(self) -> npt.NDArray[np.float32]:
        """The network input as graphs take it, (1, band, row, col)."""
        image: npt.NDArray[np.float32] = self.pixels.contiguous().numpy()
        return image


def measured_tiles(
    jobs: Sequence[Job], labels: Sequence[Labels | None], network: nn.Module, count: int
) -> Iterator[MeasuredTile]:
    """Yield `count` tiles of the scenes."""
    for index, (job, known) in enumerate(zip(jobs, labels, strict=True)):
        reader = Network(network, job.match.gain, job.match.bias, PLAIN)
        share = count * (index + 1) // len(jobs) - count * index // len(jobs)
        with limited_cache():
            for chip, truth in _chips(job, known, share):
                valid = uploaded(chip.valid, CPU)
                yield MeasuredTile(reader.normalised([uploaded(chip.pixels, CPU)], [valid]), valid, truth)


def _chips(job: Job, labels: Labels | None, count: int) -> Iterator[tuple[Chip, Codes | None]]:
    """Yield up to `count` tiles of a scene, or the resized scene, with their labels.

    Tiles have valid data in half of their pixels and, if there are labels, some labelled pixels.
    """
    if not count:
        return
    if job.card.image_size is not None:
        height, width = job.grid.shape
        whole = job.source.read(Window(row=0, col=0, height=height, width=width))
        chip = resize_chip(whole, job.card.image_size)
        truth = _truth(
            labels, Window(row=0, col=0, height=chip.valid.shape[0], width=chip.valid.shape[1]), chip
        )
        if labels is None or truth is not None:
            yield chip, truth
        return
    size = job.tiling.size
    rows, cols = (job.tiling.framed(edge) for edge in job.grid.shape)
    places = range(len(rows) * len(cols))
    for place in random.Random(0).sample(places, min(len(places), _LOOKED_AT * count)):  # noqa: S311
        row, col = rows[place // len(cols)], cols[place % len(cols)]
        window = Window(row=row, col=col, height=size, width=size)
        chip = job.source.read(window)
        if chip.valid.mean() < 0.5:
            continue
        truth = _truth(labels, window, chip)
        if labels is None or truth is not None:
            yield chip, truth
            count -= 1
            if not count:
                return


def _truth(labels: Labels | None, window: Window, chip: Chip) -> Codes | None:
    """Return the labels of the valid pixels of a tile, or None."""
    if labels is None:
        return None
    codes = labels.read(window)
    codes[..., ~chip.valid] = UNKNOWN
    return codes if (codes != UNKNOWN).any() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCheck:
    """Labels that measure the loss of accuracy by int8, and the largest accepted loss.

    Parameters
    ----------
    labels : sequence of path
        One raster for each scene, in their order: the model's class codes on any grid in the scene's CRS; of a
        multilabel model also a band of 0 and 1 for each class. No data means unlabelled.
    max_drop : float
        Largest accepted drop of the mean IoU from fp32 to int8, 0 to 1.
    """

    labels: Sequence[PathLike[str] | str]
    max_drop: float = MAX_DROP

    def check(self, scenes: int) -> None:
        """Raise OptionError if the number of labels is not that of the scenes, or `max_drop` is not from 0 to 1.

        Raises
        ------
        OptionError
        """
        if len(self.labels) != scenes:
            raise OptionError(
                f"labels are {plural(len(self.labels), 'file')} for {plural(scenes, 'scene')}, expected one for "
                "each scene, in their order"
            )
        if not 0 <= self.max_drop <= 1:
            raise OptionError(f"the mean IoU may drop by {self.max_drop:g}, expected 0 to 1")

    def opened(self, jobs: Sequence[Job]) -> list[Labels]:
        """Open the labels of scenes on the grids that the model sees.

        Raises
        ------
        DataError
            If labels cannot be read or do not overlap their scene.
        """
        return [_opened(job, path) for job, path in zip(jobs, self.labels, strict=True)]

    def allowed(self, found: float, before: float) -> float:
        """Return a mean IoU, or raise OptionError if it is too far below the one in fp32.

        Raises
        ------
        OptionError
        """
        if before - found > self.max_drop:
            raise OptionError(
                f"int8 has a mean IoU of {found:.4f} instead of {before:.4f}, however many layers stay in fp32, "
                f"and may lose {self.max_drop:g}; measure on more or other scenes, allow a larger loss, or choose bf16"
            )
        return found


def _opened(job: Job, path: PathLike[str] | str) -> Labels:
    """Open the labels of a scene."""
    card = job.card
    codes = card.classes.codes
    ignored = {UNKNOWN} if card.ignore_code is None else {UNKNOWN, card.ignore_code}
    code_of: dict[LabelValue, int] = dict.fromkeys(ignored, UNKNOWN)
    code_of.update((code, code) for code in codes)
    meanings = Meanings(
        codes=codes,
        code_of=code_of,
        remedy="labels have the codes of the model's classes, as geoseg info tells them",
        expected=Expected(
            whose="the model",
            names=dict(zip(card.classes.codes, card.classes.names, strict=True)),
            remedy="write it anew with the codes of the model (docs/legends.md says how)",
        ),
    )
    labels = CodedLabels.open(path, job.grid, meanings, layered=card.task == "multilabel")
    if card.image_size is None:
        return labels
    return ResizedLabels(labels=labels, stored=job.grid.shape, shape=card.image_size)


def counted(truth: Codes, found: Codes, card: Card) -> Confusion:
    """Count the labelled pixels of a tile.

    Parameters
    ----------
    truth, found : ndarray of uint8, (row, col), or (class, row, col) of a multilabel task
        Class codes of the labels and of the map.
    card : Card
        The model's card.
    """
    channels = Channels(codes=card.classes.codes, task=card.task)
    reference, predicted = channels.mask(truth), channels.mask(found)
    if card.task == "multilabel":
        return Confusion.of_layers(reference, predicted)
    return Confusion.of(reference, predicted, channels.kinds)
