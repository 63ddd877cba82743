"""Labels of any form on the grid of a class map, read as class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, Message, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.colored_labels import ColoredLabels
from geoseg.labels.forms import LabelSource, classes_of, form_of_source
from geoseg.labels.label import UNKNOWN, Expected, Labels, LabelValue, plain
from geoseg.labels.overlap import OVERLAP, Overlap
from geoseg.labels.run_lengths import RunLengthLabels
from geoseg.labels.vector_labels import VectorLabels
from geoseg.raster.file_kinds import GEOTIFF
from geoseg.vectorfiles.class_names import NAME

IGNORED = -1
"""Class index of pixels that do not count."""

Indices = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOptions:
    """What a person says about the reference labels.

    Parameters
    ----------
    class_field : str, optional
        Attribute of vectors with the class.
    layer : str, optional
        Layer of a vector file; all by default.
    encoding : str, optional
        Text encoding of a Shapefile that does not declare it.
    band : int
        Band of a raster with the class codes, from 1.
    overlap : str
        Class of pixels in shapes of several classes: of the ``smallest``, of the ``last``, or ``ignore``.
    all_touched : bool
        Whether every touched pixel is labelled, instead of those whose centre is covered.
    buffer : float
        Buffer around lines and points, in units of the map's CRS.
    unlabelled : str, optional
        Class of pixels that no label covers; unknown by default.
    ignore : sequence of str
        Label values that do not count, since the map has no such class.
    class_labels : mapping of str to sequence of str or int
        Label values that mean a class of the map, by its name; classes that are not named have their own.
    """

    class_field: str | None = None
    layer: str | None = None
    encoding: str | None = None
    band: int = 1
    overlap: Overlap = OVERLAP
    all_touched: bool = False
    buffer: float = 0.0
    unlabelled: str | None = None
    ignore: Sequence[str] = ()
    class_labels: Mapping[str, Sequence[str | int]] = field(default_factory=dict)

    def values_of(self, legend: Legend) -> dict[int, list[LabelValue]]:
        """Return the label values of the classes in `class_labels`, by code; texts of digits as numbers, too.

        Raises
        ------
        OptionError
            If the legend has no such class.
        """
        codes = {plain(name): code for name, code in zip(legend.names, legend.codes, strict=True)}
        found = {}
        for name, values in self.class_labels.items():
            if plain(name) not in codes:
                raise OptionError(
                    f"class_labels has {name!r}, which is no class of the map, expected of {', '.join(legend.names)}"
                )
            found[codes[plain(name)]] = _readings_of(values)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Reference labels on the grid of a map.

    Parameters
    ----------
    labels : Labels
        The labels, whose codes are the places of the classes in the map's legend, from 0.
    """

    labels: Labels

    @classmethod
    def open(
        cls, path: Path, legend: Legend, grid: Grid, image: str, options: ReferenceOptions, *, layered: bool
    ) -> Reference:
        """Open labels of any form.

        Parameters
        ----------
        path : Path
            The label file.
        legend : Legend
            Classes of the map: label values are their names or codes, for pictures their colours.
        grid : Grid
            Grid of the map; labels on another grid or in another CRS are brought onto it.
        image : str
            File name by which a table of run lengths names the image.
        options : ReferenceOptions
            How the labels are read.
        layered : bool
            Whether classes may overlap.

        Raises
        ------
        DataError, OptionError
            If the labels cannot be read, or have a value that is no class of the map.
        """
        form = form_of_source(path, band=options.band)
        if layered and form == "colors" and path.suffix.lower() in GEOTIFF.endings:
            form = "codes"  # one band of 0 and 1 per class: three of them look like a picture
        source = LabelSource(
            path=path,
            form=form,
            class_field=options.class_field,
            layer=None if options.layer is None else (options.layer,),
            encoding=options.encoding,
            band=options.band,
        )
        if source.form == "vector":
            source = source.with_class_field(alone=True)
        classes = classes_of(source, legend, options.unlabelled, options.values_of(legend))
        if len(classes.legend.codes) > len(legend.codes):
            raise DataError(
                f"{options.unlabelled!r} is no class of the map, expected one of {', '.join(legend.names)}"
            )
        index = {code: number for number, code in enumerate(legend.codes)} | {UNKNOWN: UNKNOWN}
        known: dict[LabelValue, int] = {
            value: index[code] for value, code in classes.meanings.code_of.items()
        }
        meanings = replace(
            classes.meanings,
            codes=tuple(range(len(legend.codes))),
            code_of=known | {plain(value): UNKNOWN for value in _readings_of(options.ignore)},
            unlabelled=index[classes.meanings.unlabelled],
            remedy=Message(
                "name those that the map does not have with {ignore}, and those that mean one of its classes with "
                "{class_labels}"
            ),
            expected=Expected(
                whose="the map",
                names=dict(enumerate(legend.names)),
                given=frozenset(index[code] for code in options.values_of(legend)),
                remedy=Message("say which of its numbers mean which class of the map with {class_labels}"),
                by_name=Message("let its names count with {class_field}", class_field=NAME),
            ),
        )
        labels: Labels
        match source.form:
            case "codes":
                labels = CodedLabels.open(path, grid, meanings, layered=layered, band=options.band)
            case "colors":
                labels = ColoredLabels.open(path, grid, meanings, layered=layered)
            case "run_lengths":
                labels = RunLengthLabels.open(path, image, grid, meanings, layered=layered)
            case "vector":
                labels = VectorLabels.open(
                    path, grid, meanings, layered=layered, layer=source.layer, class_field=source.class_field,
                    encoding=options.encoding, buffer=options.buffer, all_touched=options.all_touched,
                    overlap=options.overlap,
                )  # fmt: skip
        return cls(labels=labels)

    def indices(self, window: Window, layer: int | None = None) -> Indices:
        """Return the class index (row, col) of the pixels of a window, IGNORED where it is unknown.

        Parameters
        ----------
        window : Window
            Part of the map.
        layer : int, optional
            Of overlapping classes: the class of which 1 (present) and 0 (absent) is returned.
        """
        codes = self.labels.read(window)
        found = (codes if layer is None else codes[layer]).astype(np.int16)
        return np.where(found == UNKNOWN, np.int16(IGNORED), found)


def _readings_of(values: Sequence[str | int]) -> list[LabelValue]:
    """Return label values as they are, and texts of digits as numbers, too."""
    found: list[LabelValue] = []
    for value in values:
        found.append(value)
        if isinstance(value, str) and value.isdigit():
            found.append(int(value))
    return found
