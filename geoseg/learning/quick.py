"""A configuration from a scene and its labels alone, for people who write no YAML."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.datasets.label_config import form_of
from geoseg.errors import DataError, OptionError
from geoseg.grid.ground import pixel_size_m
from geoseg.grid.legend import BACKGROUND, NODATA, Legend, LegendClass
from geoseg.learning.config import Config, set_value
from geoseg.raster.declared import UNSAID, Declared
from geoseg.raster.labels import FoundClass, listed
from geoseg.raster.look import alpha_of
from geoseg.raster.opening import is_remote
from geoseg.raster.products import stack_of
from geoseg.raster.scene import Scene
from geoseg.raster.validity import nodata_words

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from geoseg.vector.overlap import Overlap

_CHIP, _SMALLEST = 256, 64
"""Edges of chips, px: what they are, and what they may shrink to in small scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoices:
    """What a person says about labels on the command line.

    Parameters
    ----------
    class_field : str, optional
        Attribute that holds the class.
    layer : str, optional
        Layer of a vector file; all by default.
    buffer : float
        Lines and points are widened by this much.
    all_touched : bool
        Whether every touched pixel counts.
    overlap : str
        Whose class a pixel has that features of several classes cover: smallest, last or ignore.
    encoding : str, optional
        Of the text of a Shapefile that does not say it.
    band : int
        Of a raster of codes, from 1.
    background : bool
        Whether what no label covers is a class of its own (code 0), or unknown.
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

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> LabelChoices:
        """Take keywords.

        Raises
        ------
        OptionError
            If one is not known.
        """
        known = [field.name for field in fields(cls)]
        for name in choices:
            if name not in known:
                raise OptionError(f"{name} is no choice of labels, expected {', '.join(known)}")
        made = cls(**choices)
        wanted = choices.get("classes")
        return replace(made, classes=Legend.parse(wanted)) if isinstance(wanted, str) else made


def quick_config(
    scene: Any,
    labels: Path,
    choices: LabelChoices | None = None,
    changes: Sequence[str] = (),
    declared: Declared = UNSAID,
) -> Config:
    """Describe the training of a U-Net on one scene: classes as the labels have them, blocks held back.

    A fifth of the blocks validates, and a fifth is scored once at the end.

    Parameters
    ----------
    scene : path, URL, list of path or mapping of name to path
        As `Scene.open` takes it.
    labels : path
        A raster of codes, or vectors.
    choices : LabelChoices, optional
    changes : sequence of str
        ``train.epochs=5``: as ``--set`` has them.
    declared : Declared, optional
        What is said about the validity of the scene's pixels.

    Raises
    ------
    SceneError, DataError, ConfigError
    """
    choices = choices or LabelChoices()
    image, alpha = _image(scene, changes, declared)
    form = form_of(labels.name)
    if form == "run_lengths":
        raise OptionError(f"{labels}: run lengths need a configuration (YAML), expected vectors or a raster")
    if form == "vector":
        choices = _with_class_field(labels, choices)
    found, ignored = _chosen(_found(labels, form, choices), choices.classes, labels)
    root = Path(os.path.commonpath([path.resolve().parent for path in (*_local(image), labels)]))
    described: dict[str, Any] = {
        "data": {
            "root": str(root),
            "images": _images(scene, image, root),
            "labels": {"form": form, "files": _pattern(labels, root), **_form_fields(form, choices)},
            **_classes(found, choices, labels),
            **({"ignore": [each.value for each in ignored]} if ignored else {}),
            "bands": list(_band_names(image)),
            **validity_fields(declared),
            **({} if alpha is None else {"alpha": alpha}),
            "split": {"method": "blocks", "val": 0.2, "test": 0.2},
        },
        "model": {
            "name": labels.stem,
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
    return Config.of(described, f"{image.path} with {labels}", root)


def validity_fields(declared: Declared) -> dict[str, Any]:
    """Return what is said about validity as fields of the data's configuration."""
    said = {
        "nodata": None if declared.nodata is None else nodata_words(declared.nodata),
        "nodata_rule": declared.rule,
        "alpha": declared.alpha,
    }
    return {key: value for key, value in said.items() if value is not None}


