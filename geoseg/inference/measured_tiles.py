"""Tiles of scenes that ranges are measured on, as the network gets them, with labels where there are some."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.engine.network import Network
from geoseg.engine.plan import margin_of, tile_starts
from geoseg.engine.resized import resize_chip
from geoseg.engine.settings import Settings
from geoseg.engine.upload import uploaded
from geoseg.grid.window import Window
from geoseg.inference.prepare import Job
from geoseg.raster.cache import limited_cache
from geoseg.raster.chip import Chip
from geoseg.raster.labels import UNKNOWN, Codes, Labels

CPU = torch.device("cpu")
PLAIN = Settings(device="cpu", precision="fp32", batch_size=1, threads=torch.get_num_threads())
"""Tile by tile, as torch would."""
_LOOKED_AT = 8
"""Tiles that are looked at for one with data in half of its pixels."""


class MeasuredTile(NamedTuple):
    """A tile that is measured.

    Parameters
    ----------
    pixels : Tensor of float32, (1, band, row, col)
        As the network gets them.
    valid : Tensor of bool, (row, col)
    truth : ndarray of uint8 or None
        Labelled codes, as `Labels.read` returns them, where there are labels.
    """

    pixels: Tensor
    valid: Tensor
    truth: Codes | None

    @property
    def image(self) -> npt.NDArray[np.float32]:
        """As graphs take it, (1, band, row, col)."""
        image: npt.NDArray[np.float32] = self.pixels.contiguous().numpy()
        return image


def measured_tiles(
    jobs: Sequence[Job], labels: Sequence[Labels | None], network: nn.Module, count: int
) -> Iterator[MeasuredTile]:
    """Read `count` tiles of the scenes."""
    for index, (job, known) in enumerate(zip(jobs, labels, strict=True)):
        reader = Network(network, job.match.gain, job.match.bias, PLAIN)
        share = count * (index + 1) // len(jobs) - count * index // len(jobs)
        with limited_cache():
            for chip, truth in _chips(job, known, share):
                valid = uploaded(chip.valid, CPU)
                yield MeasuredTile(reader.normalised([uploaded(chip.pixels, CPU)], [valid]), valid, truth)


def _chips(job: Job, labels: Labels | None, count: int) -> Iterator[tuple[Chip, Codes | None]]:
    """Read up to `count` tiles of a scene, or the scene as the model sees it, with their labels.

    Tiles have data in half of their pixels and, where there are labels, some.
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
    size, margin = job.tiling.size, margin_of(job.tiling)
    rows, cols = tile_starts(job.grid.shape, job.tiling)
    places = range(len(rows) * len(cols))
    for place in random.Random(0).sample(places, min(len(places), _LOOKED_AT * count)):  # noqa: S311
        row, col = rows[place // len(cols)] - margin, cols[place % len(cols)] - margin
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
    """Labels of the valid pixels of a tile; None where there are none."""
    if labels is None:
        return None
    codes = labels.read(window)
    codes[..., ~chip.valid] = UNKNOWN
    return codes if (codes != UNKNOWN).any() else None
