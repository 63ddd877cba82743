"""Derive a training configuration from a list of images and labels, or from a torchgeo dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoseg.datasets.files import Entry
from geoseg.datasets.from_torchgeo import entries_of
from geoseg.datasets.torchgeo_sources import TorchGeoImage, TorchGeoMasks
from geoseg.errors import OptionError
from geoseg.labels.label import FoundClass
from geoseg.learning.config import Config
from geoseg.learning.quick import (
    BLOCKS,
    LabelChoices,
    classes_of,
    config_of,
    form_fields,
    found_in,
    open_image,
)
from geoseg.raster.declared import UNSAID
from geoseg.raster.opening import is_remote

if TYPE_CHECKING:
    from torchgeo.datasets import GeoDataset

_log = logging.getLogger(__name__)
_MANY: Final = 10
"""From this number on, whole images are assigned to training, validation and testing instead of blocks."""

Pairs = Sequence[tuple[Any, Any]]
"""Image and labels of each pair: paths; an image may be a URL."""


def are_pairs(data: Any) -> bool:
    """Return whether this is a list of pairs, and not a list of files with one band each."""
    return (
        isinstance(data, Sequence)
        and not isinstance(data, str)
        and bool(data)
        and all(isinstance(each, tuple | list) and len(each) == 2 for each in data)
    )


def pairs_config(pairs: Pairs, choices: LabelChoices, changes: Sequence[str] = ()) -> Config:
    """Describe a training on pairs of files: an image and its labels each.

    Of ten pairs and more, a fifth of the images validates and a fifth is scored at the end; of fewer, a fifth of
    the blocks of each image.

    Parameters
    ----------
    pairs : sequence of (image, labels)
        Paths; an image may be a URL. Labels are rasters of codes, or vectors.
    choices : LabelChoices
        How the labels are read.
    changes : sequence of str
        Changes of the configuration, as `quick_config` takes them.

    Raises
    ------
    SceneError, DataError, ConfigError, OptionError
    """
    labels = list(dict.fromkeys(Path(label) for _, label in pairs))  # one file may hold those of many images
    image, alpha = open_image(pairs[0][0], changes, UNSAID)
    form, choices, found = found_in(labels, choices)
    local = [Path(image) for image, _ in pairs if not is_remote(str(image))]
    root = Path(os.path.commonpath([path.resolve().parent for path in (*local, *labels)]))
    named = labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"
    data = {
        "root": str(root),
        "pairs": [[_seen_from(root, image), _seen_from(root, label)] for image, label in pairs],
        "labels": {"form": form, **form_fields(form, choices)},
        **classes_of(found, choices, str(named)),
        **({} if alpha is None else {"alpha": alpha}),
        "split": _split(len(pairs)),
    }
    return config_of(image, root.name or "model", data, changes, root)


def torchgeo_config(
    dataset: GeoDataset, choices: LabelChoices, changes: Sequence[str] = ()
) -> tuple[Config, tuple[Entry, ...]]:
    """Describe a training on a torchgeo dataset, and return the images and labels that it consists of.

    Its masks are read once for the values that they hold. torchgeo writes 0 where no label is, so 0 is no class
    unless `choices` names as many classes as there are values, or one called 0, or says that what is not labelled
    is background.

    Parameters
    ----------
    dataset : GeoDataset
        Usually ``images & labels``; see `entries_of`.
    choices : LabelChoices
        Of which only ``background`` and ``classes`` are for masks.
    changes : sequence of str
        As `quick_config` takes them; ``data.nodata=0`` says which number torchgeo fills images with.

    Raises
    ------
    DataError, SceneError, ConfigError, OptionError
    """
    for name in ("class_field", "layer", "encoding"):
        if getattr(choices, name) is not None:
            raise OptionError(f"{name} is for files of labels, and torchgeo reads these; leave it out")
    entries = entries_of(dataset)
    name = type(dataset).__name__
    values: set[int] = set()
    for entry in entries:
        assert isinstance(entry.labels, TorchGeoMasks)
        values |= entry.labels.values()
    found = [FoundClass(value=value, name=f"class {value}", color=None) for value in sorted(values)]
    wanted = () if choices.classes is None else choices.classes.names
    if 0 in values and len(wanted) != len(values) and "0" not in wanted:
        found = found[1:]
        if not choices.background:
            _log.warning(
                "%s: 0 in the masks is taken for unlabelled, as torchgeo writes it where no label is; if it is a "
                "class, name all %d values in classes",
                name,
                len(values),
            )
    image = entries[0].image
    assert isinstance(image, TorchGeoImage)
    data = {
        "pairs": [[entry.key, entry.key] for entry in entries],
        "labels": {"form": "codes", **form_fields("codes", choices)},
        **classes_of(found, choices, name),
        "split": _split(len(entries)),
    }
    return config_of(image, name, data, changes, Path.cwd()), entries


def _split(images: int) -> dict[str, Any]:
    """Divide many images as they are, few by blocks of each."""
    return {**BLOCKS, "method": "fraction"} if images >= _MANY else dict(BLOCKS)


def _seen_from(root: Path, name: Any) -> str:
    """Return a path from the root, or a URL as it is."""
    return str(name) if is_remote(str(name)) else Path(name).resolve().relative_to(root).as_posix()
