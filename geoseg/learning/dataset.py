"""Labelled chips: windows of scenes with the network channel of every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.learning.losses import IGNORED
from geoseg.raster.source import Source

Sample = dict[str, Any]
"""``image`` (band, row, col) float32, ``mask`` (row, col) int64 (channel or IGNORED), ``valid`` (row, col)
bool, ``scene``: index of the pair. Named as torchgeo names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """From label codes to network channels.

    Parameters
    ----------
    channel_of : mapping of int to int
        Channel of each label code; IGNORED for codes that mean "unknown".
    """

    channel_of: Mapping[int, int]

    @classmethod
    def of(cls, label_codes: Mapping[int, Sequence[int]], ignore: Sequence[int]) -> Channels:
        """Give the classes channels in ascending order of their codes, as a legend does.

        Parameters
        ----------
        label_codes : mapping
            Label codes of each class code.
        ignore : sequence of int
            Label codes that mean "unknown".
        """
        known = {label: i for i, code in enumerate(sorted(label_codes)) for label in label_codes[code]}
        return cls(channel_of={**known, **dict.fromkeys(ignore, IGNORED)})

    @property
    def count(self) -> int:
        """Number of channels."""
        return max(self.channel_of.values()) + 1

    def of_codes(self, codes: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Translate label codes; IGNORED where not `known`.

        Parameters
        ----------
        codes : (row, col) integer array
        known : (row, col) bool
            Where the label raster has data.

        Raises
        ------
        DataError
            If a known code is neither a class nor ignored.
        """
        labels = np.array(sorted(self.channel_of), dtype=np.int64)
        at = np.searchsorted(labels, codes).clip(max=len(labels) - 1)
        strange = (labels[at] != codes) & known
        if strange.any():
            found = ", ".join(map(str, np.unique(codes[strange])[:5]))
            raise DataError(
                f"holds label codes {found}, expected {', '.join(map(str, labels))}; "
                "name them in data.classes or data.ignore"
            )
        channels = np.array([self.channel_of[int(label)] for label in labels], dtype=np.int64)
        return np.where(known, channels[at], IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An image and its labels on one grid.

    Parameters
    ----------
    name : str
        Stem of the image's file.
    image, labels : Source
        The image's bands in the card's order; one band of label codes.
    gain, bias : tuple of float
        Per band: network input = stored * gain + bias.
    channels : Channels
    """

    name: str
    image: Source
    labels: Source
    channels: Channels
    gain: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()

    @property
    def grid(self) -> Grid:
        """Grid of both."""
        return self.image.grid

    def read(self, window: Window) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Read stored numbers (band, row, col), valid (row, col) and channels (row, col).

        Pixels that are padding, invalid or unlabelled are IGNORED in the channels.

        Raises
        ------
        DataError, SceneError
            Naming the file.
        """
        chip = self.image.read(window)
        coded = self.labels.read(window)
        try:
            mask = self.channels.of_codes(coded.pixels[0], coded.valid)
        except DataError as error:
            raise DataError(f"labels of {self.name}: {error}") from error
        inside = np.zeros(window.shape, dtype=bool)
        part = window.within(self.grid.shape)
        if part is not None:
            inside[part.shifted(-window.row, -window.col).slices] = True
        return chip.pixels, chip.valid, np.where(chip.valid & inside, mask, IGNORED)

    def sample(self, window: Window, index: int = 0) -> Sample:
        """Read a window as the network takes it: normalised, invalid pixels 0."""
        pixels, valid, mask = self.read(window)
        image = pixels.astype(np.float32)
        image *= np.asarray(self.gain, dtype=np.float32)[:, None, None]
        image += np.asarray(self.bias, dtype=np.float32)[:, None, None]
        image[:, ~valid] = 0
        return {
            "image": torch.from_numpy(image),
            "mask": torch.from_numpy(mask),
            "valid": torch.from_numpy(np.ascontiguousarray(valid)),
            "scene": index,
        }


class Chips(Dataset[Sample]):
    """Labelled chips by (index of the pair, window), as the samplers of this package name them."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def __getitem__(self, place: tuple[int, Window]) -> Sample:
        """Read one chip."""
        index, window = place
        return self._pairs[index].sample(window, index)
