"""Derive a training configuration from a scene and its labels, without YAML."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoseg.errors import DataError, Message, OptionError, SceneError, plural
from geoseg.grid.ground import pixel_size_m
from geoseg.grid.legend import BACKGROUND, NODATA, Legend, LegendClass
from geoseg.labels.contradiction import RECODE, FileNames
from geoseg.labels.forms import form_of_source
from geoseg.labels.label import FoundClass
from geoseg.learning.config import Config, set_value
from geoseg.raster.declared import UNSAID, Declared
from geoseg.raster.look import alpha_of
from geoseg.raster.opening import is_remote
from geoseg.raster.products import stack_of
from geoseg.raster.scene import Scene
from geoseg.raster.source import Source
from geoseg.raster.validity import nodata_words
from geoseg.storage.printable import listed

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from geoseg.labels.overlap import Overlap

BLOCKS: Final[Mapping[str, Any]] = {"method": "blocks", "val": 0.2, "test": 0.2}
"""Split of a few images: each is divided into blocks."""
UNLABELLED = ("ignored", "background")
"""What pixels are that no label covers: unknown, or a class of their own."""
_CHIP, _SMALLEST = 256, 64
"""Default and minimum edge of chips, px; they shrink in small scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoices:
    """Options of the user about the labels of a scene.

    Parameters
    ----------
    class_field : str, optional
        Attribute that holds the class.
    layer : str, optional
        Layer of a vector file; all by default.
    buffer : float
        Buffer around lines and points, in units of the CRS.
    all_touched : bool
        Whether every touched pixel is labelled, instead of those whose centre is covered.
    overlap : str
        Class of pixels covered by features of several classes: of the ``smallest``, of the ``last``, or ``ignore``.
    encoding : str, optional
        Text encoding of a Shapefile that does not declare it.
    band : int
        Band of a label raster, from 1.
    background : bool
        Whether unlabelled pixels are a class of their own (code 0) instead of unknown.
    classes : Legend or str, optional
        The classes to learn, with colours, as ``forest=#228b22,water``: names, or values, of the labels; where
        these are codes without names, names for all of them in their order. Labels of other classes are unknown.
        All by default.
    """

    class_field: str | None = None
    layer: str | None = None
    buffer: float = 0.0
    all_touched: bool = False
    overlap: Overlap = "smallest"
    encoding: str | None = None
    band: int = 1
    background: bool = False
    classes: Legend | None = None


def quick_config(
    scene: Any,
    labels: Path,
    choices: LabelChoices | None = None,
    changes: Sequence[str] = (),
    declared: Declared = UNSAID,
) -> Config:
    """Return the configuration for training a U-Net on one scene, with the labels' classes and held-back blocks.

    A fifth of the blocks is used for validation, and a fifth for the test at the end.

    Parameters
    ----------
    scene : path, URL, list of path or mapping of name to path
        The scene, as for `Scene.open`.
    labels : path
        Raster of class codes, or vector file.
    choices : LabelChoices, optional
        How the labels are read.
    changes : sequence of str
        Changed settings such as ``train.epochs=5``, as for `Config.read`.
    declared : Declared, optional
        Declarations about the validity of the scene's pixels.

    Raises
    ------
    SceneError, DataError, ConfigError
    """
    choices = choices or LabelChoices()
    image, alpha = open_image(scene, changes, declared)
    form, choices, found = found_in([labels], choices)
    root = Path(os.path.commonpath([path.resolve().parent for path in (*_local(image), labels)]))
    data = {
        "root": str(root),
        "images": _images(scene, image, root),
        "labels": {"form": form, "files": _pattern(labels, root), **form_fields(form, choices)},
        **classes_of(found, choices, str(labels)),
        **validity_fields(declared),
        **({} if alpha is None else {"alpha": alpha}),
        "split": dict(BLOCKS),
    }
    return config_of(image, labels.stem, data, changes, root)


def config_of(
    image: Source, name: str, data: Mapping[str, Any], changes: Sequence[str], root: Path
) -> Config:
    """Describe a training on data that is described, with choices that fit an image of it.

    Parameters
    ----------
    image : Source
        An image with all its bands that are data.
    name : str
        Of the model.
    data : mapping
        Fields of `DataConfig`; without ``bands`` they are those of the image.
    changes : sequence of str
        ``train.epochs=5``: changes of the configuration.
    root : Path
        Folder that the data's paths are seen from.
    """
    described: dict[str, Any] = {
        "data": {"bands": list(_band_names(image)), **data},
        "model": {
            "name": name,
            "gsd_m": pixel_size_m(image.grid),
        },
        "train": {
            "epochs": 12,
            "sampling": "balanced",
            "chips_per_epoch": 128,
            "chip_size": _chip_size(image),
            "augment": "aerial",
        },
    }
    for change in changes:
        set_value(described, change)
    return Config.of(described, f"{image.path} with {name}", root)


