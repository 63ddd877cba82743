"""Classes that may overlap: a coverage for each, in a layer of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from string import punctuation

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.vector.arrow_writer import check_layer_name
from geoseg.vector.bands import Band
from geoseg.vector.features import Features
from geoseg.vector.polygonize import polygonize
from geoseg.vector.runs import Bools
from geoseg.vector.stream import Wanted, polygonize_strips

Confidence = npt.NDArray[np.uint8]


def polygonize_layers(
    present: Callable[[int], Bools],
    grid: Grid,
    legend: Legend,
    confidence: Callable[[int], Confidence] | None = None,
) -> Features:
    """Turn every 4-connected region where a class is into one polygon, class by class.

    Law: rasterizing the polygons of a class gives its layer; they are a valid coverage.

    Parameters
    ----------
    present : callable
        Called with the number of a class in the legend, from 0: (row, col) bool, True where the class is.
        One layer is held at a time.
    grid : Grid
    legend : Legend
    confidence : callable, optional
        Called likewise: (row, col) uint8, as `polygonize` takes it.
    """
    parts = []
    for index, c in enumerate(legend.classes):
        inside = present(index)
        share = None if confidence is None else confidence(index)
        found = polygonize(inside.view(np.uint8), inside, grid, confidence=share)
        parts.append(replace(found, class_code=np.full(len(found), c.code, np.int64), legend=legend))
    return Features.joined(parts, legend)


def stream_layer(
    strips: Iterable[Band], wanted: Wanted, index: int, *, workers: int = 1, rows: int | None = None
) -> Iterator[Features]:
    """Turn the regions of one class of several that may overlap into polygons, strip by strip.

    Where lines are redrawn, those between the class and where it is not are: then polygons of both are traced, for
    borders of no data stay.

    Parameters
    ----------
    strips : iterable of Band
        Of code 1 where the class is, and of 0 where it is not.
    wanted : Wanted
        With the legend of all classes.
    index : int
        Number of the class in the legend.
    workers, rows
        As `polygonize_strips` takes them.
    """
    legend = wanted.legend
    assert legend is not None
    if wanted.outline is None:
        strips = (replace(strip, valid=strip.valid & (strip.codes == 1)) for strip in strips)
    for both in polygonize_strips(strips, wanted, workers=workers, rows=rows):
        part = both.of_codes(np.ones(1, np.int64))
        code = np.full(len(part), legend.classes[index].code, np.int64)
        yield replace(part, class_code=code, legend=legend)


LAYER = "landcover"
"""Name of the layer of a class map, where the person gives none."""


def layer_names_of(legend: Legend | None, layer: str | None) -> str | dict[int, str]:
    """Return the name of a class map's layer, or with the legend of a multilabel map its `layer_names`.

    Raises
    ------
    OptionError
        If a GeoPackage cannot hold a layer of the name.
    """
    if legend is not None:
        return layer_names(legend, layer)
    name = LAYER if layer is None else layer
    check_layer_name(name)
    return name


def layer_names(legend: Legend, prefix: str | None = None) -> dict[int, str]:
    """Names of the layers of classes, by code: the class's name as a GeoPackage can hold it.

    Law: every name is usable and no two are the same, in whatever case.

    Parameters
    ----------
    legend : Legend
    prefix : str, optional
        Stands before each name.

    Raises
    ------
    OptionError
        If no layer's name can begin with the prefix.
    """
    if prefix is not None:
        check_layer_name(prefix)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for c in legend.classes:
        text = "".join(sign if sign.isprintable() else " " for sign in c.name).strip()
        name = f"{prefix} {text}" if prefix else text.lstrip(punctuation.replace("_", "") + " ")
        if not _usable(name):
            name = f"class {c.code} {name}".rstrip()
        while name.lower() in taken:
            name += f" ({c.code})"
        taken.add(name.lower())
        names[c.code] = name
    return names


def _usable(name: str) -> bool:
    try:
        check_layer_name(name)
    except OptionError:
        return False
    return True
