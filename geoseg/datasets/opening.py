"""Open a data set: pairs of images and labels, split and inspected."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from geoseg.datasets.block_split import NONE, BlockArea, Counts, Lattice, assign, buffer_of, folds_of
from geoseg.datasets.dataset import Channels, Pair
from geoseg.datasets.description import DataConfig
from geoseg.datasets.files import Entry, Image, find_entries
from geoseg.datasets.inspection import Problem, inspect, refusal, windows
from geoseg.datasets.label_config import (
    CodesConfig,
    ColorsConfig,
    GreyConfig,
    RunLengthsConfig,
    VectorConfig,
)
from geoseg.datasets.split_config import SPLITS, BlockFoldSplit, BlockSplit, InBlocks
from geoseg.datasets.splits import Splits, split_keys, told_groups
from geoseg.engine.resized import ResizedSource
from geoseg.errors import DataError, GeosegError, Message, Text, plural
from geoseg.grid.grid import Grid
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.colored_labels import ColoredLabels
from geoseg.labels.contradiction import RECODE, FileNames
from geoseg.labels.grey_labels import GreyLabels
from geoseg.labels.label import Labels, Meanings
from geoseg.labels.resized_labels import ResizedLabels
from geoseg.labels.run_lengths import RunLengthLabels
from geoseg.models.card import Card
from geoseg.models.match import AskedBands, Choice, choose_bands
from geoseg.models.scaling import tags_of, unlike_tags
from geoseg.raster.products import stack_of
from geoseg.raster.scene import Scene
from geoseg.raster.source import Source

_log = logging.getLogger(__name__)


class Wanted(AskedBands, Protocol):
    """What images must have."""

    @property
    def dtype(self) -> str:
        """Data type of the bands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A data set that is ready for training.

    Parameters
    ----------
    splits : mapping of str to tuple of Pair
        ``train``, ``val`` and ``test``; the first two are not empty.
    left_out : tuple of Problem
        Problems of the images that were skipped.
    files : tuple of Path
        All image and label files in use, sorted.
    """

    splits: Splits
    left_out: tuple[Problem, ...]
    files: tuple[Path, ...]


def open_data(
    data: DataConfig, root: Path, card: Card, *, skip_bad: bool = False, given: Sequence[Entry] = ()
) -> Opened:
    """Open, split and inspect a data set, with the bands of a card.

    Every pixel and label is read once. Images are split before bad ones are skipped, so that these do not
    change the split of the others.

    Parameters
    ----------
    data : DataConfig
        Data section of the configuration.
    root : Path
        Folder to which its names are relative.
    card : Card
        Card with the bands and their data type.
    skip_bad : bool
        Whether images that cannot be used are skipped, logged and listed, instead of an error.
    given : sequence of Entry
        As `find_entries` takes it.

    Raises
    ------
    ConfigError, DataError
        If images cannot be used, or the configuration is wrong; one line with numbers and reasons.
    """
    entries = find_entries(data, root, given)
    images, problems = open_images(entries, data, card)
    keys = split_keys(data, root, entries, {key: image.grid for key, image in images.items()})
    split_of = {key: split for split, members in keys.items() for key in members}
    used = [entry for entry in entries if entry.key in split_of]
    pairs, more = open_pairs([entry for entry in used if entry.key in images], images, data)
    lattices = (
        {key: Lattice.of(data.split, pair.grid.shape) for key, pair in pairs.items()}
        if isinstance(data.split, InBlocks)
        else {}
    )
    findings = inspect(list(pairs.values()), lattices, told_groups(data, root, entries))
    for note in findings.notes:
        _log.warning("%s", note)
    found = {problem.key: problem for problem in (*problems, *more, *findings.problems)}
    bad = [found[entry.key] for entry in used if entry.key in found]
    _refuse_or_tell(bad, len(used), skip_bad=skip_bad)
    good = {key: pair for key, pair in pairs.items() if key not in found}
    if isinstance(data.split, BlockSplit | BlockFoldSplit):
        splits = in_blocks(good, findings.counts, lattices, data.split)
    else:
        splits = {split: tuple(good[key] for key in keys[split] if key in good) for split in SPLITS}
    _refuse_empty(splits, bad, len(used), data)
    files = {
        path
        for entry in used
        if entry.key in good
        for path in (*_files(entry.image), *([entry.labels] if isinstance(entry.labels, Path) else []))
    }
    return Opened(splits=splits, left_out=tuple(bad), files=tuple(sorted(files)))


def _files(image: Image | Source) -> tuple[Path, ...]:
    """Return the local files from which an image is read."""
    stack = stack_of(image)
    if stack is not None:
        return stack.files
    return (image,) if isinstance(image, Path) else ()


def first_image(data: DataConfig, root: Path, given: Sequence[Entry] = ()) -> Image | Source:
    """Return the first image that can be opened, which determines the data type of all images.

    Parameters
    ----------
    data : DataConfig
        Configuration of the data.
    root : Path
        Folder that its paths are relative to.
    given : sequence of Entry
        As `find_entries` takes it.

    Raises
    ------
    ConfigError, DataError
    """
    entries = find_entries(data, root, given)
    problems = []
    for entry in entries:
        try:
            open_image(entry.image, data)
        except GeosegError as error:
            problems.append(Problem.of(entry.key, entry.name, error))
        else:
            return entry.image
    raise DataError(*refusal(problems, len(entries)))


def open_image(image: Image | Source, data: DataConfig) -> Source:
    """Open an image with the configured options, except the declarations about validity."""
    if not isinstance(image, Image):
        return image
    return Scene.open(image, resolution=data.resolution, expand_palette=None, allow_remote=data.allow_remote)


def _refuse_or_tell(problems: Sequence[Problem], images: int, *, skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise DataError(*refusal(problems, images))
    for problem in problems:
        _log.warning("left out: %s", problem.line)
    if problems:
        _log.warning("%d of %s left out", len(problems), plural(images, "image"))


def _refuse_empty(splits: Splits, bad: Sequence[Problem], images: int, data: DataConfig) -> None:
    """Raise DataError for empty splits; the message names the reason."""
    held = ("test",) if isinstance(data.split, BlockFoldSplit) and data.split.test else ()
    for split in ("train", "val", *held):
        if splits[split]:
            continue
        if bad:
            why, remedy = refusal(bad, images, skip_bad=True)
            raise DataError(Message("nothing is left in {}; {}", split, why), remedy)
        assert isinstance(data.split, BlockSplit | BlockFoldSplit), "other methods put an image into each"
        buffer = f" and a smaller data.split.buffer than {data.split.buffer} px" if data.split.buffer else ""
        raise DataError(
            f"the labels are in too few blocks for something to be left in {split}; choose smaller blocks with "
            f"data.split.size{buffer}, or label more"
        )


def open_images(
    entries: Iterable[Entry], data: DataConfig, card: Wanted
) -> tuple[dict[str, Source], list[Problem]]:
    """Open images with their bands, and collect the problems of the others.

    Parameters
    ----------
    entries : iterable of Entry
        The images.
    data : DataConfig
        Data section of the configuration.
    card : Wanted
        Bands and their data type, such as a card's.
    """
    images: dict[str, Source] = {}
    problems: list[Problem] = []
    notes: list[tuple[str, Text]] = []
    lines: dict[Text, str] = {}
    for entry in entries:
        try:
            choice = _open_image(entry, data, card)
            images[entry.key] = choice.source
            notes += [(entry.name, note) for note in choice.said]
            for line in (
                *choice.notes,
                *(choice.source.stacking if isinstance(choice.source, Scene) else ()),
            ):
                lines.setdefault(line, entry.name)
        except GeosegError as error:
            problems.append(Problem.of(entry.key, entry.name, error, kind="image"))
    if notes:
        others = f" (and of {plural(len(notes) - 1, 'other image')} alike)" if len(notes) > 1 else ""
        _log.warning("%s: %s%s", *notes[0], others)
    for line, image in lines.items():
        _log.info("%s: %s (logged once for all images)", image, line)
    return images, problems


def _unlike(entries: Sequence[Entry], images: Mapping[str, Source]) -> list[Problem]:
    """Return the problems of images whose scale and offset tags differ from those of the others."""
    keys = {images[entry.key].path: entry.key for entry in entries}
    unlike = unlike_tags([images[key] for key in keys.values()]) if keys else {}
    return [Problem(key=keys[path], path=path, what=what, kind="scale") for path, what in unlike.items()]


def _open_image(entry: Entry, data: DataConfig, card: Wanted) -> Choice:
    path = entry.name
    remedy = (
        "name in data.bands what the images have, and say in data.band_numbers which they are, a number from 1 for "
        "each, in the same order"
    )
    scene = open_image(entry.image, data).declared(data.declared)
    choice = choose_bands(scene, card, data.band_numbers, remedy=remedy)
    if choice.doubts:
        raise DataError(f"{path}: {choice.doubts[0]}")
    found, expected = choice.source.dtype, np.dtype(card.dtype)
    if found != expected and tags_of(choice.source) is None and not (found.kind == expected.kind == "f"):
        raise DataError(f"{path}: is {found}, expected {expected}; convert it with gdal_translate -ot")
    if data.fit == "pad" and data.image_size is not None:
        (height, width), (rows, cols) = choice.source.grid.shape, data.image_size
        if height > rows or width > cols:
            raise DataError(
                f"{path}: is {height} x {width} px, larger than data.image_size {rows} x {cols}; "
                "enlarge that, or use fit: crop or resize"
            )
    return choice


def open_pairs(
    entries: Sequence[Entry], images: Mapping[str, Source], data: DataConfig
) -> tuple[dict[str, Pair], list[Problem]]:
    """Open the labels of images, and collect the problems of the others.

    Parameters
    ----------
    entries : sequence of Entry
        Images that were opened, and their labels.
    images : mapping of str to Source
        The opened images, by key.
    data : DataConfig
        Data section of the configuration.
    """
    channels, meanings = Channels(codes=data.channels, task=data.task), data.meanings
    pairs: dict[str, Pair] = {}
    problems, names = _unlike(entries, images), FileNames(meanings.code)
    for entry in entries:
        image = images[entry.key]
        if entry.labels is None:
            problems.append(Problem(key=entry.key, path=entry.name, what="has no labels", kind="missing"))
            continue
        try:
            labels = _open_labels(entry, image.grid, data, meanings)
        except GeosegError as error:
            named = entry.labels if isinstance(entry.labels, Path) else entry.labels.path
            problems.append(Problem.of(entry.key, str(named), error, kind="labels"))
            continue
        if found := names.add(labels.path, getattr(labels, "names", {})):  # pictures and tables have no codes
            what = f"{found}; {RECODE}"
            problems.append(Problem(key=entry.key, path=labels.path, what=what, kind="labels"))
            continue
        pair = Pair(name=entry.key, image=image, labels=labels, channels=channels)
        pairs[entry.key] = (
            _resized(pair, data.image_size) if data.image_size and data.fit == "resize" else pair
        )
    return pairs, problems


def _open_labels(entry: Entry, grid: Grid, data: DataConfig, meanings: Meanings) -> Labels:
    """Open the labels of an image in their configured form."""
    assert entry.labels is not None
    form, layered = data.labels, data.task == "multilabel"
    if not isinstance(entry.labels, Path):
        return entry.labels.opened(meanings, layered=layered)
    match form:
        case CodesConfig():
            return CodedLabels.open(entry.labels, grid, meanings, layered=layered, band=form.band)
        case ColorsConfig():
            return ColoredLabels.open(entry.labels, grid, meanings, layered=layered, tolerance=form.tolerance)
        case GreyConfig():
            return GreyLabels.open(entry.labels, grid, meanings, threshold=form.threshold)
        case RunLengthsConfig():
            return RunLengthLabels.open(
                entry.labels,
                Path(entry.name).name,
                grid,
                meanings,
                layered=layered,
                size=form.size,
                content=form.content,
            )
        case VectorConfig():
            from geoseg.labels.vector_labels import VectorLabels  # slow to import, and rarely needed

            return VectorLabels.open(
                entry.labels,
                grid,
                meanings,
                layered=layered,
                layer=form.layer,
                class_field=form.class_field,
                buffer=form.buffer,
                all_touched=form.all_touched,
                overlap=form.overlap,
                encoding=form.encoding,
            )


def _resized(pair: Pair, shape: tuple[int, int]) -> Pair:
    labels = ResizedLabels(labels=pair.labels, stored=pair.grid.shape, shape=shape)
    return replace(pair, image=ResizedSource(source=pair.image, shape=shape), labels=labels)


def in_blocks(
    pairs: Mapping[str, Pair],
    counts: Mapping[str, Counts],
    lattices: Mapping[str, Lattice],
    split: BlockSplit | BlockFoldSplit,
) -> dict[str, tuple[Pair, ...]]:
    """Split every image into blocks.

    Parameters
    ----------
    pairs : mapping of str to Pair
        Images and labels by key.
    counts, lattices : mapping of str to ndarray, mapping of str to Lattice
        Labelled pixels of each block, and the blocks, by key.
    split : BlockSplit or BlockFoldSplit
        How they are divided.
    """
    if isinstance(split, BlockFoldSplit):
        _refuse_empty_folds(split, {key: counts[key] for key in pairs})
    splits: dict[str, list[Pair]] = {name: [] for name in SPLITS}
    for key, pair in pairs.items():
        owners = assign(counts[key], split, key)
        table = tuple(tuple(int(owner) for owner in row) for row in owners)
        for place, name in enumerate(SPLITS):
            if (owners == place).any():
                buffer = buffer_of(split, lattices[key])
                area = BlockArea(lattice=lattices[key], owners=table, split=place, buffer=buffer)
                part = replace(pair, area=area)
                if not buffer or _labelled(part):
                    splits[name].append(part)
    return {name: tuple(members) for name, members in splits.items()}


def _refuse_empty_folds(split: BlockFoldSplit, counts: Mapping[str, Counts]) -> None:
    """Raise DataError if any fold has no block, before the first of them is trained without."""
    folds = {int(fold) for key in counts for fold in folds_of(counts[key], split, key).flat} - {NONE}
    blocks = sum(int(each.any(axis=2).sum()) for each in counts.values())
    if len(folds) < split.k:
        raise DataError(
            f"the labels are in {plural(blocks, 'block')}, which make {plural(len(folds), 'fold')}, expected "
            f"{split.k}; choose fewer folds, smaller blocks with data.split.size, or label more"
        )


def _labelled(pair: Pair) -> bool:
    """Return whether the buffer leaves any label to a split."""
    return any((pair.mask(window) >= 0).any() for window in windows(pair.grid.shape))
