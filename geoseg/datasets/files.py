"""Find the files of images and labels, by pattern and key or from a table."""

from __future__ import annotations

import glob
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from geoseg.datasets.description import DataConfig
from geoseg.datasets.ordering import natural
from geoseg.datasets.split_config import ColumnSplit
from geoseg.datasets.table import Row, read_table
from geoseg.errors import ConfigError, DataError, plural
from geoseg.labels.label import Labels, Meanings
from geoseg.raster.opening import is_remote
from geoseg.raster.products import Stack, is_product, listed_stack
from geoseg.raster.source import Source
from geoseg.storage.printable import listed

_FOR_ALL: Final = frozenset(["vector", "run_lengths"])
"""Forms of labels of which one file can hold the labels of many images."""
_log = logging.getLogger(__name__)


Image = Path | Stack | str
"""A file or a product's folder, one file per band, or a URL or ``/vsi...`` name."""


class LabelObject(Protocol):
    """Labels that a Python object reads."""

    @property
    def path(self) -> str:
        """Name of the labels in messages."""

    def opened(self, meanings: Meanings, *, layered: bool) -> Labels:
        """Return the labels as legend codes; see `CodedLabels.open`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An image of the data set and its labels' file.

    Parameters
    ----------
    key : str
        Unique name of the image.
    image : Path, Stack, str or Source
        A file or a product's folder, one file per band, a URL, or a source such as a part of a torchgeo dataset.
    labels : Path, LabelObject or None
        File of its labels, an object that reads them, or None.
    group, split : str or None
        Values of the table's columns, if it has them.
    """

    key: str
    image: Image | Source
    labels: Path | LabelObject | None
    group: str | None = None
    split: str | None = None

    @property
    def name(self) -> str:
        """Name of the image in messages."""
        return str(self.image) if isinstance(self.image, Image) else self.image.path


def find_entries(data: DataConfig, root: Path, given: Sequence[Entry] = ()) -> tuple[Entry, ...]:
    """Find every image that is not excluded, in natural order of the keys.

    Parameters
    ----------
    data : DataConfig
        Configuration of the data.
    root : Path
        Folder that its paths are relative to.
    given : sequence of Entry
        Images and labels that are Python objects, instead of the files in `data`.

    Raises
    ------
    DataError, ConfigError
        If there is no image, files share a key, or the table is wrong.
    """
    if data.pairs is not None:
        entries = list(given) or _from_pairs(data.pairs, data, root)
    else:
        entries = _from_patterns(data, root) if data.table is None else _from_table(data, root)
    keys = [entry.key for entry in entries]
    unknown = [key for key in data.exclude if key not in keys]
    if unknown:
        known = sorted(keys, key=natural)
        raise ConfigError(
            f"data.exclude names {listed(unknown)}, which are not images of the data; expected some of {listed(known)}"
        )
    left = [entry for entry in entries if entry.key not in data.exclude]
    if not left:
        raise ConfigError(f"data.exclude leaves out all {plural(len(entries), 'image')}")
    return tuple(sorted(left, key=lambda entry: natural(entry.key)))


def _from_patterns(data: DataConfig, root: Path) -> list[Entry]:
    images = _images(data, root)
    one = _one_for_all(data, root)
    if one is None:
        assert data.labels.files is not None
        found = _matching(root, data.labels.files, "data.labels")
        if len(found) == len(images) == 1 and data.labels.key is None:
            labels: Mapping[str, Path] = {next(iter(images)): found[0]}
        else:
            labels = _by_key(found, root, data.labels.key, "data.labels.key")
        _note_unused(labels, images)
    else:
        labels = dict.fromkeys(images, one)
    if not set(labels) & set(images):
        key, image = next(iter(images.items()))
        raise DataError(
            f"{image}: has no labels among {root / (data.labels.files or '')}, and no other image has; images have "
            f"keys as {key!r}, labels as {next(iter(labels))!r}: set data.key and data.labels.key"
        )
    return [Entry(key=key, image=image, labels=labels.get(key)) for key, image in images.items()]


