"""Turn what `check` is given into a configuration: as a training does, and images and folders with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final

from geoseg.datasets.files import Entry
from geoseg.datasets.from_torchgeo import is_torchgeo
from geoseg.datasets.ordering import natural
from geoseg.errors import DataError, Message, OptionError, plural
from geoseg.learning.config import Config
from geoseg.learning.described import described, is_configuration
from geoseg.learning.quick import LabelChoices
from geoseg.learning.quick_pairs import are_pairs
from geoseg.raster.declared import UNSAID, Declared
from geoseg.raster.file_kinds import KINDS
from geoseg.raster.products import is_product

_ENDINGS: Final = {
    holds: tuple(ending for kind in KINDS if kind.holds == holds for ending in kind.endings)
    for holds in ("raster", "vector")
}

Names = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person says about training data besides where it is.

    Parameters
    ----------
    choices : LabelChoices
        How labels are read.
    declared : Declared
        Which pixels of images are valid.
    changes : sequence of str
        Changes of the configuration.
    """

    choices: LabelChoices = field(default_factory=LabelChoices)
    declared: Declared = UNSAID
    changes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Training data that is described.

    Parameters
    ----------
    name : str
        What it is called.
    config : Config
        Its configuration.
    given : sequence of Entry
        Images and labels that the configuration does not name.
    """

    name: str
    config: Config
    given: Sequence[Entry] = ()


def describe_data(source: Any, labels: Names | None, said: Said) -> Described:
    """Return the configuration of training data.

    Parameters
    ----------
    source : Config, mapping, path, sequence or torchgeo dataset
        A configuration; images, or folders of them; pairs of images and labels; or a torchgeo dataset.
    labels : path or sequence of paths, optional
        Labels of images: one file for each, in their order; folders, in which they are called like their images; or
        one file for all.
    said : Said
        What is said of both.

    Raises
    ------
    SceneError, DataError, ConfigError, OptionError
    """
    about = (said.choices, said.declared)
    if labels is None:
        if not (is_configuration(source) or are_pairs(source) or is_torchgeo(source)):
            raise OptionError(
                f"{_named(source)}: images need labels to be checked, expected them, or the YAML file of a training",
                Message("pass {labels}"),
            )
        config, given = described(source, None, said.changes, about)
        return Described(name=_named(source), config=config, given=given)
    if is_configuration(source):
        raise OptionError(
            f"a configuration says where its labels are, and found {_named(labels)} beside it; leave them out"
        )
    images, marks = _files(source, ("raster",)), _files(labels, ("raster", "vector"))
    name = _named(source)
    if len(images) == len(marks) == 1:
        config, given = described(images[0], marks[0], said.changes, about)
        return Described(name=name, config=config, given=given)
    paired = _paired(images, marks, by_name=_has_folder(source) or _has_folder(labels))
    pairs = [(image, label) for image, label in paired if label is not None]
    if not pairs:
        raise DataError(
            f"{_named(labels)}: holds no labels of {images[0]}, nor of another image; labels in a folder are called "
            f"like their images, as {images[0].stem}.tif"
        )
    config, _ = described(pairs, None, said.changes, about)
    entries = () if len(pairs) == len(paired) else [
        Entry(key=image.stem, image=image, labels=label) for image, label in paired
    ]  # fmt: skip
    return Described(name=name, config=config, given=entries)


def _paired(images: list[Path], labels: list[Path], *, by_name: bool) -> list[tuple[Path, Path | None]]:
    """Find the labels of each image; None for images without any."""
    if len(labels) == 1:
        return [(image, labels[0]) for image in images]
    if by_name:
        called = {path.stem: path for path in labels}
        return [(image, called.get(image.stem)) for image in images]
    if len(images) != len(labels):
        raise OptionError(
            f"found {plural(len(images), 'image')} and {plural(len(labels), 'file')} of labels, expected one for each "
            "in their order, or one for all",
            Message("correct {labels}"),
        )
    return list(zip(images, labels, strict=True))


def _listed(names: Any) -> list[Any]:
    return [names] if isinstance(names, str | PathLike) else list(names)


def _has_folder(names: Any) -> bool:
    return any(_is_folder(Path(name)) for name in _listed(names))


def _is_folder(path: Path) -> bool:
    """Return whether this is a folder of files, and no product or database."""
    return path.is_dir() and not is_product(path) and not path.name.lower().endswith(".gdb")


def _files(names: Any, holds: tuple[str, ...]) -> list[Path]:
    """Return files, and those in folders that can be rasters or vectors."""
    if isinstance(names, Mapping) or not all(isinstance(name, str | PathLike) for name in _listed(names)):
        raise OptionError("expected paths of images and of their labels, or a list of pairs of both")
    endings = tuple(ending for each in holds for ending in _ENDINGS[each])
    files: list[Path] = []
    for name in map(Path, _listed(names)):
        if not _is_folder(name):
            files.append(name)
            continue
        inside = [path for path in name.iterdir() if path.is_file() and path.name.lower().endswith(endings)]
        if not inside:
            raise DataError(f"{name}: holds no file that ends in {', '.join(endings)}, expected some")
        files += sorted(inside, key=lambda path: natural(path.name))
    if not files:
        raise OptionError("found no image or no labels, expected paths of both")
    return files


def _named(source: Any) -> str:
    """Name what was given, for messages."""
    if isinstance(source, str | PathLike):
        return str(source)
    if is_configuration(source):
        return "configuration"
    if isinstance(source, Sequence) and source:
        first = source[0][0] if are_pairs(source) else source[0]
        return str(first) if len(source) == 1 else f"{first} and {len(source) - 1} more"
    return type(source).__name__
