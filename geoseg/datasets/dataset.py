"""Labelled chips: windows of images with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Task
from geoseg.grid.window import Window
from geoseg.labels.label import Codes, Labels, translated
from geoseg.raster.source import Source

IGNORED: Final = -100
"""Mask value of pixels that never count: unlabelled, ignored, invalid, padding, or in another split."""

_SIGNED: Final = 127

Sample = dict[str, Any]
"""``image`` (band, row, col) float32; ``mask`` int64: (row, col) channel, of a binary task 0 or 1, of a
multilabel one (channel, row, col) 0 or 1, IGNORED where nothing counts; ``valid`` (row, col) bool; ``scene``:
index of the pair. Named as torchgeo names them."""


class Area(Protocol):
    """The part of an image that belongs to a split."""

    def inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return whether each pixel of a window belongs to it, (row, col)."""

    def with_unlabelled(self) -> Area:
        """Return the area with what has no label and so belongs to no split, as far from other splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Mapping of legend codes to the channels of a network.

    Parameters
    ----------
    codes : tuple of int
        Legend code of each network channel, ascending.
    task : str
        ``multiclass``, ``binary`` or ``multilabel``.
    """

    codes: tuple[int, ...]
    task: Task = "multiclass"

    @property
    def count(self) -> int:
        """Number of network channels."""
        return len(self.codes)

    @property
    def kinds(self) -> int:
        """Number of mask values besides IGNORED: one per channel, or 0 and 1."""
        return self.count if self.task == "multiclass" else 2

    def mask(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Convert codes, as returned by `Labels.read`, to a mask of the same shape."""
        table = np.full(256, IGNORED, dtype=np.int64)
        if self.task == "multiclass":
            table[list(self.codes)] = np.arange(self.count)
        else:
            table[:2] = 0, 1
        if self.count > _SIGNED:
            return table.take(codes)
        # IGNORED and the channel indices fit in a signed byte, which converts to int64 with its sign.
        return translated(codes, table.astype(np.int8).view(np.uint8)).view(np.int8).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An image and its labels.

    Parameters
    ----------
    name : str
        Key of the image.
    image : Source
        The image's bands in the card's order.
    labels : Labels
        Labels on the image's grid; with one layer per class only for a multilabel task.
    channels : Channels
        Classes and task.
    area : Area, optional
        Pixels that belong to the split; all by default.
    gain, bias : tuple of float
        Per band: network input = stored * gain + bias.
    """

    name: str
    image: Source
    labels: Labels
    channels: Channels
    area: Area | None = None
    gain: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()

    @property
    def grid(self) -> Grid:
        """Grid of image and labels."""
        return self.image.grid

    def mask(self, window: Window) -> npt.NDArray[np.int64]:
        """Read only the mask; IGNORED in padding, without label, or in another split.

        Raises
        ------
        DataError, SceneError
            Naming the file.
        """
        mask = self.channels.mask(self.labels.read(window))
        if self.area is not None:
            # An index array would be eight times as large as the mask.
            np.copyto(mask, IGNORED, where=~self.area.inside(window))
        return mask

    def read(self, window: Window) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Read stored values (band, row, col), valid (row, col) and the mask, which is also IGNORED where not
        valid.

        Raises
        ------
        DataError, SceneError
            Naming the file.
        """
        chip = self.image.read(window)
        mask = self.mask(window)
        if not chip.valid.all():
            np.copyto(mask, IGNORED, where=~chip.valid)
        return chip.pixels, chip.valid, mask

    def sample(self, window: Window, index: int = 0) -> Sample:
        """Read a window as network input: normalised, invalid pixels 0."""
        pixels, valid, mask = self.read(window)
        image = np.empty(pixels.shape, dtype=np.float32)
        # Band by band, so that gain and bias are scalars, which is faster than broadcasting.
        with np.errstate(over="ignore"):  # no-data values such as -3.4e38 may overflow
            for band, stored, gain, bias in zip(image, pixels, self.gain, self.bias, strict=True):
                np.multiply(stored, np.float32(gain), out=band, dtype=np.float32)
                band += np.float32(bias)
        if not valid.all():
            image[:, ~valid] = 0
        return {
            "image": torch.from_numpy(image),
            "mask": torch.from_numpy(mask),
            "valid": torch.from_numpy(np.ascontiguousarray(valid)),
            "scene": index,
        }


class Chips(Dataset[Sample]):
    """Labelled chips by (index of the pair, window), as yielded by the samplers of this package."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def __getitem__(self, place: tuple[int, Window]) -> Sample:
        """Read one chip."""
        index, window = place
        return self._pairs[index].sample(window, index)
