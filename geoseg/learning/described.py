"""Turn what `train` and `check` are given into a configuration: YAML, a mapping, a scene and labels, or pairs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

from geoseg.datasets.files import Entry
from geoseg.datasets.from_torchgeo import is_torchgeo
from geoseg.errors import OptionError
from geoseg.learning.config import Config, set_value
from geoseg.learning.quick import UNLABELLED, LabelChoices, quick_config, validity_fields
from geoseg.learning.quick_pairs import are_pairs, pairs_config, torchgeo_config
from geoseg.raster.declared import Declared
from geoseg.storage.foreign_yaml import YAML_SUFFIXES
from geoseg.storage.output import file_given


def described(
    source: Any,
    labels: str | PathLike[str] | None,
    changes: Sequence[str],
    said: tuple[LabelChoices, Declared],
) -> tuple[Config, Sequence[Entry]]:
    """Return the configuration of a training, and the images and labels that are Python objects.

    Parameters
    ----------
    source : Config, mapping, path, sequence or torchgeo dataset
        A configuration; a scene; pairs of images and labels; or a torchgeo dataset.
    labels : path, optional
        Of a scene.
    changes : sequence of str
        Changes of the configuration, as `Config.read` takes them.
    said : (LabelChoices, Declared)
        How labels of a scene or of pairs are read, and what is said about valid pixels.

    Raises
    ------
    SceneError, DataError, ConfigError, OptionError
    """
    reading, declared = said
    if labels is not None:
        if is_configuration(source):
            raise OptionError(
                f"a configuration says where its labels are, and found {labels} beside it; leave them out"
            )
        if not isinstance(source, str | PathLike | Sequence | Mapping):
            file_given("source", source)
        return quick_config(source, Path(labels), reading, changes, declared), ()
    changes = [*(f"data.{key}={value}" for key, value in validity_fields(declared).items()), *changes]
    if is_torchgeo(source):
        return torchgeo_config(source, reading, changes)
    if are_pairs(source):
        pairs: Any = source
        return pairs_config(pairs, reading, changes), ()
    return _configuration(source, changes, reading), ()


def is_background(unlabelled: str) -> bool:
    """Whether pixels that no label covers are a class of their own."""
    if unlabelled not in UNLABELLED:
        raise OptionError(f"unlabelled is {unlabelled!r}, expected {' or '.join(UNLABELLED)}")
    return unlabelled == UNLABELLED[1]


def is_configuration(source: Any) -> bool:
    """Return whether this is a configuration, not a scene."""
    if isinstance(source, str | PathLike):
        return Path(source).suffix.lower() in YAML_SUFFIXES
    return isinstance(source, Config) or (isinstance(source, Mapping) and "data" in source)


def _configuration(source: Any, changes: Sequence[str], reading: LabelChoices) -> Config:
    """Return the configuration that `train` was given; refuse a scene without labels, and choices of labels."""
    if not is_configuration(source):
        raise OptionError(
            "expected train(config, output=...), train(scene, labels, output=...), or train(pairs, output=...)"
        )
    for field in fields(reading):
        if getattr(reading, field.name) != field.default:
            name = "unlabelled" if field.name == "background" else field.name
            raise OptionError(f"{name} is for a scene and its labels; a configuration says it in data.labels")
    if isinstance(source, Config):
        if changes:
            raise OptionError(f"{changes[0]} is for files and mappings, found a Config; change its fields")
        return source
    if isinstance(source, Mapping):
        values = copy.deepcopy(dict(source))
        for change in changes:
            set_value(values, change)
        return Config.of(values, "configuration", Path.cwd())
    return Config.read(Path(source), changes)
