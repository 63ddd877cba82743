"""Forms of label files, and the classes found in files of each form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from geoseg.errors import DataError, Message, OptionError, plural
from geoseg.grid.legend import BACKGROUND, NODATA, Legend, LegendClass
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import found_classes as found_codes
from geoseg.labels.colored_labels import open_picture
from geoseg.labels.label import UNKNOWN, FoundClass, LabelValue, Meanings, plain
from geoseg.labels.run_length_table import read_table
from geoseg.labels.vector_labels import class_field_of
from geoseg.labels.vector_labels import found_classes as found_values
from geoseg.raster.file_kinds import kind_by_name, kind_of
from geoseg.raster.legend_file import LEGEND_TAG, TASK_TAG, legend_from_json
from geoseg.raster.scene import Scene
from geoseg.vectorfiles.formats import NO_SHAPEFILES

Form = Literal["codes", "colors", "vector", "run_lengths"]

_PICTURES: Final = ("PNG", "JPEG")
_TARGETS: Final[dict[str, Form]] = {
    ".tif": "codes",
    ".tiff": "codes",
    ".gpkg": "vector",
    ".csv": "run_lengths",
    ".png": "colors",
}
_STRIP: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSource:
    """A label file with the options that determine its classes.

    Parameters
    ----------
    path : Path
        The file.
    form : str
        Form of the labels: ``codes``, ``colors``, ``vector`` or ``run_lengths``.
    class_field : str or None
        Attribute of a vector file with the class; None for the layer's name.
    layer : tuple of str or None
        Layers of a vector file; None for all.
    encoding : str or None
        Encoding of the text of a Shapefile.
    band : int
        Band of a raster of codes, from 1.
    """

    path: Path
    form: Form
    class_field: str | None = None
    layer: tuple[str, ...] | None = None
    encoding: str | None = None
    band: int = 1

    def with_class_field(self, *, alone: bool) -> LabelSource:
        """Return the source of a vector file with its class attribute determined by `class_field_of`."""
        field = class_field_of(
            self.path, self.class_field, layer=self.layer, encoding=self.encoding, alone=alone
        )
        return replace(self, class_field=field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Classes of labels, and the meaning of a file's label values."""

    legend: Legend
    meanings: Meanings


def form_of_source(path: Path, *, band: int = 1) -> Form:
    """Detect the form of a label file by its content, or by its extension for tables: the one rule of all commands.

    A raster with a colour table, PNG or TIFF, is one of codes, and its table gives their colours; a picture with red,
    green and blue is one of colours.

    Parameters
    ----------
    path : Path
        The file.
    band : int
        Band that holds the codes, from 1; who names another than the first says that it is no picture.

    Raises
    ------
    SceneError
        If it cannot be opened.
    """
    if path.suffix.lower() == ".csv":
        return "run_lengths"
    kind = kind_by_name(path)
    with suppress(OSError):  # whoever reads it says why
        kind = kind_of(path) or kind
    if kind is not None and kind.holds == "vector":
        return "vector"
    scene = Scene.open(path, palette_as_codes=True, allow_remote=None)
    if scene.file.location.driver in _PICTURES:
        colored = scene.count > 1
    else:
        colored = scene.count == 3 and scene.dtype == np.uint8 and TASK_TAG not in scene.file.tags
    return "colors" if colored and band == 1 else "codes"


def is_multilabel(path: Path, form: Form) -> bool:
    """Tell whether a raster is tagged as having one band of 0 and 1 per class."""
    return (
        form == "codes" and TASK_TAG in Scene.open(path, palette_as_codes=True, allow_remote=None).file.tags
    )


def form_of_target(path: Path) -> Form:
    """Return the form of labels that a file name asks for.

    Raises
    ------
    OptionError
        If labels are not written in such files.
    """
    form = _TARGETS.get(path.suffix.lower())
    if path.suffix.lower() == ".shp":
        raise OptionError(f"{path}: {NO_SHAPEFILES}; expected a name that ends in .gpkg")
    if form is None:
        raise OptionError(
            f"{path}: labels are written as .tif (codes), .gpkg (polygons), .csv (run lengths) or .png (colours), "
            "expected a name with one of these extensions"
        )
    return form


