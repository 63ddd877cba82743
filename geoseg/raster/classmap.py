"""Class maps in files: those of geoseg and those from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError, LegendError, Message, OptionError, SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.grid.qml import layered_qml, raster_qml
from geoseg.grid.window import Window
from geoseg.raster.attribute_table import KnownClasses, categories_to_xml
from geoseg.raster.cache import limited_cache
from geoseg.raster.known_classes import known_classes
from geoseg.raster.legend_file import LEGEND_TAG, TASK_TAG, legend_from_json
from geoseg.raster.scene import Scene
from geoseg.raster.verified_cog import write_cog

__all__ = [
    "ClassMap",
    "LayeredMap",
    "StoredMap",
    "Strip",
    "class_map_sidecars",
    "nodata_of",
    "open_map",
    "read_class_map",
    "read_map",
    "write_cog",
]

_WIDE_NODATA = 2**16 - 1

Strip: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]
"""Consecutive rows of a map: codes and validity, both (row, col)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMap:
    """A class map in memory.

    Parameters
    ----------
    codes : ndarray of integers, shape (row, col)
        Class codes.
    valid : ndarray of bool, shape (row, col)
        True for pixels that have a class.
    grid : Grid
        Grid of the map.
    legend : Legend or None
        Meaning of the codes; None if the file does not tell it.
    """

    codes: npt.NDArray[np.integer[Any]]
    valid: npt.NDArray[np.bool_]
    grid: Grid
    legend: Legend | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredMap:
    """A class map in a file, read on demand.

    Parameters
    ----------
    scene : Scene
        The raster file, with the band of codes chosen.
    legend : Legend or None
        Names and colours that take precedence over the file's own.
    """

    scene: Scene
    legend: Legend | None = None

    @property
    def grid(self) -> Grid:
        """Grid of the map."""
        return self.scene.grid

    def strips(self) -> Iterator[Strip]:
        """Read the map from top to bottom, codes as integers.

        Raises
        ------
        ClassMapError
            If the file cannot be read or has fractional values.
        """
        for codes, valid in _read_strips(self.scene):
            if codes.dtype.kind == "f":
                codes = _whole_numbers(codes, valid, self.scene.path)
            yield codes, valid
            del codes, valid  # before the next ones are read

    def legend_of(self, present: Iterable[int]) -> Legend | None:
        """Return the given legend, completed by the file's own and by the codes that are present.

        Names do not depend on which codes are present.
        """
        first = self.scene.bands == (1,)  # the file's names and colours belong to its first band
        own = _own_legend(self.scene, present) if first else None
        return own if self.legend is None else self.legend.over(own)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayeredMap:
    """A multilabel map: classes may overlap, so each has its own layer, read on demand.

    Parameters
    ----------
    legend : Legend
        One class per layer, in the same order.
    grid : Grid
        Grid of the map.
    strips : callable
        Takes the index of a layer, from 0, and yields its rows from top to bottom: 1 where the class is present,
        else 0.
    """

    legend: Legend
    grid: Grid
    strips: Callable[[int], Iterable[Strip]]

    def layer(self, index: int) -> Strip:
        """Read a layer as a whole."""
        return _whole(self.strips(index))


def nodata_of(legend: Legend) -> np.uint8 | np.uint16:
    """Return the no-data code of a map of these classes: the largest value of its type.

    It is 255 in uint8, or 65535 in uint16 if a code is above 254.

    Raises
    ------
    LegendError
        If a code does not fit into uint16.
    """
    if min(legend.codes) >= 0 and max(legend.codes) < NODATA:
        return np.uint8(NODATA)
    wrong = [code for code in legend.codes if not 0 <= code < _WIDE_NODATA]
    if wrong:
        raise LegendError(
            f"class codes {', '.join(map(str, wrong[:8]))} do not fit a class map, expected 0 to {_WIDE_NODATA - 1}"
        )
    return np.uint16(_WIDE_NODATA)