def found_in(
    labels: Sequence[Path], choices: LabelChoices
) -> tuple[str, LabelChoices, tuple[FoundClass, ...]]:
    """Return the form of files of labels, the choices with the attribute that holds the class, and the classes."""
    try:
        forms = {form_of_source(path, band=choices.band): path for path in labels}
    except SceneError as error:
        raise error.into(DataError) from error
    if len(forms) > 1:
        raise OptionError(f"{' and '.join(map(str, forms.values()))} are labels of two forms, expected one")
    (form,) = forms
    if form == "run_lengths":
        raise OptionError(
            f"{labels[0]}: run lengths need a configuration (YAML), expected vectors or a raster"
        )
    if form == "colors":
        raise DataError(
            f"{labels[0]}: is a picture of colours, expected vectors or a raster of codes; geoseg labels convert makes "
            "codes of it, or a configuration (YAML) says data.labels.form: colors"
        )
    if form == "vector":
        choices = _with_class_field(labels[0], choices)
    found: dict[object, FoundClass] = {}
    names = FileNames()
    for path in labels:
        classes = _found(path, form, choices)
        said = {
            each.value: each.name for each in classes if isinstance(each.value, int) and not _nameless(each)
        }
        if problem := names.add(path, said):
            raise DataError(f"{path}: {problem}", RECODE)
        for each in classes:
            known = found.setdefault(each.value, each)
            found[each.value] = replace(known, held=known.held or each.held)
    found = _held(found, labels)
    if len(labels) == 1:
        return form, choices, tuple(found.values())
    return form, choices, tuple(sorted(found.values(), key=_order))


def _held(found: Mapping[object, FoundClass], labels: Sequence[Path]) -> dict[object, FoundClass]:
    """Leave out the classes that only a legend names, and tell which."""
    absent = [each.name for each in found.values() if not each.held]
    if absent:
        files = str(labels[0]) if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"
        _log.warning("%s: no pixel is labelled as %s; left out of the classes", files, listed(absent))
    return {value: each for value, each in found.items() if each.held}


def _order(found: FoundClass) -> tuple[bool, float, str]:
    """Codes ascend, then names do."""
    code = isinstance(found.value, int)
    return not code, float(found.value) if code else 0.0, str(found.value)


def classes_of(found: Sequence[FoundClass], choices: LabelChoices, labels: str) -> dict[str, Any]:
    """Return the classes to learn, and the label values that are ignored, as fields of the data's configuration."""
    chosen, ignored = _chosen(found, choices.classes, labels)
    fields = _classes(chosen, choices, labels)
    return fields | ({"ignore": [each.value for each in ignored]} if ignored else {})


def validity_fields(declared: Declared) -> dict[str, Any]:
    """Return declarations about validity as fields of the data section."""
    said = {
        "nodata": None if declared.nodata is None else nodata_words(declared.nodata),
        "nodata_rule": declared.rule,
        "alpha": declared.alpha,
    }
    return {key: value for key, value in said.items() if value is not None}


def open_image(scene: Any, changes: Sequence[str], declared: Declared) -> tuple[Scene, str | None]:
    """Open the scene with all data bands, and return ``none`` if the band tagged alpha turned out to be data."""
    said = dict(change.split("=", 1) for change in changes if "=" in change)
    image = Scene.open(
        scene,
        resolution=_number(said.get("data.resolution")),
        expand_palette=None,
        allow_remote=said.get("data.allow_remote") == "true",
    ).declared(declared)
    number, note = alpha_of(image)
    if note is not None:
        _log.warning("%s: %s", image.path, note)
    if number == image.validity_band:
        return image, None
    return image.declared(replace(declared, alpha="none")), "none"