def classes_of(
    source: LabelSource,
    given: Legend | None,
    unlabelled: str | None,
    labels: Mapping[int, Sequence[LabelValue]] | None = None,
) -> Classes:
    """Return the given classes, or those found in a file.

    Codes that are found are kept if they fit a class map; names are numbered from 1.

    Parameters
    ----------
    source : Source
        Label file.
    given : Legend or None
        Classes, whose codes are the label values of rasters, whose names (or codes) are those of vector files, whose
        names are those of run lengths, and whose colours are those of pictures.
    unlabelled : str or None
        Name or code of the class of unlabelled pixels; ``background`` is added with code 0 if it is not a class.
    labels : mapping of int to sequence of int or str, optional
        Label values of given classes, by code, in place of those named above.

    Raises
    ------
    DataError, OptionError
        If the file cannot be read, or the classes are ambiguous.
    """
    code_of: dict[LabelValue, int] = {}
    if given is not None:
        legend = given
        for c in given.classes:
            for value in map(plain, (labels or {}).get(c.code) or own_values(c, source.form)):
                if code_of.setdefault(value, c.code) != c.code:
                    raise OptionError(
                        f"{value!r} means two of the classes, expected one; name them otherwise"
                    )
    else:
        found = _found(source)
        kept = all(isinstance(c.value, int) and 0 <= c.value < NODATA for c in found)
        codes = [int(c.value) if kept else i for i, c in enumerate(found, start=1)]
        legend = _legend(found, codes, source.path)
        code_of = {plain(c.value): code for c, code in zip(found, codes, strict=True)}
    rest = UNKNOWN
    if unlabelled is not None:
        legend, rest = _with_rest(legend, unlabelled)
    meanings = Meanings(
        codes=legend.codes,
        code_of=code_of,
        unlabelled=rest,
        remedy=Message("name all of them with {classes}, or leave it out and the labels' own are taken"),
    )
    return Classes(legend=legend, meanings=meanings)


def own_values(c: LegendClass, form: str) -> tuple[LabelValue, ...]:
    """Return the label values that mean a class of a legend where none are given: codes, colours or names."""
    own: dict[str, tuple[LabelValue, ...]] = {
        "codes": (c.code,),
        "grey": (c.code,),
        "colors": (c.color,),
        "run_lengths": (c.name,),
        "vector": (c.code, c.name),
    }
    return own.get(form, ())


def _found(source: LabelSource) -> Sequence[FoundClass]:
    """Return the classes found in a file, at least one."""
    found: Sequence[FoundClass]
    match source.form:
        case "codes":
            found = _found_layers(source.path) or found_codes(source.path, band=source.band)
        case "vector":
            found = found_values(
                source.path, layer=source.layer, class_field=source.class_field, encoding=source.encoding
            )
        case "run_lengths":
            names = read_table(source.path).classes
            found = [
                FoundClass(value=name or "class 1", name=name or "class 1", color=None) for name in names
            ]
        case "colors":
            found = _found_colors(source.path)
    if not found:
        raise DataError(f"{source.path}: holds no class, expected at least one labelled pixel")
    return found


def _found_layers(path: Path) -> list[FoundClass]:
    """Return the classes of a raster tagged as having one band per class; empty for any other."""
    tags = Scene.open(path, palette_as_codes=True, allow_remote=None).file.tags
    if TASK_TAG not in tags:
        return []
    legend = legend_from_json(tags.get(LEGEND_TAG, ""))
    return [FoundClass(value=c.code, name=c.name, color=c.color) for c in legend.classes]


def _found_colors(path: Path) -> list[FoundClass]:
    """Return the colours of a picture, ascending."""
    scene, scale = open_picture(path)
    height, width = scene.grid.shape
    found: set[int] = set()
    for row in range(0, height, _STRIP):
        chip = scene.read(Window(row=row, col=0, height=min(_STRIP, height - row), width=width))
        rgb = np.broadcast_to(chip.pixels[:, chip.valid], (3, int(chip.valid.sum()))).astype(np.uint32)
        red, green, blue = rgb * (255 // scale)
        found.update(np.unique((red << 16) | (green << 8) | blue).tolist())
        if len(found) > NODATA:
            raise DataError(
                f"{path}: holds more than {NODATA} colours, expected one for each class; is it an image?"
            )
    colors = [f"#{packed:06x}" for packed in sorted(found)]
    return [FoundClass(value=color, name=color, color=color) for color in colors]


def _legend(found: Sequence[FoundClass], codes: Sequence[int], path: Path) -> Legend:
    """Make a legend of found classes: equal names are distinguished by codes, missing colours are chosen."""
    if len(found) > NODATA:
        raise DataError(f"{path}: holds {plural(len(found), 'class')}, expected at most {NODATA}")
    names: set[str] = set()
    classes = []
    for c, code in zip(found, codes, strict=True):
        name = f"{c.name} ({code})" if c.name in names else c.name
        names.add(name)
        classes.append((code, name, c.color.lower() if c.color else None))
    return Legend.of(classes)


def _with_rest(legend: Legend, unlabelled: str) -> tuple[Legend, int]:
    """Return the legend with the class of unlabelled pixels, and the code of that class."""
    for c in legend.classes:
        if unlabelled in (c.name, str(c.code)):
            return legend, c.code
    if unlabelled != BACKGROUND or 0 in legend.codes:
        raise OptionError(
            f"{unlabelled!r} is not a class for unlabelled pixels, expected one of {', '.join(legend.names)}, or "
            f"{BACKGROUND} if no class has code 0"
        )
    return Legend.of([(0, BACKGROUND, None), *((c.code, c.name, c.color) for c in legend.classes)]), 0
