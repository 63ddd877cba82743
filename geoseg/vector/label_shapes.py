"""Drawn labels brought onto an image: polygons, lines and points in its pixel coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.labels import UNKNOWN, Meanings, listed
from geoseg.raster.opening import signature_of
from geoseg.vector.reprojection import Reprojection
from geoseg.vector.vector_file import VectorLayer, read_features, total_bounds

if TYPE_CHECKING:
    import shapely

_BLOCK: Final = 512
"""Edge in px of the windows that are looked through for contradictions."""
_LATTICE: Final = 4096
"""Corners are rounded to this part of a pixel. Whole pixels can then be subtracted without any rounding, so
that a window's edges cross its rows where the image's do."""
_MOST_CORNERS: Final = 1024
_SMALLEST_CUT: Final = 64
"""Polygons of more corners than that, at least so many px across, are cut up: every window pays for all
corners of a polygon that it meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Which labels lie on an image, and how they are read.

    Parameters
    ----------
    path : Path
    layers : tuple of VectorLayer
    class_field : str or None
        Attribute that holds the class; None: the layer's name is the class.
    grid : Grid
        Of the image.
    meanings : Meanings
    buffer : float
        Half the width of lines and points, units of the image's CRS (px without georeference).
    """

    path: Path
    layers: tuple[VectorLayer, ...]
    class_field: str | None
    grid: Grid
    meanings: Meanings
    buffer: float

    @property
    def signature(self) -> tuple[int, int]:
        """Size and time of the file: what tells a changed one."""
        return signature_of(str(self.path), str(self.path))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelShapes:
    """Shapes that meet an image, ascending by code.

    Parameters
    ----------
    geometry : (shape,) object
        Single polygons, lines and points of shapely, px of the image: (col, row), on a lattice of 1/4096 px.
    code : (shape,) int16
        Legend code, or UNKNOWN.
    shape : (int, int)
        Rows and columns of the image.
    notes : tuple of str
        What a person should know about the labels.
    """

    geometry: npt.NDArray[np.object_]
    code: npt.NDArray[np.int16]
    shape: tuple[int, int]
    notes: tuple[str, ...] = ()

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Boxes of the shapes."""
        import shapely

        return shapely.STRtree(self.geometry)

    @cached_property
    def is_polygon(self) -> npt.NDArray[np.bool_]:
        """(shape,): polygons; the others count wherever they touch a pixel."""
        import shapely

        kinds: npt.NDArray[np.bool_] = shapely.get_dimensions(self.geometry) == 2
        return kinds

    def near(self, window: Window) -> npt.NDArray[np.intp]:
        """Find the shapes whose boxes meet a window: indices, ascending."""
        import shapely

        box = shapely.box(window.col, window.row, window.col_stop, window.row_stop)
        return np.sort(self.tree.query(box))

    def meetings(self) -> Iterator[Window]:
        """Windows of the image in which shapes of different codes may meet, none twice."""
        import shapely

        first, second = self.tree.query(self.geometry)
        differ = self.code[first] < self.code[second]
        first, second = first[differ], second[differ]
        boxes = shapely.bounds(self.geometry)
        low = np.maximum(boxes[first, :2], boxes[second, :2]) // _BLOCK
        high = np.minimum(boxes[first, 2:], boxes[second, 2:]) // _BLOCK + 1
        meets = np.zeros((-(-self.shape[0] // _BLOCK), -(-self.shape[1] // _BLOCK)), dtype=bool)
        for (left, top), (right, bottom) in zip(low.clip(min=0).astype(int), high.astype(int), strict=True):
            meets[top:bottom, left:right] = True
        for row, col in np.argwhere(meets).tolist():
            block = Window(row=row * _BLOCK, col=col * _BLOCK, height=_BLOCK, width=_BLOCK)
            part = block.within(self.shape)
            if part is not None:
                yield part


def load_shapes(recipe: Recipe, *, everything: bool = False) -> LabelShapes:
    """Read the shapes that meet an image, or all of them.

    Raises
    ------
    DataError
        If the file cannot be read, says nothing of the CRS, holds values without a meaning, or does not lie
        where the image lies.
    """
    import shapely

    parts: list[npt.NDArray[np.object_]] = []
    codes: list[npt.NDArray[np.int16]] = []
    counts = dict.fromkeys(("without class", "invalid", "lost"), 0)
    notes: list[str] = []
    for layer in recipe.layers:
        way = Reprojection.between(layer.crs, recipe.grid, path=recipe.path)
        bounds = None if everything else way.bounds_in_file(margin=recipe.buffer)
        features = read_features(recipe.path, layer, recipe.class_field, bounds)
        code, missing = _codes(recipe, layer, features.values, len(features.geometry))
        counts["without class"] += missing
        shapes = shapely.from_wkb(features.geometry, on_invalid="fix")
        shapes, code = _present(shapes, code)
        shapes, invalid = _valid(shapes)
        if _downwards(recipe.grid, shapes):
            shapes = shapely.transform(shapes, lambda xy: xy * (1, -1))
            notes.append(f"rows of layer {layer.name} count down from 0, as QGIS draws on plain images")
        counts["invalid"] += invalid
        shapes, code, lost = _in_pixels(recipe, way, shapes, code)
        if not everything:
            shapes, code = _on_image(recipe.grid, shapes, code)
        counts["lost"] += lost
        parts.append(shapes)
        codes.append(code)
        if way.note and way.note not in notes:
            notes.append(way.note)
    geometry, code = np.concatenate(parts), np.concatenate(codes)
    if not len(geometry):
        _check_absence(recipe)
    order = np.argsort(code, kind="stable")
    return LabelShapes(
        geometry=geometry[order], code=code[order], shape=recipe.grid.shape, notes=(*notes, *_words(counts))
    )


def missing_values(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where an attribute says nothing: null, not a number, blank."""
    return np.array(
        [v is None or v != v or (isinstance(v, str) and not v.strip()) for v in values], dtype=bool
    )


def _codes(
    recipe: Recipe, layer: VectorLayer, values: npt.NDArray[Any] | None, count: int
) -> tuple[npt.NDArray[np.int16], int]:
    """Legend code of every feature, UNKNOWN without a class, and how many are without."""
    meanings = recipe.meanings
    if values is None:
        code = meanings.code(layer.name)
        if code is None:
            raise DataError(
                f"{recipe.path}: has a layer {layer.name}, whose name means no class, expected {meanings.words}; "
                "choose layers, or name the attribute that holds the class (class_field)"
            )
        return np.full(count, code, dtype=np.int16), 0
    missing = missing_values(values)
    code_of = {value: meanings.code(value) for value in set(values[~missing].tolist())}
    strange = sorted((str(value) for value, code in code_of.items() if code is None))
    if strange:
        raise DataError(
            f"{recipe.path}: attribute {recipe.class_field} of layer {layer.name} holds {listed(strange)}, expected "
            f"{meanings.words}; name them in data.classes or data.ignore"
        )
    codes = np.full(count, UNKNOWN, dtype=np.int16)
    known = [code_of[value] or 0 for value in values[~missing].tolist()]
    codes[~missing] = known
    return codes, int(missing.sum())


def _present(
    shapes: npt.NDArray[np.object_], code: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int16]]:
    """Leave out what has no geometry."""
    import shapely

    kept = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    return shapes[kept], code[kept]


def _valid(shapes: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.object_], int]:
    """Make invalid geometries valid, and count them."""
    import shapely

    wrong = ~shapely.is_valid(shapes)
    shapes = shapes.copy()
    shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return shapes, int(wrong.sum())


def _downwards(grid: Grid, shapes: npt.NDArray[np.object_]) -> bool:
    """Whether shapes on an image without georeference lie below its first row, where QGIS shows such images."""
    import shapely

    if grid.crs is not None or not grid.transform.is_identity or not len(shapes):
        return False
    _, low, _, high = shapely.total_bounds(shapes)
    return bool(low < 0 and high <= 0)


def _in_pixels(
    recipe: Recipe, way: Reprojection, shapes: npt.NDArray[np.object_], code: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int16], int]:
    """Single shapes in px of the image, their codes, and how many could not be projected."""
    import shapely

    shapes, index = _single(way(shapes))
    code = code[index]
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes, code, lost = shapes[finite], code[finite], int((~finite).sum())
    if recipe.buffer > 0:
        thin = shapely.get_dimensions(shapes) < 2
        shapes[thin] = shapely.buffer(shapes[thin], recipe.buffer)
    inverse = ~recipe.grid.transform

    def to_pixels(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        col, row = inverse @ (xy[:, 0], xy[:, 1])
        corners: npt.NDArray[np.float64] = np.rint(np.column_stack([col, row]) * _LATTICE) / _LATTICE
        return corners

    shapes = shapely.transform(shapes, to_pixels)
    return shapes, code, lost


def _on_image(
    grid: Grid, shapes: npt.NDArray[np.object_], code: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int16]]:
    """Keep the shapes that meet the image; those of many corners in pieces."""
    import shapely

    height, width = grid.shape
    left, top, right, bottom = shapely.bounds(shapes).T
    meets = (right >= 0) & (bottom >= 0) & (left < width) & (top < height)
    shapes, code = shapes[meets], code[meets]
    many = (shapely.get_num_coordinates(shapes) > _MOST_CORNERS) & (shapely.get_dimensions(shapes) == 2)
    if many.any():
        pieces = [_cut_up(shape) if large else [shape] for shape, large in zip(shapes, many, strict=True)]
        code = np.repeat(code, [len(p) for p in pieces])
        shapes = np.array([shape for p in pieces for shape in p], dtype=object)
    return shapes, code


def _single(shapes: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.intp]]:
    """Members of multiple geometries and of collections, and whose members they are."""
    import shapely

    index = np.arange(len(shapes))
    while (shapely.get_type_id(shapes) > shapely.GeometryType.POLYGON).any():
        shapes, owner = shapely.get_parts(shapes, return_index=True)
        index = index[owner]
    return shapes.copy(), index


def _cut_up(polygon: Any) -> list[Any]:
    """Cut a polygon of many corners along pixel borders; every pixel's centre keeps its side."""
    import shapely

    left, top, right, bottom = polygon.bounds
    if (
        shapely.get_num_coordinates(polygon) <= _MOST_CORNERS
        or max(right - left, bottom - top) < _SMALLEST_CUT
    ):
        return [polygon]
    if right - left >= bottom - top:
        middle = float(round((left + right) / 2))
        halves = [(left, top, middle, bottom), (middle, top, right, bottom)]
    else:
        middle = float(round((top + bottom) / 2))
        halves = [(left, top, right, middle), (left, middle, right, bottom)]
    cut = [shapely.intersection(polygon, shapely.box(*half)) for half in halves]
    single, _ = _single(np.array(cut, dtype=object))
    return [piece for part in single if part.area > 0 for piece in _cut_up(part)]


def _check_absence(recipe: Recipe) -> None:
    """Raise DataError where an image without any shape cannot be meant.

    It can where the unlabelled rest is a class, and the labels lie around the image or there are none at all.
    """
    expected = recipe.meanings.unlabelled != UNKNOWN
    for layer in recipe.layers:
        extent = total_bounds(recipe.path, layer)
        wanted = Reprojection.between(layer.crs, recipe.grid, path=recipe.path).bounds_in_file(margin=0)
        if extent is None:
            continue
        if wanted is None or not expected or not _meet(extent, wanted):
            here = f"the image lies at {_corners(wanted)}" if wanted else "the image lies elsewhere"
            raise DataError(
                f"{recipe.path}: none of its features lies on the image (layer {layer.name} spans "
                f"{_corners(extent)}, {here} in the same CRS); do both have the right CRS?"
            )
    if not expected:
        raise DataError(f"{recipe.path}: holds no feature, expected labels; does another layer hold them?")


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _corners(bounds: tuple[float, ...]) -> str:
    west, south, east, north = (f"{value:.9g}" for value in bounds)
    return f"{west}, {south} to {east}, {north}"


def _words(counts: dict[str, int]) -> list[str]:
    """Say what was found."""
    words = []
    if counts["without class"]:
        words.append(f"{counts['without class']} features have no class; their pixels are unknown")
    if counts["invalid"]:
        words.append(f"{counts['invalid']} invalid geometries were made valid")
    if counts["lost"]:
        words.append(f"{counts['lost']} geometries cannot be brought into the image's CRS and are left out")
    return words