def class_map_sidecars(legend: Legend, *, layered: bool = False) -> dict[str, str]:
    """Return the texts of a class map's sidecars by suffix: QGIS style and category names."""
    if layered:
        names = ({0: f"not {c.name}", 1: c.name} for c in legend.classes)
        return {".qml": layered_qml(legend), ".aux.xml": categories_to_xml(*names)}
    names_of_codes = {c.code: c.name for c in legend.classes}
    return {".qml": raster_qml(legend), ".aux.xml": categories_to_xml(names_of_codes)}


def read_map(path: str | os.PathLike[str], *, legend: Legend | None = None) -> ClassMap | LayeredMap:
    """Read a class map, or open a multilabel map of geoseg (recognised by its tag ``GEOSEG_TASK``).

    Parameters
    ----------
    path : path-like
        Raster file of the map.
    legend : Legend, optional
        Names and colours that take precedence over the file's own, which `known_classes` finds.

    Raises
    ------
    ClassMapError
        If the file is not such a map or cannot be read.
    """
    found = open_map(path, legend=legend)
    if isinstance(found, LayeredMap):
        return found
    codes, valid = _whole(found.strips())
    return ClassMap(codes=codes, valid=valid, grid=found.grid, legend=found.legend_of(_present(codes, valid)))


def open_map(
    path: str | os.PathLike[str], *, legend: Legend | None = None, band: int | None = None
) -> StoredMap | LayeredMap:
    """Open a map as `read_map` does, without reading its pixels.

    Parameters
    ----------
    path : path-like
        Raster file of the map.
    legend : Legend, optional
        Names and colours that take precedence over the file's own.
    band : int, optional
        Number from 1 of the band of class codes, for files with several bands.

    Raises
    ------
    ClassMapError
        If the file is not such a map.
    """
    try:
        scene = Scene.open(path, palette_as_codes=True, allow_remote=None)
    except SceneError as error:
        raise error.into(ClassMapError) from error
    if TASK_TAG in scene.file.tags and band is not None:
        raise OptionError(
            f"{path}: is a multilabel map, whose bands are its classes; choose by class, not by band"
        )
    if TASK_TAG in scene.file.tags:
        return _layered(scene, legend)
    if band is not None:
        validity = scene.validity_band if scene.validity_band != band else None
        scene = scene.select([band], validity_band=validity)
    if scene.count != 1:
        raise ClassMapError(
            f"{path}: has {plural(scene.count, 'band')}, expected one band of class codes",
            Message("{band} says which one holds them, and an image becomes a class map with geoseg predict"),
        )
    return StoredMap(scene=scene, legend=legend)


def read_class_map(path: str | os.PathLike[str], *, legend: Legend | None = None) -> ClassMap:
    """Read a class map as `read_map` does: one band of whole numbers.

    Raises
    ------
    ClassMapError
        If the file is not a class map or cannot be read.
    """
    found = read_map(path, legend=legend)
    if isinstance(found, LayeredMap):
        raise ClassMapError(
            f"{path}: is a multilabel map with a band for each of {plural(len(found.legend.classes), 'class')}, "
            "expected one band of class codes"
        )
    return found


def _layered(scene: Scene, given: Legend | None) -> LayeredMap:
    """Open a map with one band per class."""
    legend = layers_legend(_tagged_legend(scene), given)
    task, count = scene.file.tags[TASK_TAG], len(scene.descriptions)
    if task != "multilabel" or legend is None or len(legend.classes) != count or scene.alpha_band:
        classes = len(legend.classes) if legend else 0
        raise ClassMapError(
            f"{scene.path}: is tagged {TASK_TAG} {task} with {plural(count, 'band')} and "
            f"{plural(classes, 'class')}, expected "
            "multilabel with a band for each class"
        )

    def strips(index: int) -> Iterator[Strip]:
        return _read_strips(scene.select([index + 1], validity_band=None))

    return LayeredMap(legend=legend, grid=scene.grid, strips=strips)


