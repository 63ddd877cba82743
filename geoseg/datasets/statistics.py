"""What the training pixels are like, found in one pass that holds one block at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.datasets.dataset import Pair
from geoseg.errors import DataError
from geoseg.grid.window import Window

_BLOCK = 512  # px


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Numbers over the valid pixels of a split.

    Parameters
    ----------
    mean, std : tuple of float
        Per band, in the units that the files' own scale and offset give (else as stored).
    value_range : (float, float)
        Smallest and largest stored number of all bands.
    pixels : tuple of int
        Labelled valid pixels of each channel.
    fingerprint : str
        Digest of every pixel and label that was counted.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float]
    pixels: tuple[int, ...]
    fingerprint: str

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share of each channel among the labelled pixels."""
        return np.array(self.pixels) / sum(self.pixels)

    def class_weights(self, power: float) -> tuple[float, ...]:
        """Weights ``share ** -power``, scaled so that the mean labelled pixel weighs 1."""
        raw = self.shares**-power
        return tuple(float(weight) for weight in raw / (raw * self.shares).sum())


class _Moments:
    """Running mean and sum of squared distances from it, block by block (Chan, Golub and LeVeque 1979).

    Sums of squares would lose every digit where the mean is large against the spread.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add a block, (band, pixel)."""
        count = values.shape[1]
        mean = values.mean(axis=1)
        squares = ((values - mean[:, None]) ** 2).sum(axis=1)
        both = self.count + count
        apart = mean - self.mean
        self.squares += squares + apart**2 * (self.count * count / both)
        self.mean += apart * (count / both)
        self.count = both


def measure(pairs: Sequence[Pair], codes: Sequence[int]) -> Statistics:
    """Read every pixel of a split once; invalid ones do not count.

    Parameters
    ----------
    pairs : sequence of Pair
    codes : sequence of int
        Class code of each channel.

    Raises
    ------
    DataError
        If there is no valid pixel, a band is constant, or a class has no pixel.
    """
    bands = pairs[0].image.count
    moments, digest = _Moments(bands), hashlib.sha256()
    low, high = np.inf, -np.inf
    counts = np.zeros(len(codes), dtype=np.int64)
    for pair in pairs:
        digest.update(f"{pair.name} {pair.grid.shape}\n".encode())
        scale, offset = pair.image.scale or (1.0,) * bands, pair.image.offset or (0.0,) * bands
        for window in _blocks(pair.grid.shape):
            pixels, valid, mask = pair.read(window)
            digest.update(pixels.tobytes() + np.packbits(valid).tobytes() + mask.astype(np.int16).tobytes())
            counts += np.bincount(mask[mask >= 0], minlength=len(codes))
            if valid.any():
                values = pixels[:, valid].astype(np.float64)
                low, high = min(low, values.min()), max(high, values.max())
                moments.add(values * np.array(scale)[:, None] + np.array(offset)[:, None])
    if not moments.count:
        raise DataError(f"the {len(pairs)} training images have no valid pixel")
    if not counts.all():
        missing = codes[int(np.argmin(counts))]
        raise DataError(
            f"no training pixel is labelled as class {missing}; leave it out or train on more images"
        )
    std = np.sqrt(moments.squares / moments.count)
    if not std.all():
        raise DataError(f"band {int(np.argmin(std)) + 1} is constant in all training images; leave it out")
    return Statistics(
        mean=tuple(map(float, moments.mean)),
        std=tuple(map(float, std)),
        value_range=(float(low), float(high)),
        pixels=tuple(map(int, counts)),
        fingerprint=digest.hexdigest(),
    )


def _blocks(shape: tuple[int, int]) -> Iterator[Window]:
    """Cut a raster into blocks that never overlap, as tiles may: no pixel counts twice."""
    height, width = shape
    for row in range(0, height, _BLOCK):
        for col in range(0, width, _BLOCK):
            yield Window(row=row, col=col, height=min(_BLOCK, height - row), width=min(_BLOCK, width - col))
