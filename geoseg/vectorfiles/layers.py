"""Multilabel maps as polygons: classes may overlap, so each is a coverage in a layer of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from string import punctuation

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons.features import Features
from geoseg.polygons.polygonize import polygonize
from geoseg.polygons.runs import Bools
from geoseg.polygons.stream import Wanted, polygonize_strips
from geoseg.polygons.strips import MapRows
from geoseg.vectorfiles.arrow_writer import check_layer_name

Confidence = npt.NDArray[np.uint8]


def polygonize_layers(
    present: Callable[[int], Bools],
    grid: Grid,
    legend: Legend,
    confidence: Callable[[int], Confidence] | None = None,
) -> Features:
    """Turn every 4-connected region of each class into one polygon, class by class.

    Law: rasterizing the polygons of a class gives its layer; they are a valid coverage.

    Parameters
    ----------
    present : callable
        Takes the index of a class in the legend, from 0, and returns (row, col) bool, True where the class is
        present. One layer is in memory at a time.
    grid : Grid
        Grid of the layers.
    legend : Legend
        Classes of the layers.
    confidence : callable, optional
        Takes the same index and returns (row, col) uint8, as for `polygonize`.
    """
    parts = []
    for index, c in enumerate(legend.classes):
        inside = present(index)
        share = None if confidence is None else confidence(index)
        found = polygonize(inside.view(np.uint8), inside, grid, confidence=share)
        parts.append(replace(found, class_code=np.full(len(found), c.code, np.int64), legend=legend))
    return Features.joined(parts, legend)


def stream_layer(
    strips: Iterable[MapRows], wanted: Wanted, index: int, *, workers: int = 1, rows: int | None = None
) -> Iterator[Features]:
    """Turn the regions of one of several overlapping classes into polygons, strip by strip.

    If boundaries are redrawn, polygons of presence and absence are traced, because only boundaries between two
    regions are redrawn, not those with no data.

    Parameters
    ----------
    strips : iterable of Band
        Strips with code 1 where the class is present, else 0.
    wanted : Wanted
        Requested polygons, with the legend of all classes.
    index : int
        Index of the class in the legend.
    workers, rows
        Number of threads and of rows, as for `polygonize_strips`.
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
"""Default name of the layer of a class map."""


def layer_names_of(legend: Legend | None, layer: str | None) -> str | dict[int, str]:
    """Return the layer name of a class map, or the `layer_names` of a multilabel map, given its legend.

    Raises
    ------
    OptionError
        If the name is not allowed in a GeoPackage.
    """
    if legend is not None:
        return layer_names(legend, layer)
    name = LAYER if layer is None else layer
    check_layer_name(name)
    return name


def layer_names(legend: Legend, prefix: str | None = None) -> dict[int, str]:
    """Return the layer names of classes by code: class names adapted to GeoPackages.

    Law: every name is allowed and unique, ignoring case.

    Parameters
    ----------
    legend : Legend
        Classes to name layers for.
    prefix : str, optional
        Text before each name.

    Raises
    ------
    OptionError
        If layer names cannot begin with the prefix.
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
