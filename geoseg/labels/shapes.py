"""Drawn labels on an image: polygons, lines and points in its pixel coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, Message, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import trimmed
from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, Meanings
from geoseg.labels.overlap import OVERLAP, Drawn, Overlap, Shapes
from geoseg.labels.pixel_shapes import (
    ShapeCodes,
    counts_downwards,
    in_pixels,
    made_valid,
    on_image,
    parts_of,
    present,
    reprojected,
)
from geoseg.raster.opening import signature_of
from geoseg.storage.printable import listed
from geoseg.vectorfiles.reading import VectorLayer, read_features, total_bounds
from geoseg.vectorfiles.reprojection import Reprojection

if TYPE_CHECKING:
    import shapely

_BLOCK: Final = 256
"""Edge in px of the blocks in which labels are burned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Which labels lie on an image, and how to read them.

    Parameters
    ----------
    path : Path
        Vector file.
    layers : tuple of VectorLayer
        Layers with labels.
    class_field : str or None
        Attribute with the class; None if the layer's name is the class.
    grid : Grid
        Grid of the image.
    meanings : Meanings
        Meaning of the label values.
    buffer : float
        Half the width of lines and points, in units of the image's CRS (px without georeferencing).
    overlap : str
        Which class a pixel gets where shapes of several classes overlap.
    """

    path: Path
    layers: tuple[VectorLayer, ...]
    class_field: str | None
    grid: Grid
    meanings: Meanings
    buffer: float
    overlap: Overlap = OVERLAP

    def signature(self) -> tuple[int, int]:
        """Return size and modification time of the file, to detect changes.

        Raises
        ------
        DataError
            If it does not exist any more.
        """
        try:
            return signature_of(str(self.path), str(self.path))
        except SceneError as error:
            raise error.into(DataError) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelShapes:
    """Shapes that meet an image, in the order of burning.

    Parameters
    ----------
    geometry : (shape,) object
        Single shapely polygons, lines and points in (col, row) of the image, rounded to 1/4096 px.
    code : (shape,) int16
        Legend code of each shape, or UNKNOWN.
    shape : (int, int)
        Rows and columns of the image.
    notes : tuple of str
        Notes for the user about the labels.
    """

    geometry: Shapes
    code: ShapeCodes
    shape: tuple[int, int]
    notes: tuple[str, ...] = ()

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Spatial index of the shapes."""
        import shapely

        return shapely.STRtree(self.geometry)

    @cached_property
    def is_polygon(self) -> npt.NDArray[np.bool_]:
        """Which shapes are polygons; the others cover every pixel they touch."""
        import shapely

        kinds: npt.NDArray[np.bool_] = shapely.get_dimensions(self.geometry) == 2
        return kinds

    def near(self, window: Window) -> npt.NDArray[np.intp]:
        """Return the ascending indices of the shapes whose boxes meet a window."""
        import shapely

        box = shapely.box(window.col, window.row, window.col_stop, window.row_stop)
        return np.sort(self.tree.query(box))

    def meetings(self) -> Iterator[Window]:
        """Yield each block in which shapes of different codes may overlap."""
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
            yield Window(row=row * _BLOCK, col=col * _BLOCK, height=_BLOCK, width=_BLOCK)