def _number(text: str | None) -> float | None:
    """Parse a number; None if it is not one, since the configuration is checked later."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _found(labels: Path, form: str, choices: LabelChoices) -> tuple[FoundClass, ...]:
    """Return the classes in the labels."""
    if form == "vector":
        from geoseg.labels.vector_labels import found_classes

        return found_classes(
            labels, layer=choices.layer, class_field=choices.class_field, encoding=choices.encoding
        )
    from geoseg.labels.coded_labels import found_classes as found_codes

    return found_codes(labels, band=choices.band)


def _with_class_field(labels: Path, choices: LabelChoices) -> LabelChoices:
    """Find the attribute with the class if none is named; a single class needs a background."""
    from geoseg.labels.vector_labels import class_field_of

    field = class_field_of(
        labels,
        choices.class_field,
        layer=choices.layer,
        encoding=choices.encoding,
        alone=not choices.background,
    )
    return replace(choices, class_field=field)


def _chosen(
    found: Sequence[FoundClass], wanted: Legend | None, labels: str
) -> tuple[list[FoundClass], list[FoundClass]]:
    """Return the requested classes in their order, with the given names and colours, and the others."""
    if wanted is None:
        return list(found), []
    named = [_named(found, each) for each in wanted.classes]
    if not any(named) and len(found) == len(named) and all(_nameless(each) for each in found):
        named = list(found)
    for each, match in zip(wanted.classes, named, strict=True):
        if match is None:
            raise DataError(
                f"{labels}: holds no class {each.name}, expected names among {listed([c.name for c in found])}"
                + (", or a name for each of them in this order" if all(map(_nameless, found)) else "")
            )
    matched = [each for each in named if each is not None]
    others = [each for each in found if each not in matched]
    if others:
        _log.warning("%s: labels of %s are taken for unknown", labels, listed([c.name for c in others]))
    return [
        replace(match, name=each.name, color=each.color)
        for each, match in zip(wanted.classes, matched, strict=True)
    ], others


def _named(found: Sequence[FoundClass], wanted: LegendClass) -> FoundClass | None:
    """Find a class by its name or by its value in the labels."""
    name = wanted.name.casefold()
    for called in (lambda each: each.name, lambda each: str(each.value)):
        match = [each for each in found if called(each).casefold() == name]
        if match:
            return match[0]
    return None


def _nameless(found: FoundClass) -> bool:
    """Return whether labels have only a code for a class, and no name."""
    return isinstance(found.value, int) and found.name in (str(found.value), f"class {found.value}")


def _classes(found: Sequence[FoundClass], choices: LabelChoices, labels: str) -> dict[str, Any]:
    """Return task and classes: codes that fit a class map are kept, names are numbered from 1."""
    if not found:
        raise DataError(f"{labels}: holds no class, expected at least one labelled pixel or feature")
    if len(found) == 1 and not choices.background:
        raise DataError(
            f"{labels}: holds one class ({found[0].name}), expected at least two",
            Message("pass {unlabelled} if everything else is background", unlabelled="background"),
        )
    if len(found) == 1:
        return {"task": "binary", "classes": {1: _class(found[0])}}
    if len(found) >= NODATA:
        raise DataError(
            f"{labels}: holds {plural(len(found), 'different value')}, expected fewer than {NODATA} codes; grey "
            "masks and pictures of colours need a configuration (YAML), whose data.labels.form is grey or colors"
        )
    first = 1 if choices.background else 0
    kept = all(isinstance(c.value, int) and first <= c.value < NODATA for c in found)
    classes = {int(c.value) if kept else i: _class(c) for i, c in enumerate(found, start=1)}
    if choices.background:
        classes[0] = {"name": BACKGROUND, "labels": [BACKGROUND]}
    return {"classes": classes}


def _class(found: FoundClass) -> dict[str, Any]:
    color = {} if found.color is None else {"color": found.color}
    return {"name": found.name, "labels": [found.value], **color}


def form_fields(form: str, choices: LabelChoices) -> dict[str, Any]:
    """Return the fields of the labels section besides the files."""
    unlabelled: dict[str, Any] = {"unlabelled": 0} if choices.background else {}
    if form != "vector":
        return unlabelled | ({"band": choices.band} if choices.band != 1 else {})
    given = {
        "class_field": choices.class_field,
        "layer": choices.layer,
        "buffer": choices.buffer,
        "all_touched": choices.all_touched,
        "overlap": choices.overlap,
        "encoding": choices.encoding,
    }
    return unlabelled | {key: value for key, value in given.items() if value is not None}


def _band_names(image: Source) -> tuple[str, ...]:
    """Return the names of the data bands, numbered if the scene's names are missing or not unique."""
    names = [name or "" for name in image.names]
    if all(names) and len({name.lower() for name in names}) == len(names):
        return tuple(names)
    return tuple(f"band_{number}" for number in image.bands)


def _chip_size(image: Source) -> int:
    """Return the edge of the chips, reduced for small scenes."""
    size = _CHIP
    while size > _SMALLEST and size > min(image.grid.shape) // 2:
        size //= 2
    return size


def _local(image: Scene) -> tuple[Path, ...]:
    """Return the local files from which a scene is read."""
    location = image.file.location
    return tuple(Path(each.name) for each in location.members or (location,) if not each.remote)


def _images(scene: Any, image: Scene, root: Path) -> str | dict[str, str]:
    """Return a scene in the form of `DataConfig.images`."""
    stack = stack_of(scene)
    if stack is None:
        return str(scene) if is_remote(str(scene)) else _pattern(Path(scene), root)
    if isinstance(scene, str | Path):
        return _pattern(Path(scene), root)  # a product's folder
    if len(stack.members) != len(image.descriptions):
        raise OptionError(
            f"{stack}: has files of several bands; make one file of all, or write a configuration"
        )
    names = [name or "" for name in image.descriptions]
    if len(set(names)) < len(names):
        raise OptionError(
            f"{stack}: two bands are called {max(names, key=names.count)}; name them as NAME=FILE"
        )
    paths = [member.path for member in stack.members]
    return {
        name: path if is_remote(path) else _pattern(Path(path), root)
        for name, path in zip(names, paths, strict=True)
    }


def _pattern(path: Path, root: Path) -> str:
    """Return the path of a file below the root, escaped as a pattern that matches only it."""
    return glob.escape(path.resolve().relative_to(root).as_posix())