def _images(data: DataConfig, root: Path) -> dict[str, Image]:
    """Return the images that match the patterns, by key."""
    if isinstance(data.images, Mapping):
        return _stacks(data.images, data, root)
    assert data.images is not None
    if is_remote(data.images):
        return {Path(data.images.split("?")[0]).stem: data.images}
    found = _matching(root, data.images, "data.images", products=True)
    return dict(_by_key(found, root, data.key, "data.key"))


def _stacks(patterns: Mapping[str, str], data: DataConfig, root: Path) -> dict[str, Image]:
    """Group the files of all bands by key."""
    remote = {band: pattern for band, pattern in patterns.items() if is_remote(pattern)}
    if remote:
        if len(remote) < len(patterns):
            raise ConfigError("data.images names files and URLs, expected one or the other for all bands")
        stack = listed_stack(list(patterns.items()))
        return {Path(stack.name.split("?")[0]).stem: stack}
    found = {band: _matching(root, pattern, f"data.images.{band}") for band, pattern in patterns.items()}
    if all(len(files) == 1 for files in found.values()) and data.key is None:
        first = next(iter(found.values()))[0]
        return {first.stem: listed_stack([(band, files[0]) for band, files in found.items()])}
    keyed = {band: _by_key(files, root, data.key, "data.key") for band, files in found.items()}
    first_band, first_files = next(iter(keyed.items()))
    for band, files in keyed.items():
        unlike = sorted(set(files) ^ set(first_files), key=natural)
        if unlike:
            has, lacks = (first_band, band) if unlike[0] in first_files else (band, first_band)
            raise DataError(
                f"data.images: {unlike[0]!r} has a file of {has} and none of {lacks}; set data.key to what the names "
                "of an image's files have in common"
            )
    return {key: listed_stack([(band, keyed[band][key]) for band in patterns]) for key in first_files}


def needs_vrt(data: DataConfig, root: Path) -> bool:
    """Return whether an image is a VRT named in the configuration, or one file per band, which GDAL reads as a
    VRT.
    """
    if data.pairs is not None:
        return any(name.lower().endswith(".vrt") or is_product(root / name) for name, _ in data.pairs)
    if data.images is None:
        return False
    if isinstance(data.images, Mapping) or data.images.lower().endswith(".vrt"):
        return True
    if is_remote(data.images):
        return False
    return any(map(is_product, _globbed(root, data.images)))


def _from_pairs(pairs: Sequence[tuple[str, str]], data: DataConfig, root: Path) -> list[Entry]:
    """Return the entries of the pairs that the configuration lists."""
    gone = [image for image, _ in pairs if not _there(root, image, "image")]
    gone += [labels for _, labels in pairs if not _there(root, labels, "label")]
    if gone:
        raise DataError(
            f"data.pairs: {len(gone)} of {plural(2 * len(pairs), 'name')} lead to no file ({listed(gone[:3])}); "
            f"paths are seen from data.root, which is {root}"
        )
    placed = [_placed(root, image) for image, _ in pairs]
    if twice := [str(image) for image, count in Counter(placed).items() if count > 1]:
        raise DataError(f"data.pairs names {listed(twice[:3])} twice, expected one pair for an image")
    keys = _by_key([Path(str(image)) for image in placed], root, data.key, "data.key")
    return [
        Entry(key=key, image=image, labels=root / labels)
        for key, image, (_, labels) in zip(keys, placed, pairs, strict=True)
    ]


def _from_table(data: DataConfig, root: Path) -> list[Entry]:
    assert data.table is not None
    path = root / data.table
    one = _one_for_all(data, root) if data.labels.files is not None else None
    if one is None and data.labels.files is not None:
        raise ConfigError("data.labels.files and data.table both give the labels, expected one of them")
    needed = ["image", *(["label"] if one is None else [])]
    needed += ["split"] if isinstance(data.split, ColumnSplit) else []
    rows = read_table(path, needed)
    _check_paths(path, root, rows, "image")
    if one is None:
        _check_paths(path, root, rows, "label")
    _check_once(path, rows)
    named = {_placed(root, row["image"]): row for row in rows}
    images = _by_key([Path(str(image)) for image in named], root, data.key, "data.key")
    originals = dict(zip(images, named, strict=True))
    return [
        Entry(
            key=key,
            image=image,
            labels=one if one is not None else root / row["label"],
            group=row.get("group") or None,
            split=row.get("split") or None,
        )
        for (key, image), row in zip(originals.items(), rows, strict=True)
    ]


