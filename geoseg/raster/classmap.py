"""Class maps as files: those geoseg writes, and those from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError, LegendError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass, made_up_color
from geoseg.grid.qml import layered_qml, raster_qml
from geoseg.grid.window import Window
from geoseg.raster.cache import limited_cache
from geoseg.raster.categories import categories_to_xml, read_categories
from geoseg.raster.description import RGBA
from geoseg.raster.legend_file import LEGEND_TAG, TASK_TAG, legend_from_json
from geoseg.raster.scene import Scene
from geoseg.raster.verified_cog import write_cog

__all__ = ["ClassMap", "LayeredMap", "class_map_sidecars", "read_class_map", "read_map", "write_cog"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMap:
    """A class map in memory.

    Parameters
    ----------
    codes : ndarray of integers, shape (row, col)
    valid : ndarray of bool, shape (row, col)
    grid : Grid
    legend : Legend or None
        None where the file says nothing about its codes.
    """

    codes: npt.NDArray[np.integer[Any]]
    valid: npt.NDArray[np.bool_]
    grid: Grid
    legend: Legend | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayeredMap:
    """A multilabel map: classes may overlap, so each has a layer, which is read when it is wanted.

    Parameters
    ----------
    legend : Legend
        A class for each layer, in the same order.
    grid : Grid
    layer : callable
        Called with the number of a layer, from 0: (row, col) numbers, 1 where the class is, 0 where it is
        not, and (row, col) bool, what is valid of it.
    """

    legend: Legend
    grid: Grid
    layer: Callable[[int], tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]


def class_map_sidecars(legend: Legend, *, layered: bool = False) -> dict[str, str]:
    """Texts that go beside a class map, by suffix: its QGIS style and its category names."""
    if layered:
        names = ({0: f"not {c.name}", 1: c.name} for c in legend.classes)
        return {".qml": layered_qml(legend), ".aux.xml": categories_to_xml(*names)}
    names_of_codes = {c.code: c.name for c in legend.classes}
    return {".qml": raster_qml(legend), ".aux.xml": categories_to_xml(names_of_codes)}


def read_map(path: str | os.PathLike[str], *, legend: Legend | None = None) -> ClassMap | LayeredMap:
    """Read a class map, or open a multilabel map that geoseg wrote, which its tag ``GEOSEG_TASK`` says.

    Parameters
    ----------
    path : path-like
    legend : Legend, optional
        In place of the file's own. That is looked for in the tag ``GEOSEG_LEGEND``, then in the category
        names of ``.aux.xml`` with the colour table, then in the colour table alone.

    Raises
    ------
    ClassMapError
        If it is no such map or cannot be read.
    """
    try:
        scene = Scene.open(path, palette_as_codes=True)
        if TASK_TAG in scene.file.tags:
            return _layered(scene, legend)
        if scene.count != 1:
            raise ClassMapError(
                f"{path}: has {scene.count} bands, expected one band of class codes; an image becomes a class map "
                "with geoseg predict"
            )
        codes, valid = _read_all(scene)
    except SceneError as error:
        raise ClassMapError(str(error)) from error
    if codes.dtype.kind == "f":
        codes = _whole_numbers(codes, valid, path)
    legend = legend or _own_legend(scene, codes, valid)
    return ClassMap(codes=codes, valid=valid, grid=scene.grid, legend=legend)


def read_class_map(path: str | os.PathLike[str], *, legend: Legend | None = None) -> ClassMap:
    """Read a class map as `read_map` does: one band of whole numbers, from geoseg or not.

    Raises
    ------
    ClassMapError
        If it is no class map or cannot be read.
    """
    found = read_map(path, legend=legend)
    if isinstance(found, LayeredMap):
        raise ClassMapError(
            f"{path}: is a multilabel map with a band for each of {len(found.legend.classes)} classes, "
            "expected one band of class codes"
        )
    return found


def _layered(scene: Scene, given: Legend | None) -> LayeredMap:
    """Open a map with a band a class."""
    legend = given or _tagged_legend(scene)
    task, count = scene.file.tags[TASK_TAG], len(scene.descriptions)
    if task != "multilabel" or legend is None or len(legend.classes) != count or scene.alpha_band:
        classes = len(legend.classes) if legend else 0
        raise ClassMapError(
            f"{scene.path}: is tagged {TASK_TAG} {task} with {count} bands and {classes} classes, expected "
            "multilabel with a band for each class"
        )

    def layer(index: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        try:
            return _read_all(scene.select([index + 1], validity_band=None))
        except SceneError as error:
            raise ClassMapError(str(error)) from error

    return LayeredMap(legend=legend, grid=scene.grid, layer=layer)


def _read_all(scene: Scene) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read the whole scene a few block rows at a time, so that only the result is large."""
    height, width = scene.grid.shape
    block = scene.block_shape[0]
    step = min(height, max(block, 512 // block * block))
    codes = np.empty((height, width), dtype=scene.dtype)
    valid = np.empty((height, width), dtype=bool)
    with limited_cache():
        for row in range(0, height, step):
            window = Window(row=row, col=0, height=min(step, height - row), width=width)
            chip = scene.read(window)
            codes[row : window.row_stop], valid[row : window.row_stop] = chip.pixels[0], chip.valid
    return codes, valid


def _whole_numbers(
    codes: npt.NDArray[np.floating[Any]], valid: npt.NDArray[np.bool_], path: str | os.PathLike[str]
) -> npt.NDArray[np.int32]:
    """Return floats as integers, where every valid one is a whole number."""
    whole = np.where(valid, codes, 0)
    wrong = (whole != np.floor(whole)) | (np.abs(whole) > np.iinfo(np.int32).max)
    if wrong.any():
        raise ClassMapError(f"{path}: holds {whole[wrong][0]:g}, expected whole numbers; is it a class map?")
    return whole.astype(np.int32)


def _own_legend(
    scene: Scene, codes: npt.NDArray[np.integer[Any]], valid: npt.NDArray[np.bool_]
) -> Legend | None:
    """Return the legend that a file carries, or None."""
    if tagged := _tagged_legend(scene):
        return tagged
    names = read_categories(Path(scene.file.location.name))
    colors = dict(scene.file.palette or ())
    if not names and not colors:
        return None
    present = _present(codes, valid)
    return _legend_of(sorted({*names, *present} if names else present), names, colors)


def _tagged_legend(scene: Scene) -> Legend | None:
    """Return the legend in the tag of a file that geoseg wrote, or None."""
    tag = scene.file.tags.get(LEGEND_TAG)
    if not tag:
        return None
    try:
        return legend_from_json(tag)
    except LegendError as error:
        raise ClassMapError(f"{scene.path}: {error}; pass a legend of your own") from error


def _present(codes: npt.NDArray[np.integer[Any]], valid: npt.NDArray[np.bool_]) -> Sequence[int]:
    """Codes of valid pixels."""
    if codes.dtype.itemsize <= 2:
        shift = int(np.iinfo(codes.dtype).min)
        counts = np.bincount(codes[valid].astype(np.intp) - shift)
        return [int(i) + shift for i in np.flatnonzero(counts)]
    return [int(i) for i in np.unique(codes[valid])]


def _legend_of(codes: Sequence[int], names: dict[int, str], colors: dict[int, RGBA]) -> Legend | None:
    """Legend of codes: names made up where missing or repeated, colours where missing."""
    classes, taken = [], set()
    for i, code in enumerate(codes):
        name = names.get(code, f"class {code}")
        name = f"{name} ({code})" if name in taken else name
        taken.add(name)
        color = "#{:02x}{:02x}{:02x}".format(*colors[code][:3]) if code in colors else made_up_color(i)
        classes.append(LegendClass(code=code, name=name, color=color))
    return Legend(classes=tuple(classes)) if classes else None
