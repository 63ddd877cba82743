"""Statistics of the training pixels, computed in one pass over blocks."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.datasets.class_index import Cells, ClassIndex, kinds_of
from geoseg.datasets.dataset import Channels, Pair
from geoseg.errors import DataError, plural
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.models.scaling import Scaling, scalings_of

_BLOCK = 512
"""Edge in px of the blocks that are read, larger if the file's own blocks are."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of the valid pixels of a split.

    Parameters
    ----------
    mean, std : tuple of float
        Per band, in the units given by the files' scale and offset tags (else as stored).
    scaling : Scaling
        Scale and offset of the first image, for the card: from stored values to those units.
    value_range : (float, float)
        Smallest and largest value of all bands, as the first image would store it.
    pixels : tuple of int
        Labelled valid pixels of each channel; for a binary task those of 0 and of 1; for a multilabel task, whose
        classes overlap, those on which each class is present.
    fingerprint : str
        Digest of all pixels and labels.
    index : ClassIndex
        Index of the labelled pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scaling: Scaling
    value_range: tuple[float, float]
    pixels: tuple[int, ...]
    fingerprint: str
    index: ClassIndex

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share of each number of `pixels` in their sum."""
        return np.array(self.pixels) / sum(self.pixels)

    def class_weights(self, power: float) -> tuple[float, ...]:
        """Return weights ``share ** -power``, scaled so that the mean labelled pixel weighs 1."""
        raw = np.zeros(len(self.pixels))
        np.power(self.shares, -power, out=raw, where=self.shares > 0)  # of folds, some may lack a class
        return tuple(float(weight) for weight in raw / (raw * self.shares).sum())


class Moments:
    """Running mean and sum of squared deviations, updated block by block (Chan, Golub and LeVeque 1979).

    Sums of squares would lose all precision if the mean is large compared with the standard deviation.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add a block, (band, pixel)."""
        mean = values.mean(axis=1)
        self._join(values.shape[1], mean, ((values - mean[:, None]) ** 2).sum(axis=1))

    def merge(self, other: Moments) -> None:
        """Add the pixels of another one."""
        if other.count:
            self._join(other.count, other.mean, other.squares)

    def _join(self, count: int, mean: npt.NDArray[np.float64], squares: npt.NDArray[np.float64]) -> None:
        both = self.count + count
        apart = mean - self.mean
        self.squares += squares + apart**2 * (self.count * count / both)
        self.mean += apart * (count / both)
        self.count = both


def measure(pairs: Sequence[Pair], *, every_class: bool = True, legend: Legend | None = None) -> Statistics:
    """Read every pixel of a split once, block by block; pixels that are invalid or outside a pair's area do not
    count.

    Parameters
    ----------
    pairs : sequence of Pair
        Images and labels, at least one, all with the same channels.
    every_class : bool
        Whether a class without a pixel is an error; otherwise it is logged.
    legend : Legend, optional
        Names of the classes, for that message.

    Raises
    ------
    DataError
        If there is no valid pixel, a band is constant, a class has no pixel, or only some images carry tags of
        scale and offset.
    """
    scalings = scalings_of([pair.image for pair in pairs])
    channels = pairs[0].channels
    bands = pairs[0].image.count
    moments, digest = Moments(bands), hashlib.sha256()
    low, high = np.inf, -np.inf
    images = []
    for pair, scaling in zip(pairs, scalings, strict=True):
        digest.update(f"{pair.name} {pair.grid.shape}\n".encode())
        cells = Cells.empty(pair.grid.shape, kinds_of(channels))
        for window in _blocks(pair.grid.shape, pair.image.block_shape):
            inside = None if pair.area is None else pair.area.inside(window)
            if inside is not None and not inside.any():
                continue
            pixels, valid, mask = pair.read(window)
            valid = valid if inside is None else valid & inside
            digest.update(f"{window.row} {window.col}\n".encode())
            digest.update(pixels.tobytes() + np.packbits(valid).tobytes() + mask.astype(np.int16).tobytes())
            cells.add(window, mask)
            if valid.any():
                stored = pixels[:, valid].astype(np.float64)
                units = scaling.units(stored)
                if scaling != scalings[0]:
                    stored = scalings[0].stored(units)
                low, high = min(low, stored.min()), max(high, stored.max())
                moments.add(units)
        images.append(cells)
    index = ClassIndex(images=tuple(images))
    if not moments.count:
        raise DataError(f"no valid pixel in {plural(len(pairs), 'training image')}")
    std = np.sqrt(moments.squares / moments.count)
    try:
        counts = _checked(index, channels, legend)
    except DataError as error:
        if every_class:
            raise
        _log.warning("%s", error)
        counts = _pixels(index, channels)
    if not std.all():
        raise DataError(f"band {int(np.argmin(std)) + 1} is constant in all training images; leave it out")
    return Statistics(
        mean=tuple(map(float, moments.mean)),
        std=tuple(map(float, std)),
        scaling=scalings[0],
        value_range=(float(low), float(high)),
        pixels=counts,
        fingerprint=digest.hexdigest(),
        index=index,
    )


def _checked(index: ClassIndex, channels: Channels, legend: Legend | None) -> tuple[int, ...]:
    """Return the pixels of each value or class; raise DataError if one has none."""
    counts = _pixels(index, channels)
    if not all(counts):
        missing = int(np.argmin(counts))
        if channels.task == "binary":
            raise DataError(
                f"no training pixel is labelled as {missing}; "
                + ("train on more images" if missing else "say what is 0, or set data.labels.unlabelled to 0")
            )
        code = channels.codes[missing]
        called = "" if legend is None else f" ({legend[code].name})"
        raise DataError(
            f"no training pixel is labelled as class {code}{called}; leave it out or train on more images"
        )
    return counts


def _pixels(index: ClassIndex, channels: Channels) -> tuple[int, ...]:
    """Return the pixels of each value or class."""
    kinds = channels.kinds if channels.task != "multilabel" else channels.count
    return tuple(map(int, index.pixels[:kinds]))


def _blocks(shape: tuple[int, int], source_block: tuple[int, int]) -> Iterator[Window]:
    """Cut a raster into whole blocks of its file, so that each is decoded once and no pixel is repeated.

    A file of strips is read in full rows, with as many pixels as a square block.
    """
    height, width = shape
    cols = min(width, -(-_BLOCK // source_block[1]) * source_block[1])
    rows = max(1, _BLOCK**2 // cols) if source_block[1] >= width else _BLOCK
    rows = min(height, -(-rows // source_block[0]) * source_block[0])
    for row in range(0, height, rows):
        for col in range(0, width, cols):
            yield Window(row=row, col=col, height=min(rows, height - row), width=min(cols, width - col))