def _image(scene: Any, changes: Sequence[str], declared: Declared) -> tuple[Scene, str | None]:
    """Open the scene with all bands that are data; ``none`` where its band tagged alpha turned out to be one."""
    said = dict(change.split("=", 1) for change in changes if "=" in change)
    image = Scene.open(
        scene,
        resolution=_number(said.get("data.resolution")),
        allow_remote=said.get("data.allow_remote") == "true",
    ).declared(declared)
    number, note = alpha_of(image)
    if note is not None:
        _log.warning("%s: %s", image.path, note)
    if number == image.validity_band:
        return image, None
    return image.declared(replace(declared, alpha="none")), "none"


def _number(text: str | None) -> float | None:
    """Read a number; what is none is refused where the whole configuration is checked."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _found(labels: Path, form: str, choices: LabelChoices) -> tuple[FoundClass, ...]:
    """Classes that the labels hold."""
    if form == "vector":
        from geoseg.vector.vector_labels import found_classes

        return found_classes(
            labels, layer=choices.layer, class_field=choices.class_field, encoding=choices.encoding
        )
    from geoseg.raster.coded_labels import found_classes as found_codes

    return found_codes(labels, band=choices.band)


def _with_class_field(labels: Path, choices: LabelChoices) -> LabelChoices:
    """Find the attribute that holds the class where none is named; one class alone needs a background."""
    from geoseg.vector.vector_labels import class_field_of

    field = class_field_of(
        labels,
        choices.class_field,
        layer=choices.layer,
        encoding=choices.encoding,
        alone=not choices.background,
    )
    return replace(choices, class_field=field)


def _chosen(
    found: Sequence[FoundClass], wanted: Legend | None, labels: Path
) -> tuple[list[FoundClass], list[FoundClass]]:
    """Return the classes that are wanted, in their order, with the names and colours given, and the others."""
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
    """Find a class by its name, or by what the labels call it."""
    name = wanted.name.casefold()
    for called in (lambda each: each.name, lambda each: str(each.value)):
        match = [each for each in found if called(each).casefold() == name]
        if match:
            return match[0]
    return None


def _nameless(found: FoundClass) -> bool:
    """Whether labels have a code for a class, and no name."""
    return isinstance(found.value, int) and found.name in (str(found.value), f"class {found.value}")


def _classes(found: Sequence[FoundClass], choices: LabelChoices, labels: Path) -> dict[str, Any]:
    """Task and classes: codes that fit a class map are kept, names are counted from 1."""
    if not found:
        raise DataError(f"{labels}: holds no class, expected at least one labelled pixel or feature")
    if len(found) == 1 and not choices.background:
        raise DataError(
            f"{labels}: holds one class ({found[0].name}), expected at least two; pass --unlabelled background if "
            "everything else is background"
        )
    if len(found) == 1:
        return {"task": "binary", "classes": {1: _class(found[0])}}
    first = 1 if choices.background else 0
    kept = all(isinstance(c.value, int) and first <= c.value < NODATA for c in found)
    classes = {int(c.value) if kept else i: _class(c) for i, c in enumerate(found, start=1)}
    if choices.background:
        classes[0] = {"name": BACKGROUND, "labels": [BACKGROUND]}
    return {"classes": classes}


def _class(found: FoundClass) -> dict[str, Any]:
    color = {} if found.color is None else {"color": found.color}
    return {"name": found.name, "labels": [found.value], **color}


def _form_fields(form: str, choices: LabelChoices) -> dict[str, Any]:
    """Return what the labels' part of the configuration holds beside their files."""
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


def _band_names(image: Scene) -> tuple[str, ...]:
    """Names of the bands that are no validity, made up where the scene gives none or one twice."""
    names = [name or "" for name in image.names]
    if all(names) and len({name.lower() for name in names}) == len(names):
        return tuple(names)
    return tuple(f"band_{number}" for number in image.bands)


def _chip_size(image: Scene) -> int:
    """Edge of the chips, smaller where the scene is."""
    size = _CHIP
    while size > _SMALLEST and size > min(image.grid.shape) // 2:
        size //= 2
    return size


def _local(image: Scene) -> tuple[Path, ...]:
    """Files of this machine that a scene is read from."""
    location = image.file.location
    return tuple(Path(each.name) for each in location.members or (location,) if not each.remote)


def _images(scene: Any, image: Scene, root: Path) -> str | dict[str, str]:
    """Describe a scene as `DataConfig.images` has it."""
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
    """Name of one file under the root as a pattern that matches nothing else."""
    return glob.escape(path.resolve().relative_to(root).as_posix())