def layers_legend(own: Legend | None, given: Legend | None) -> Legend | None:
    """Return the legend of layers: their own classes, renamed and recoloured by a given legend.

    Raises
    ------
    LegendError
        If the given legend names none of the classes.
    """
    return own if given is None else given if own is None else own.relabelled(given)


def _read_strips(scene: Scene) -> Iterator[Strip]:
    """Read a scene's first band in strips of whole block rows."""
    height, width = scene.grid.shape
    block = scene.block_shape[0]
    step = min(height, max(block, 512 // block * block))
    with limited_cache():
        for row in range(0, height, step):
            window = Window(row=row, col=0, height=min(step, height - row), width=width)
            try:
                chip = scene.read(window)
            except SceneError as error:
                raise error.into(ClassMapError) from error
            yield chip.pixels[0], chip.valid
            del chip  # before the next one is read


def _whole(strips: Iterable[Strip]) -> Strip:
    codes, valid = zip(*strips, strict=True)
    return np.concatenate(codes), np.concatenate(valid)


def _whole_numbers(
    codes: npt.NDArray[np.floating[Any]], valid: npt.NDArray[np.bool_], path: str | os.PathLike[str]
) -> npt.NDArray[np.int32]:
    """Convert floats to integers if every valid one is a whole number."""
    whole = np.where(valid, codes, 0)
    wrong = whole != np.floor(whole)
    if wrong.any():
        raise ClassMapError(f"{path}: holds {whole[wrong][0]:g}, expected whole numbers; is it a class map?")
    large = np.abs(whole) > np.iinfo(np.int32).max
    if large.any():
        raise ClassMapError(
            f"{path}: holds {whole[large][0]:.17g} as a float, expected whole numbers up to {np.iinfo(np.int32).max}; "
            "codes that large are read as integers: gdal_translate -ot Int64"
        )
    return whole.astype(np.int32)


def _own_legend(scene: Scene, present: Iterable[int]) -> Legend | None:
    """Return the legend that a file carries, or None."""
    tagged = _tagged_legend(scene)
    known = known_classes(scene.file)
    if not known.names and not known.colors:
        return None
    codes = {*known.names, *present}
    # A legend in geoseg's tag is complete; other files may have codes without a name.
    return _legend_of(codes if tagged is None else {*known.names}, known)


def _tagged_legend(scene: Scene) -> Legend | None:
    """Return the legend in the tag of a file that geoseg wrote, or None."""
    tag = scene.file.tags.get(LEGEND_TAG)
    if not tag:
        return None
    try:
        return legend_from_json(tag)
    except LegendError as error:
        raise ClassMapError(
            Message("{}: {}", scene.path, error), Message("pass a {legend} of your own")
        ) from error


def _present(codes: npt.NDArray[np.integer[Any]], valid: npt.NDArray[np.bool_]) -> list[int]:
    """Return the codes of the valid pixels."""
    if codes.dtype.itemsize <= 2:
        shift = int(np.iinfo(codes.dtype).min)
        counts = np.bincount(codes[valid].astype(np.intp) - shift)
        return [int(i) + shift for i in np.flatnonzero(counts)]
    return [int(i) for i in np.unique(codes[valid])]


def _legend_of(codes: set[int], known: KnownClasses) -> Legend | None:
    """Make a legend of codes: missing names are made up, repeated ones made unique, missing colours chosen.

    Named codes go first, so that their names do not depend on codes without a name.
    """
    names = known.names
    called: dict[int, str] = {}
    taken: set[str] = set()
    for code in sorted(codes, key=lambda code: (code not in names, code)):
        name = names.get(code, f"class {code}")
        name = f"{name} ({code})" if name in taken and code in names else name
        while name in taken:
            name += "'"
        taken.add(name)
        called[code] = name
    if not codes:
        return None
    return Legend.of((code, name, known.colors.get(code)) for code, name in called.items())