def _placed(root: Path, name: str) -> Path | str:
    """Return the path of an image in a table; URLs are unchanged."""
    return name if is_remote(name) else root / name


def _check_paths(table: Path, root: Path, rows: Iterable[Row], column: str) -> None:
    """Raise DataError for missing or wrong paths in a table, all in one line."""
    rows = list(rows)
    empty = [number for number, row in enumerate(rows, start=1) if not row[column]]
    if empty:
        raise DataError(
            f"{table}: column {column} is empty in {_some_rows(empty)}, expected a path in each row"
        )
    gone = [number for number, row in enumerate(rows, start=1) if not _there(root, row[column], column)]
    if gone:
        names = listed([rows[number - 1][column] for number in gone][:3])
        raise DataError(
            f"{table}: {len(gone)} of {plural(len(rows), 'path')} in column {column} lead to no file "
            f"({_some_rows(gone)}: "
            f"{names}); paths are seen from data.root, which is {root}"
        )


def _there(root: Path, name: str, column: str) -> bool:
    """Return whether a path in a table exists; URLs are checked when they are opened."""
    if column == "image" and is_remote(name):
        return True
    return (root / name).is_file() or (column == "image" and is_product(root / name))


def _check_once(table: Path, rows: Iterable[Row]) -> None:
    """Raise DataError if a table names an image twice."""
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if first.setdefault(row["image"], number) != number:
            raise DataError(
                f"{table}: rows {first[row['image']]} and {number} both name {row['image']}, expected one row "
                "for an image"
            )


def _some_rows(numbers: list[int]) -> str:
    return f"row{'s' if len(numbers) > 1 else ''} {listed(numbers)}"


def _one_for_all(data: DataConfig, root: Path) -> Path | None:
    """Return the file that holds the labels of every image, or None."""
    if data.labels.form not in _FOR_ALL or data.labels.files is None:
        return None
    found = _matching(root, data.labels.files, "data.labels")
    return found[0] if len(found) == 1 else None


def _matching(root: Path, pattern: str, name: str, *, products: bool = False) -> list[Path]:
    """Return the files (and product folders, if wanted) that match a pattern or a plain name, in natural order."""
    if is_remote(pattern):
        raise ConfigError(f"{name}: {pattern} is remote, expected files of this machine; fetch it first")
    found = [path for path in _globbed(root, pattern) if path.is_file() or (products and is_product(path))]
    files = sorted(found, key=lambda path: natural(str(path)))
    if not files:
        where = f"and {root} is not a folder" if not root.is_dir() else "seen from data.root"
        raise DataError(
            f"{name}: {root / pattern} matches no file ({where}); correct the pattern or data.root"
        )
    return files


def _globbed(root: Path, pattern: str) -> list[Path]:
    """Return the paths that match a pattern or a plain name."""
    if (root / pattern).exists():
        return [root / pattern]
    return [root / path for path in glob.glob(pattern, root_dir=root, recursive=True)]  # noqa: PTH207 - takes absolute patterns too


def _by_key(files: Iterable[Path], root: Path, pattern: str | None, name: str) -> dict[str, Path]:
    """Return files by key; see `DataConfig.key`."""
    found: dict[str, Path] = {}
    for path in files:
        key = _key(path, root, pattern, name)
        if key in found:
            raise DataError(
                f"{path} and {found[key]} share the key {key!r}, expected one file for each; "
                f"set {name} to a pattern that tells them apart"
            )
        found[key] = path
    return found


def _key(path: Path, root: Path, pattern: str | None, name: str) -> str:
    if pattern is None:
        return path.stem
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    text = inside.with_suffix("").as_posix() if "/" in pattern else path.stem
    match = re.search(pattern, text)
    if match is None or not match[1]:
        raise DataError(
            f"{path}: {name} {pattern!r} finds no key in {text!r}; correct it or the files' pattern"
        )
    return match[1]


def _note_unused(labels: Mapping[str, Path], images: Mapping[str, Image]) -> None:
    unused = [path for key, path in labels.items() if key not in images]
    if unused:
        _log.info("%d label files belong to no image and are not used, as %s", len(unused), unused[0])
