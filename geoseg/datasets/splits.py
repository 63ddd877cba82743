"""Split images into training, validation and test images without separating groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.datasets.dataset import Pair
from geoseg.datasets.description import DataConfig
from geoseg.datasets.files import Entry
from geoseg.datasets.footprints import overlapping
from geoseg.datasets.ordering import natural, shuffled
from geoseg.datasets.split_config import (
    SPLITS,
    ColumnSplit,
    EverySplit,
    FoldSplit,
    FractionSplit,
    GivenSplit,
    InBlocks,
)
from geoseg.errors import ConfigError, DataError, plural
from geoseg.grid.grid import Grid
from geoseg.models.card import Card
from geoseg.models.scaling import scaling_under
from geoseg.storage.foreign_text import read_json
from geoseg.storage.printable import listed

Splits = Mapping[str, tuple[Pair, ...]]
Keys = Mapping[str, tuple[str, ...]]
"""Keys of the images in each split: train, val, test."""
Groups = Mapping[str, tuple[str, ...]]
"""Keys of the images in each group."""

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def split_keys(data: DataConfig, root: Path, entries: Sequence[Entry], grids: Mapping[str, Grid]) -> Keys:
    """Split images by group.

    Law: no image is in two splits, no group is divided, splits do not overlap on the ground, and the result
    depends only on keys, groups and footprints, on any machine. Blocks divide every image and are not made here:
    all images are then in ``train``.

    Parameters
    ----------
    data : DataConfig
        Data section of the configuration.
    root : Path
        Folder of the data.
    entries : sequence of Entry
        Images in the order of their keys.
    grids : mapping of str to Grid
        Grids of the images that could be opened, by key.

    Raises
    ------
    ConfigError, DataError
        If a split names unknown groups, is empty, or overlaps another on the ground.
    """
    keys, shared = divide(data, root, entries, grids)
    if shared and isinstance(data.split, InBlocks):
        a, b = shared[0]
        raise DataError(
            f"{a} and {b} overlap on the ground, so blocks of one would lie in splits of the other; "
            "make one mosaic of them with gdalbuildvrt, or split by fraction"
        )
    _refuse_shared_ground(keys, shared)
    return keys


def divide(
    data: DataConfig, root: Path, entries: Sequence[Entry], grids: Mapping[str, Grid]
) -> tuple[Keys, list[tuple[str, str]]]:
    """Split images by group even if splits overlap on the ground, and return the pairs of images that do.

    Parameters
    ----------
    data, root, entries, grids
        As `split_keys` takes them.

    Returns
    -------
    mapping of str to tuple of str
        Keys of the images in each split.
    list of (str, str)
        Images that overlap on the ground although they are, or have blocks, in different splits.

    Raises
    ------
    ConfigError, DataError
        If a split names unknown groups, or is empty.
    """
    shared = overlapping(grids)
    if isinstance(data.split, InBlocks):
        return {"train": tuple(entry.key for entry in entries), "val": (), "test": ()}, shared
    as_told = isinstance(data.split, GivenSplit | ColumnSplit)
    groups = _groups(data, root, entries, [] if as_told else shared)
    if isinstance(data.split, ColumnSplit):
        chosen = _by_column(entries, groups)
    elif isinstance(data.split, GivenSplit):
        chosen = _given(data.split, groups)
    else:
        chosen = _drawn(data.split, groups)
    for split in ("train", "val"):
        if not chosen[split]:
            raise DataError(f"data.split puts no image into {split}, expected at least one; change the split")
    split_of = {key: split for split, keys in chosen.items() for key in keys}
    between = [(a, b) for a, b in shared if a in split_of and b in split_of and split_of[a] != split_of[b]]
    return {split: tuple(sorted(keys, key=natural)) for split, keys in chosen.items()}, between


def with_card(splits: Splits, card: Card) -> Splits:
    """Return the pairs with gain and bias of a card."""

    def normalised(pair: Pair) -> Pair:
        scaling = scaling_under(card, pair.image)
        gain, bias = card.normalisation(scaling.scale, scaling.offset)
        return replace(pair, gain=gain, bias=bias)

    return {split: tuple(normalised(pair) for pair in pairs) for split, pairs in splits.items()}


def _by_column(entries: Iterable[Entry], groups: Groups) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {split: [] for split in SPLITS}
    split_of: dict[str, str] = {}
    for entry in entries:
        if entry.split is None:
            continue
        split = _WORDS.get(entry.split.lower())
        if split is None:
            raise DataError(
                f"data.table: {entry.key} is in split {entry.split!r}, expected train, val, test or nothing"
            )
        chosen[split].append(entry.key)
        split_of[entry.key] = split
    for name, keys in groups.items():
        found = {split_of[key]: key for key in keys if key in split_of}
        if len(found) > 1:
            where = " and in ".join(f"{split} ({key})" for split, key in found.items())
            raise DataError(f"data.table: group {name} is in {where}, expected one split for a group")
    return chosen


def _given(split: GivenSplit, groups: Groups) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for name in SPLITS:
        wanted = [str(group) for group in getattr(split, name)]
        unknown = [group for group in wanted if group not in groups]
        if unknown:
            raise ConfigError(
                f"data.split.{name}: there is no group {listed(unknown)}, expected {listed(groups)}"
            )
        chosen[name] = [key for group in wanted for key in groups[group]]
    return chosen


def _drawn(split: EverySplit | FractionSplit | FoldSplit, groups: Groups) -> dict[str, list[str]]:
    """Split groups by position in the natural order of their names, or in a seeded random order."""
    names = sorted(groups, key=natural)
    test: list[str] = []
    if isinstance(split, EverySplit):
        val = names[split.first :: split.n]
    elif isinstance(split, FoldSplit):
        order = shuffled(names, split.seed)
        of_split = {name: split.split_of(place % split.k) for place, name in enumerate(order)}
        test, val = ([name for name in order if of_split[name] == part] for part in ("test", "val"))
    else:
        order = shuffled(names, split.seed)
        tested = _count(split.test, len(names))
        validated = _count(split.val, len(names))
        test, val = order[:tested], order[tested : tested + validated]
    train = [name for name in names if name not in {*val, *test}]
    if not train or not val or (isinstance(split, FoldSplit) and split.test and not test):
        images = sum(map(len, groups.values()))
        raise DataError(
            f"{plural(images, 'image')} in {plural(len(names), 'group')} cannot be divided by data.split "
            f"(method {split.method}) so that train and val have a group each; images that overlap on the ground are "
            "one group where no groups are given: change the split, or split by blocks"
        )
    return {
        name: [key for group in chosen for key in groups[group]]
        for name, chosen in (("train", train), ("val", val), ("test", test))
    }


def _count(share: float, number: int) -> int:
    """Return the number of groups of a share: at least one if the share is above 0."""
    return max(1, round(share * number)) if share else 0


def groups_of(
    data: DataConfig, root: Path, entries: Sequence[Entry], grids: Mapping[str, Grid]
) -> tuple[Groups, tuple[str, ...]]:
    """Return the groups that folds are made of, and the keys of images that no split uses.

    Parameters
    ----------
    data, root, entries, grids
        As for `split_keys`.

    Returns
    -------
    groups : mapping of str to tuple of str
        Keys of each group, by its name.
    unused : tuple of str
        Keys of images that a table or lists leave out of every split.

    Raises
    ------
    ConfigError, DataError
    """
    unused: set[str] = set()
    if isinstance(data.split, GivenSplit | ColumnSplit):
        chosen, _ = divide(data, root, entries, grids)
        unused = {entry.key for entry in entries} - {key for keys in chosen.values() for key in keys}
    used = [entry for entry in entries if entry.key not in unused]
    return _groups(data, root, used, overlapping(grids)), tuple(sorted(unused, key=natural))


def told_groups(data: DataConfig, root: Path, entries: Sequence[Entry]) -> dict[str, str]:
    """Return the groups that the user assigned to images, in `DataConfig.groups` or the table.

    Raises
    ------
    ConfigError, DataError
    """
    in_table = {entry.key: entry.group for entry in entries if entry.group is not None}
    if data.groups is not None and in_table:
        raise ConfigError("data.groups and the table's column group are two groupings, expected one")
    if data.groups is not None:
        return _listed_groups(data, root, {entry.key for entry in entries})
    return in_table


def _groups(
    data: DataConfig, root: Path, entries: Sequence[Entry], shared: Iterable[tuple[str, str]]
) -> Groups:
    """Return the members of each group by name; an image without a group forms one under its own key."""
    told = told_groups(data, root, entries)
    group_of = told if data.groups is not None else told or _connected(shared)
    names = set(group_of.values())
    groups: dict[str, list[str]] = {}
    for entry in entries:
        alone = f"image {entry.key}" if entry.key in names else entry.key
        groups.setdefault(group_of.get(entry.key, alone), []).append(entry.key)
    return {name: tuple(keys) for name, keys in groups.items()}


def _listed_groups(data: DataConfig, root: Path, keys: set[str]) -> dict[str, str]:
    """Return the group (an index from 0, as text) of each key in the lists."""
    lists = data.groups if not isinstance(data.groups, str) else _read_lists(root / data.groups)
    group_of: dict[str, str] = {}
    for number, members in enumerate(lists or ()):
        for key in members:
            if key in data.exclude:
                continue
            if key not in keys:
                raise DataError(
                    f"data.groups: group {number} names {key!r}, which is not an image of the data; remove it"
                )
            if group_of.setdefault(key, str(number)) != str(number):
                raise DataError(
                    f"data.groups: {key!r} is in groups {group_of[key]} and {number}, expected one"
                )
    return group_of


def _read_lists(path: Path) -> list[list[str]]:
    try:
        lists = read_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"data.groups: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"data.groups: {path} is not JSON ({error})") from error
    if not (isinstance(lists, list) and all(isinstance(group, list) for group in lists)):
        raise ConfigError(f"data.groups: {path} is not a list of lists of keys")
    return [[str(key) for key in group] for group in lists]


def _connected(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the group of each key in some pairs: connected components, named by their first member."""
    above: dict[str, str] = {}

    def top(key: str) -> str:
        while (up := above.setdefault(key, key)) != key:
            above[key] = above[up]
            key = up
        return key

    for a, b in pairs:
        first, second = sorted((top(a), top(b)), key=natural)
        above[second] = first
    return {key: top(key) for key in above}


def _refuse_shared_ground(keys: Keys, between: Sequence[tuple[str, str]]) -> None:
    """Raise DataError if images of different splits overlap on the ground: scores would be too good."""
    if between:
        split_of = {key: split for split, members in keys.items() for key in members}
        a, b = between[0]
        more = f" (and {len(between) - 1} more such pairs)" if len(between) > 1 else ""
        raise DataError(
            f"{a} ({split_of[a]}) and {b} ({split_of[b]}) overlap on the ground{more}; put them into one group "
            "with data.groups, or leave the groups out, so that overlapping images form a group"
        )
