"""What is seen of one image and its labels while `inspect` reads them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.evaluation.objects import Regions
from geoseg.assessment.evaluation.reference import IGNORED
from geoseg.assessment.training_data.shift import EdgeMatch, Shift
from geoseg.assessment.training_data.tally import BandTally, Histogram
from geoseg.datasets.dataset import Pair
from geoseg.grid.window import Window
from geoseg.labels.label import Codes
from geoseg.raster.chip import Chip

Ints = npt.NDArray[np.int64]
Sizes = tuple[Ints, Ints]
"""Different sizes of objects, px, ascending, and how many objects have each."""
_ROWS: Final = 64
"""Rows in which objects are looked for at once."""
_NOTHING: Final = np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class Pooled:
    """What is known of all images together; images add to it one after the other.

    Parameters
    ----------
    bands : list of BandTally
        Values of each band.
    sizes : list of (ndarray, ndarray)
        Sizes of the objects of each class.
    edges : EdgeMatch
        Edges of labels and images.
    lock : Lock
        Held by the image that adds to it.
    """

    bands: list[BandTally]
    sizes: list[Sizes]
    edges: EdgeMatch = field(default_factory=EdgeMatch)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, bands: int, kinds: int) -> Pooled:
        """Begin with nothing."""
        return cls(
            bands=[BandTally() for _ in range(bands)], sizes=[(_NOTHING, _NOTHING) for _ in range(kinds)]
        )

    def finish(self, watches: Iterable[ImageWatch]) -> None:
        """Add what depends, in its last bits, on the order of the images."""
        for watch in watches:
            for tally, own in zip(self.bands, watch.bands, strict=True):
                tally.merge(own)


class ImageWatch:
    """Counts what an image and its labels hold; see `Watcher`.

    Parameters
    ----------
    pair : Pair
        Image and labels.
    kinds : int
        Number of classes.
    pooled : Pooled
        Where its values and objects are added at the end.
    done : callable
        Called at the end.

    Attributes
    ----------
    pixels, valid, known : int
        Pixels, valid ones, and those of them with a label, that were read.
    labelled : (class,) int64
        Valid pixels of each class.
    invalid : (class,) int64
        Pixels of each class that are not valid in the image.
    bands : list of BandTally
        Values of the bands; without a histogram after the end.
    objects : (class,) int64
        Objects of each class.
    shift : Shift or None
        Where its labels would fit better.
    digest : str
        Equal for images of equal pixels.
    """

    def __init__(self, pair: Pair, kinds: int, pooled: Pooled, done: Callable[[], None]) -> None:
        self._pair, self._pooled, self._done = pair, pooled, done
        self._layered = pair.labels.layered
        self._regions = [Regions() for _ in range(kinds if self._layered else 1)]
        self._strip: npt.NDArray[np.int16] | None = None
        self._edges = EdgeMatch()
        self._digest = hashlib.sha256(repr((pair.grid.shape, pair.image.count)).encode())
        self.pixels = self.valid = self.known = 0
        self.labelled, self.invalid = np.zeros((2, kinds), dtype=np.int64)
        self.bands = [BandTally() for _ in range(pair.image.count)]
        self.objects = np.zeros(kinds, dtype=np.int64)
        self.shift: Shift | None = None
        self.digest = ""

    def add(self, window: Window, chip: Chip, codes: Codes) -> None:
        """Count a window."""
        self._digest.update(np.ascontiguousarray(chip.pixels).tobytes())
        self._digest.update(np.packbits(chip.valid).tobytes())
        self.pixels += chip.valid.size
        self.valid += int(chip.valid.sum())
        everywhere = bool(chip.valid.all())
        for tally, plane in zip(self.bands, chip.pixels, strict=True):
            tally.add(plane.ravel() if everywhere else plane[chip.valid])
        mask = self._pair.channels.mask(codes)
        self.invalid += self._counted(mask, ~chip.valid)
        mask[..., ~chip.valid] = IGNORED
        self.labelled += self._counted(mask, chip.valid)
        self.known += int((mask >= 0).any(axis=0).sum() if self._layered else (mask >= 0).sum())
        for layer in mask if self._layered else (mask,):
            self._edges.add(chip.pixels, chip.valid, layer, self._pair.grid.shape)
        self._collect(window, mask)

    def _counted(self, mask: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> Ints:
        """Count the pixels of each class where something holds."""
        if self._layered:
            return np.asarray(((mask > 0) & where).sum(axis=(1, 2)), dtype=np.int64)
        return np.bincount(mask[where & (mask >= 0)], minlength=len(self.labelled))

    def _collect(self, window: Window, mask: npt.NDArray[np.int64]) -> None:
        """Find the objects, when the windows of whole rows are there."""
        width = self._pair.grid.width
        found = np.where(mask > 0, 0, IGNORED) if self._layered else np.where(mask < 0, IGNORED, mask)
        layers = found.astype(np.int16).reshape(-1, *window.shape)
        if self._strip is None:
            self._strip = np.full((len(layers), window.height, width), IGNORED, dtype=np.int16)
        self._strip[:, :, window.col : window.col_stop] = layers
        if window.col_stop >= width:
            for regions, layer in zip(self._regions, self._strip, strict=True):
                for row in range(0, window.height, _ROWS):
                    regions.add(layer[row : row + _ROWS])
            self._strip = None

    def close(self) -> None:
        """Add what was found to that of all images."""
        self.digest, self.shift = self._digest.hexdigest(), self._edges.found()
        sizes: list[Sizes] = []
        for number, regions in enumerate(self._regions):
            _, kinds, pixels = regions.joined()
            for kind in range(len(self.labelled)):
                if self._layered and kind != number:
                    continue
                own = pixels if self._layered else pixels[kinds == kind]
                self.objects[kind] = len(own)
                sizes.append(np.unique(own, return_counts=True))
        self._regions = []
        with self._pooled.lock:
            for tally, own_band in zip(self._pooled.bands, self.bands, strict=True):
                tally.histogram.merge(own_band.histogram)
                own_band.histogram = Histogram()
            self._pooled.sizes = [_together(*each) for each in zip(self._pooled.sizes, sizes, strict=True)]
            self._pooled.edges.merge(self._edges)
            self._done()


def _together(one: Sizes, other: Sizes) -> Sizes:
    sizes, place = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    counts = np.zeros(len(sizes), dtype=np.int64)
    np.add.at(counts, place, np.concatenate([one[1], other[1]]))
    return sizes, counts
