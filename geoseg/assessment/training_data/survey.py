"""Read training data once, as a training would, and keep what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.training_data.watch import ImageWatch, Pooled
from geoseg.datasets.block_split import BlockArea, Counts, Lattice
from geoseg.datasets.dataset import Pair
from geoseg.datasets.description import DataConfig
from geoseg.datasets.files import Entry, find_entries
from geoseg.datasets.inspection import Findings, Problem, inspect, windows
from geoseg.datasets.opening import first_image, in_blocks, open_image, open_images, open_pairs
from geoseg.datasets.split_config import SPLITS, BlockFoldSplit, BlockSplit, InBlocks
from geoseg.datasets.splits import Keys, divide, told_groups
from geoseg.errors import ConfigError, DataError, GeosegError
from geoseg.grid.legend import LegendClass
from geoseg.learning.config import Config
from geoseg.progress import OnProgress, Steps
from geoseg.raster.cache import limited_cache
from geoseg.raster.source import Source

_CACHE: Final = 256
"""Size in MB of the cache of decoded blocks, as in a training."""
_ACROSS: Final = 6
"""Places of an image along its shorter edge."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """What the images of a configuration must have."""

    band_names: tuple[str, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSurvey:
    """What was seen of training data.

    Parameters
    ----------
    config : Config
        The configuration.
    entries : tuple of Entry
        Images in the order of their keys.
    images : mapping of str to Source
        Images that could be opened.
    pairs : mapping of str to Pair
        Images whose labels could be opened, too.
    watches : mapping of str to ImageWatch
        What was seen of each of these.
    pooled : Pooled
        What was seen of all of them.
    lattices : mapping of str to Lattice
        Places of each image: its blocks, if these are split.
    counts : mapping of str to (block row, block col, class) int64
        Valid labelled pixels of each place.
    groups : mapping of str to str
        Group that the user assigned to an image.
    problems, doubts : tuple of Problem
        Reasons why images cannot be used, and what may be wrong with others.
    notes : tuple of str
        Notes on no data in some bands only.
    keys : mapping of str to tuple of str
        Images of each split; with blocks all are in ``train``.
    undivided : str or None
        Why the images cannot be divided.
    shared : list of (str, str)
        Images that overlap on the ground although they are in different splits.
    parts : mapping of str to (class,) int64
        Labelled pixels of each class by split.
    """

    config: Config
    entries: tuple[Entry, ...]
    images: Mapping[str, Source]
    pairs: Mapping[str, Pair]
    watches: Mapping[str, ImageWatch]
    pooled: Pooled
    lattices: Mapping[str, Lattice]
    counts: Mapping[str, Counts]
    groups: Mapping[str, str]
    problems: tuple[Problem, ...]
    doubts: tuple[Problem, ...]
    notes: tuple[object, ...]
    keys: Keys
    undivided: GeosegError | None
    shared: Sequence[tuple[str, str]]
    parts: Mapping[str, Ints]

    @property
    def data(self) -> DataConfig:
        """Data section of the configuration."""
        return self.config.data

    @property
    def classes(self) -> tuple[LegendClass, ...]:
        """The classes that are counted; of a binary task with its background."""
        return self.data.legend.classes

    @property
    def in_blocks(self) -> bool:
        """Whether blocks of each image are divided, not images."""
        return isinstance(self.data.split, InBlocks)

    @property
    def split_of(self) -> dict[str, str]:
        """Split (train, val, test) of each image by its key; empty where blocks of images are divided."""
        if self.in_blocks:
            return {}
        return {key: split for split, members in self.keys.items() for key in members}

    def used(self, key: str) -> bool:
        """Return whether a training would look at an image: it is in a split, or nobody knows."""
        return self.undivided is not None or any(key in members for members in self.keys.values())


def surveyed(config: Config, given: Sequence[Entry], progress: OnProgress | None) -> DataSurvey:
    """Read training data once: images in threads, window by window.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    given : sequence of Entry
        As `find_entries` takes it.
    progress : callable, optional
        Called with (done, total, what) after each image.

    Raises
    ------
    ConfigError, DataError
        If no image is found, or files do not go together.
    """
    data, root = config.data, config.data_root
    entries = find_entries(data, root, given)
    with limited_cache(_CACHE):
        images, problems = open_images(entries, data, _wanted(data, root, given))
        told: dict[str, str] = {}
        keys: Keys = dict.fromkeys(SPLITS, ())
        undivided, shared = None, list[tuple[str, str]]()
        try:
            told = told_groups(data, root, entries)
            keys, shared = divide(data, root, entries, {key: image.grid for key, image in images.items()})
        except (ConfigError, DataError) as error:
            undivided = error
        used = [entry for entry in entries if entry.key in images]
        pairs, more = open_pairs(used, images, data)
        kinds = len(data.legend.classes)
        pooled = Pooled.of(len(data.bands), kinds)
        step = Steps(progress, len(pairs), "images")
        watches = {key: ImageWatch(pair, kinds, pooled, step) for key, pair in pairs.items()}
        lattices = {key: _lattice(data, pair) for key, pair in pairs.items()}
        found = inspect(list(pairs.values()), lattices, told, watches)
        pooled.finish(watches.values())
        parts = _parts(data, keys, pairs, found, lattices)
    return DataSurvey(
        config=config, entries=entries, images=images, pairs=pairs, watches=watches, pooled=pooled,
        lattices=lattices, counts=found.counts, groups=told,
        problems=(*problems, *more, *found.problems), doubts=found.doubts, notes=found.partly,
        keys=keys, undivided=undivided, shared=shared, parts=parts,
    )  # fmt: skip


def _wanted(data: DataConfig, root: Path, given: Sequence[Entry]) -> Bands:
    """Return the bands that are wanted, in the data type of the first image that can be opened."""
    try:
        dtype = str(open_image(first_image(data, root, given), data).dtype)
    except DataError:  # none can, and each says why
        dtype = "uint8"
    return Bands(band_names=data.bands, dtype=dtype)


def _lattice(data: DataConfig, pair: Pair) -> Lattice:
    if isinstance(data.split, InBlocks):
        return Lattice.of(data.split, pair.grid.shape)
    return Lattice(shape=pair.grid.shape, size=max(1, min(pair.grid.shape) // _ACROSS))


def _parts(
    data: DataConfig,
    keys: Keys,
    pairs: Mapping[str, Pair],
    found: Findings,
    lattices: Mapping[str, Lattice],
) -> dict[str, Ints]:
    """Return the labelled pixels of each class in each split, without the images that cannot be used."""
    kinds = len(data.legend.classes)
    sums = {split: np.zeros(kinds, dtype=np.int64) for split in SPLITS}
    bad = {problem.key for problem in found.problems}
    good = {key: pair for key, pair in pairs.items() if key not in bad}
    if not isinstance(data.split, BlockSplit | BlockFoldSplit):
        for split, members in keys.items():
            for key in members:
                if key in good:
                    sums[split] += found.counts[key].sum(axis=(0, 1))[:kinds]
        return sums
    for split, parts in in_blocks(good, found.counts, lattices, data.split).items():
        for part in parts:
            sums[split] += _of_part(part, found.counts[part.name])[:kinds]
    return sums


def _of_part(part: Pair, counts: Counts) -> Ints:
    """Count the labelled pixels of a split's blocks, which a buffer makes smaller."""
    assert isinstance(part.area, BlockArea)
    if not part.area.buffer:
        return np.asarray(counts[np.array(part.area.owners) == part.area.split].sum(axis=0))
    kinds = counts.shape[2]
    sums = np.zeros(kinds, dtype=np.int64)
    for window in windows(part.grid.shape):
        if part.area.inside(window).any():
            _, _, mask = part.read(window)
            if part.labels.layered:
                sums[: len(mask)] += (mask > 0).sum(axis=(1, 2))
            else:
                sums += np.bincount(mask[mask >= 0], minlength=kinds)
    return sums