def blocks_of(window: Window) -> list[Window]:
    """Return the blocks of the image's block grid that a window on the image touches."""
    return [
        Window(row=row, col=col, height=_BLOCK, width=_BLOCK)
        for row in range(window.row // _BLOCK * _BLOCK, window.row_stop, _BLOCK)
        for col in range(window.col // _BLOCK * _BLOCK, window.col_stop, _BLOCK)
    ]


def load_shapes(recipe: Recipe, *, everything: bool = False) -> LabelShapes:
    """Read the shapes that meet an image, or all shapes.

    Raises
    ------
    DataError
        If the file cannot be read, declares no CRS, has values without a meaning, or does not overlap the image.
    """
    notes: dict[str, int] = {}
    layers = [_load_layer(recipe, layer, notes, everything=everything) for layer in recipe.layers]
    together = (np.concatenate([getattr(layer, name) for layer in layers]) for name in Drawn.__slots__)
    drawn = Drawn(**dict(zip(Drawn.__slots__, together, strict=True))).ordered(recipe.overlap)
    if not len(drawn.code):
        _check_absence(recipe)
    words = tuple(f"{count} {note}" if count else note for note, count in notes.items())
    return LabelShapes(geometry=drawn.geometry, code=drawn.code, shape=recipe.grid.shape, notes=words)


def _load_layer(recipe: Recipe, layer: VectorLayer, notes: dict[str, int], *, everything: bool) -> Drawn:
    """Read the shapes of a layer with their codes, and add notes for the user with counts."""
    import shapely

    def note(words: str, count: int) -> None:
        if count:
            notes[words] = notes.get(words, 0) + count

    way = Reprojection.between(layer.crs, recipe.grid, path=recipe.path)
    if way.note:
        notes[way.note] = 0
    extent = total_bounds(recipe.path, layer)
    bounds = None if everything else way.bounds_in_file(margin=recipe.buffer, extent=extent)
    features = read_features(recipe.path, layer, recipe.class_field, bounds)
    code, without = _codes(recipe, layer, features.values, len(features.geometry))
    note("features have no class; their pixels are unknown", without)
    shapes = shapely.from_wkb(features.geometry, on_invalid="fix")
    unread = shapely.is_missing(shapes) & np.array(
        [each is not None for each in features.geometry], dtype=bool
    )
    note("geometries of unsupported types are left out", int(unread.sum()))
    shapes, code = present(shapes, code)
    shapes, invalid = made_valid(shapes)
    note("invalid geometries were made valid", invalid)
    if counts_downwards(shapes, recipe.grid):
        shapes = shapely.transform(shapes, lambda xy: xy * (1, -1))
        notes[f"rows of layer {layer.name} count down from 0, as QGIS draws on plain images"] = 0
    drawn = parts_of(shapes, code)
    drawn, lost = in_pixels(reprojected(drawn, way, recipe.buffer), recipe.grid, recipe.buffer)
    note("geometries cannot be reprojected to the image's CRS and are left out", lost)
    return drawn if everything else on_image(drawn, recipe.grid)


def missing_values(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell where an attribute is missing: null, NaN or blank."""
    return np.array(
        [v is None or v != v or (isinstance(v, str) and not trimmed(v)) for v in values], dtype=bool
    )


def _codes(
    recipe: Recipe, layer: VectorLayer, values: npt.NDArray[Any] | None, count: int
) -> tuple[ShapeCodes, int]:
    """Return the legend code of every feature, UNKNOWN for those without a class, and the number of the latter."""
    meanings = recipe.meanings
    if values is None:
        code = meanings.code(layer.name)
        if code is None:
            raise DataError(
                f"{recipe.path}: has a layer {layer.name}, whose name means no class, expected {meanings.words}",
                Message(
                    "choose layers, or name the attribute that holds the class ({class_field}, "
                    "data.labels.class_field), of {}",
                    listed(layer.fields) or "none",
                ),
            )
        return np.full(count, code, dtype=np.int16), 0
    missing = missing_values(values)
    code_of = {value: meanings.code(value) for value in set(values[~missing].tolist())}
    strange = sorted((str(value) for value, code in code_of.items() if code is None))
    if strange:
        raise DataError(
            f"{recipe.path}: attribute {recipe.class_field} of layer {layer.name} holds {listed(strange)}, expected "
            f"{meanings.words}",
            meanings.remedy,
        )
    codes = np.full(count, UNKNOWN, dtype=np.int16)
    known = [code_of[value] or 0 for value in values[~missing].tolist()]
    codes[~missing] = known
    return codes, int(missing.sum())


def _check_absence(recipe: Recipe) -> None:
    """Raise DataError if an image without any shape is probably a mistake.

    It is plausible if unlabelled pixels are a class and the labels lie around the image, or if there are none at all.
    """
    expected = recipe.meanings.unlabelled != UNKNOWN
    for layer in recipe.layers:
        extent = total_bounds(recipe.path, layer)
        if extent is None:
            continue
        way = Reprojection.between(layer.crs, recipe.grid, path=recipe.path)
        wanted = way.bounds_in_file(margin=0, extent=extent)
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
