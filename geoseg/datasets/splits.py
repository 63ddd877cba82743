"""Files of a configuration become pairs of images and labels, split by group."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.datasets.dataset import Channels, Pair
from geoseg.datasets.description import SPLITS, CodesConfig, DataConfig, GivenSplit, GroupName
from geoseg.errors import ConfigError, DataError
from geoseg.grid.grid import Grid
from geoseg.models.card import Card
from geoseg.models.match import match
from geoseg.raster.coded_labels import CodedLabels
from geoseg.raster.scene import Scene

Splits = Mapping[str, tuple[Pair, ...]]


def find_files(data: DataConfig, root: Path) -> dict[str, tuple[Path, Path]]:
    """Images and their labels by stem, in the order of the stems.

    Raises
    ------
    DataError
        If there is no image, an image has no labels, or two files share a stem.
    """
    assert data.images is not None
    assert data.labels.files is not None
    images, labels = _by_stem(root, data.images), _by_stem(root, data.labels.files)
    missing = sorted(set(images) - set(labels))
    if missing:
        raise DataError(
            f"{images[missing[0]]}: has no labels among {root / data.labels.files} "
            f"({len(missing)} of {len(images)} images have none)"
        )
    return {stem: (images[stem], labels[stem]) for stem in sorted(images)}


def _by_stem(root: Path, pattern: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(root.glob(pattern)):
        if path.stem in found:
            raise DataError(f"{path} and {found[path.stem]} share a stem, expected one file for each")
        found[path.stem] = path
    if not found:
        raise DataError(f"{root / pattern}: matches no file; set data.root, data.images and data.labels")
    return found


def split_stems(data: DataConfig, root: Path, stems: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Stems of each split.

    Raises
    ------
    ConfigError
        If a split names a group that is not there.
    DataError
        If a group holds an image that is not there, or two groups of different splits hold the same one.
    """
    known = list(stems)
    groups = _groups(data, root, known)
    assert isinstance(data.split, GivenSplit)
    split_of: dict[str, str] = {}
    chosen: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        wanted: tuple[GroupName, ...] = getattr(data.split, split)
        members: list[str] = []
        for group in wanted:
            if group not in groups:
                raise ConfigError(
                    f"data.split.{split}: there is no group {group!r}, expected {_some(groups)}"
                )
            for stem in groups[group]:
                if stem not in known:
                    raise DataError(f"group {group!r} names {stem!r}, and there is no such image")
                if stem in split_of:
                    raise DataError(f"{stem} is in {split_of[stem]} and in {split}, expected one split")
                split_of[stem] = split
                members.append(stem)
        chosen[split] = tuple(members)
    return chosen


def _groups(data: DataConfig, root: Path, stems: Sequence[str]) -> dict[GroupName, tuple[str, ...]]:
    groups = data.groups
    if groups is None:
        return {stem: (stem,) for stem in stems}
    if isinstance(groups, str):
        path = root / groups
        try:
            lists = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"data.groups: {path} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ConfigError(f"data.groups: {path} is not JSON ({error})") from error
        if not (isinstance(lists, list) and all(isinstance(group, list) for group in lists)):
            raise ConfigError(f"data.groups: {path} is not a list of lists of stems")
        groups = tuple(tuple(str(stem) for stem in group) for group in lists)
    return {number: tuple(group) for number, group in enumerate(groups)}


def _some(groups: Mapping[GroupName, object]) -> str:
    names = [str(name) for name in groups]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def open_splits(data: DataConfig, root: Path, card: Card) -> Splits:
    """Open the images and labels of every split, with the bands of a card.

    Raises
    ------
    DataError, ConfigError, SceneError, MismatchError
    """
    files = find_files(data, root)
    splits: dict[str, tuple[Pair, ...]] = {}
    for split, stems in split_stems(data, root, files).items():
        splits[split] = tuple(_open(stem, *files[stem], card, data) for stem in stems)
    _refuse_shared_ground(splits)
    return splits


def with_card(splits: Splits, card: Card) -> Splits:
    """Give every pair the gain and bias of a card; tagged scales and offsets of a file replace the card's."""

    def normalised(pair: Pair) -> Pair:
        gain, bias = card.normalisation(pair.image.scale, pair.image.offset)
        return replace(pair, gain=gain, bias=bias)

    return {split: tuple(normalised(pair) for pair in pairs) for split, pairs in splits.items()}


def _open(stem: str, image: Path, labels: Path, card: Card, data: DataConfig) -> Pair:
    scene = match(Scene.open(image), card, data.band_numbers).source
    assert isinstance(data.labels, CodesConfig)
    coded = CodedLabels.open(labels, scene.grid, data.meanings, layered=data.task == "multilabel")
    channels = Channels(codes=data.channels, task=data.task)
    return Pair(name=stem, image=scene, labels=coded, channels=channels)


def _refuse_shared_ground(splits: Splits) -> None:
    """Refuse images of different splits that overlap on the ground: scores would be too good."""
    placed = [(split, pair) for split, pairs in splits.items() for pair in pairs if pair.grid.crs is not None]
    for i, (split, pair) in enumerate(placed):
        for other_split, other in placed[i + 1 :]:
            if split != other_split and pair.grid.crs == other.grid.crs and _overlap(pair.grid, other.grid):
                raise DataError(
                    f"{pair.name} ({split}) and {other.name} ({other_split}) overlap on the ground; "
                    "put them into one group"
                )


def _overlap(a: Grid, b: Grid) -> bool:
    """Whether two bounding boxes share more than an edge."""
    (west, south, east, north), (left, bottom, right, top) = a.bounds, b.bounds
    return min(east, right) > max(west, left) and min(north, top) > max(south, bottom)
