"""Polygons, lines and points as labels."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import trimmed
from geoseg.grid.window import Window
from geoseg.raster.labels import UNKNOWN, Codes, FoundClass, LabelValue, Meanings, listed, plain
from geoseg.vector.burn import burn
from geoseg.vector.class_names import CODE, NAME, Called
from geoseg.vector.encodings import warn_of_garbled
from geoseg.vector.label_shapes import LabelShapes, Recipe, blocks_of, load_shapes, missing_values
from geoseg.vector.overlap import OVERLAP, Overlap, check_overlap, overlap_words
from geoseg.vector.styles import ClassStyle, class_styles
from geoseg.vector.vector_file import VectorLayer, choose_layers, count_rows, read_values

_log = logging.getLogger(__name__)

_KEPT: Final = 128
"""Blocks of codes that each process keeps; 64 kB each, or for each class of layered labels."""
_NOBODY: Final = 999
_MOST_CLASSES: Final = 255
_FEW_CLASSES: Final = 40
"""An attribute with more values is not taken for one that holds classes."""


class _Loaded:
    """Shapes that are read again where they are pickled to."""

    def __init__(self, recipe: Recipe, shapes: LabelShapes | None, signature: tuple[int, int]) -> None:
        self._recipe, self._shapes, self._signature = recipe, shapes, signature

    def __call__(self) -> LabelShapes:
        if self._shapes is None:
            if self._recipe.signature() != self._signature:
                raise DataError(
                    f"{self._recipe.path}: changed while it was in use; start again when it is complete"
                )
            self._shapes = load_shapes(self._recipe)
        return self._shapes

    def __getstate__(self) -> dict[str, Any]:
        return {"_recipe": self._recipe, "_shapes": None, "_signature": self._signature}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorLabels:
    """Polygons, lines and points on an image; see `Labels`.

    A polygon covers the pixels whose centre is inside, a line the pixels it touches, a point its pixel. Where
    shapes of different classes overlap, `overlap` says whose class a pixel has, unless the labels are layered.

    Parameters
    ----------
    shapes : callable
        Returns the shapes that meet the image.
    recipe : Recipe
    layered : bool
    all_touched : bool
        Whether a polygon covers every pixel it touches.
    consistent : bool
        Whether it is known that no pixel is claimed by shapes of different classes.
    """

    shapes: _Loaded
    recipe: Recipe
    layered: bool = False
    all_touched: bool = False
    consistent: bool = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        grid: Grid,
        meanings: Meanings,
        *,
        layered: bool = False,
        layer: str | Sequence[str] | None = None,
        class_field: str | None = None,
        buffer: float = 0.0,
        all_touched: bool = False,
        overlap: Overlap = OVERLAP,
        encoding: str | None = None,
    ) -> VectorLabels:
        """Open a vector file as the labels of an image on `grid`.

        Parameters
        ----------
        layer : str or sequence of str, optional
            All layers by default.
        class_field : str, optional
            Attribute that holds the class; without it, the layer's name is the class.
        buffer : float
            Lines and points are widened by this much to each side, units of the image's CRS (px where it
            has none).
        overlap : str
            Whose class a pixel has that shapes of several classes cover: that of the ``last`` in the file (of several
            layers the last), of the ``smallest`` (lines and points are smaller than any polygon, of equal ones
            the last), or nobody's (``ignore``: it is unknown).
        encoding : str, optional
            Of the text of a Shapefile that does not say it.

        Raises
        ------
        DataError
            If the file cannot be read, holds values without a meaning, does not say its CRS though the image
            has one, or does not lie where the image lies.
        """
        check_overlap(overlap)
        recipe = Recipe(
            path=Path(path),
            layers=choose_layers(Path(path), layer, encoding),
            class_field=class_field,
            grid=grid,
            meanings=meanings,
            buffer=buffer,
            overlap=overlap,
        )
        signature = recipe.signature()
        shapes = load_shapes(recipe)
        labels = cls(
            shapes=_Loaded(recipe, shapes, signature), recipe=recipe, layered=layered, all_touched=all_touched
        )
        for note in shapes.notes:
            _log.info("%s: %s", path, note)
        if layered:
            return labels
        contradictions = labels.contradictions()
        if contradictions:
            words = overlap_words(overlap)
            _log.info("%s: %d px are covered by shapes of several classes; %s", path, contradictions, words)
        return replace(labels, consistent=not contradictions)

    @property
    def path(self) -> str:
        """Name as it was given."""
        return str(self.recipe.path)

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        grid, classes = self.recipe.grid, len(self.recipe.meanings.codes)
        shape = (classes, *window.shape) if self.layered else window.shape
        codes = np.full(shape, UNKNOWN, dtype=np.uint8)
        part = window.within(grid.shape)
        if part is None:
            return codes
        for block in blocks_of(part):
            cut = block.intersection(part)
            assert cut is not None
            burned = _burned(self, block)[..., *cut.shifted(-block.row, -block.col).slices]
            codes[..., *cut.shifted(-window.row, -window.col).slices] = burned
        return codes

    def contradictions(self) -> int:
        """Count the pixels that shapes of different classes claim."""
        count = 0
        for block in self.shapes().meetings():
            low, high = self._claims(block)
            differ = (high >= 0) & (low != high)
            height, width = self.recipe.grid.shape
            count += int(differ[: height - block.row, : width - block.col].sum())
        return count

    def burn_block(self, block: Window) -> Codes:
        """Read a block of the lattice, which may stick out of the image."""
        meanings = self.recipe.meanings
        shape = (len(meanings.codes), *block.shape) if self.layered else block.shape
        codes = np.full(shape, meanings.unlabelled, dtype=np.uint8)
        if self.layered:
            self._fill_layers(codes, block)
        elif self.consistent or self.recipe.overlap != "ignore":
            shape_of = self._uppermost(block)
            claimed = shape_of >= 0
            codes[claimed] = self.shapes().code[shape_of[claimed]]
        else:
            low, high = self._claims(block)
            claimed = high >= 0
            codes[claimed] = np.where(low == high, high, UNKNOWN)[claimed]
        return codes

    def _uppermost(self, window: Window) -> npt.NDArray[np.int32]:
        """Return the number of the shape whose class each pixel has, -1 where there is none."""
        uppermost = np.full(window.shape, -1, dtype=np.int32)
        shapes = self.shapes()
        for index, touched in self._near(window):
            burned = burn(shapes.geometry[index], index.astype(np.int32), window, fill=-1, touched=touched)
            np.maximum(uppermost, burned, out=uppermost)
        return uppermost

    def _claims(self, window: Window) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
        """Lowest and highest code that shapes claim for every pixel; -1 as the highest where there is none.

        Shapes are burned in ascending and in descending order of their codes: the last one stays.
        """
        low = np.full(window.shape, _NOBODY, dtype=np.int16)
        high = np.full(window.shape, -1, dtype=np.int16)
        shapes = self.shapes()
        for index, touched in self._near(window):
            up = index[np.argsort(shapes.code[index], kind="stable")]
            down = up[::-1]
            burned = burn(shapes.geometry[up], shapes.code[up], window, fill=-1, touched=touched)
            np.maximum(high, burned, out=high)
            if shapes.code[up[0]] != shapes.code[up[-1]]:
                burned = burn(shapes.geometry[down], shapes.code[down], window, fill=_NOBODY, touched=touched)
            np.minimum(low, np.where(burned < 0, _NOBODY, burned), out=low)
        return low, high

    def _fill_layers(self, layers: Codes, window: Window) -> None:
        """Fill the layer of each class: 1 where it is, 0 where only others are."""
        shapes, order = self.shapes(), self.recipe.meanings.codes
        claimed = {code: np.zeros(window.shape, dtype=bool) for code in (*order, UNKNOWN)}
        for index, touched in self._near(window):
            for code in np.unique(shapes.code[index]).tolist():
                chosen = index[shapes.code[index] == code]
                burned = burn(shapes.geometry[chosen], shapes.code[chosen], window, fill=-1, touched=touched)
                claimed[code] |= burned >= 0
        labelled = np.any(list(claimed.values()), axis=0)
        for layer, code in zip(layers, order, strict=True):
            layer[labelled] = claimed[code][labelled]
        layers[:, claimed[UNKNOWN]] = UNKNOWN

    def _near(self, window: Window) -> Iterator[tuple[npt.NDArray[np.intp], bool]]:
        """Shapes near a window in their order: first those that cover centres, then those that touch."""
        shapes = self.shapes()
        near = shapes.near(window)
        touching = ~shapes.is_polygon[near] | self.all_touched
        for touched in (False, True):
            chosen = near[touching == touched]
            if len(chosen):
                yield chosen, touched


@lru_cache(maxsize=_KEPT)
def _burned(labels: VectorLabels, block: Window) -> Codes:
    """Codes of a block: windows lie beside and on top of each other, and shapes may be many."""
    return labels.burn_block(block)


def found_classes(
    path: str | os.PathLike[str],
    *,
    layer: str | Sequence[str] | None = None,
    class_field: str | None = None,
    encoding: str | None = None,
) -> tuple[FoundClass, ...]:
    """Find the classes that a vector file speaks of: values of an attribute, or names of layers.

    Returns
    -------
    tuple of FoundClass
        Ascending by value, numbers first; layers in the order of the file. Names and colours are those of the
        layer's QGIS style where it has one.

    Raises
    ------
    DataError
        If the file cannot be read, or the attribute is no class.
    """
    found: dict[LabelValue, FoundClass] = {}
    layers = choose_layers(Path(path), layer, encoding)
    for each in layers:
        styles = class_styles(Path(path), each.name, class_field, alone=len(layers) == 1)
        values = [each.name] if class_field is None else _values(Path(path), each, class_field)
        called = _called(Path(path), each, values, styles) if class_field == CODE else {}
        for value in values:
            style = styles.get(str(value))
            name = trimmed(called.get(value) or (style.name if style and style.name else str(value)))
            color = style.color if style else None
            known = found.setdefault(plain(value), FoundClass(value=value, name=name, color=color))
            if known.color is None and color:
                found[plain(value)] = FoundClass(value=value, name=name, color=color)
    if not found:
        raise DataError(
            f"{path}: no feature has a class in {class_field}, expected values; name another attribute"
        )
    if len(found) > _MOST_CLASSES:
        raise DataError(
            f"{path}: {class_field} has {len(found)} different values, expected at most {_MOST_CLASSES} classes; "
            "name another attribute"
        )
    if class_field is None:
        return tuple(found.values())
    warn_of_garbled(f"{path}, {class_field}", (c.name for c in found.values()))
    names = Counter(c.name for c in found.values())  # a style may show several values under one label
    apart = [c if names[c.name] == 1 else replace(c, name=str(c.value)) for c in found.values()]
    return tuple(sorted(apart, key=lambda c: (isinstance(c.value, str), c.value)))


def _called(
    path: Path, layer: VectorLayer, values: Sequence[LabelValue], styles: Mapping[str, ClassStyle]
) -> dict[LabelValue, str]:
    """Names of class codes in a layer that has names beside them."""
    if NAME not in layer.fields or not all(isinstance(value, int) for value in values):
        return {}
    rows = count_rows(path, layer, [CODE, NAME])
    legend = Called.of(rows, f"{path}, layer {layer.name}", styles).legend()
    return {} if legend is None else {c.code: c.name for c in legend.classes}


def class_field_of(
    path: Path,
    given: str | None,
    *,
    layer: str | Sequence[str] | None = None,
    encoding: str | None = None,
    alone: bool = False,
) -> str | None:
    """Return the attribute that holds the class: the given one, or `class_code` where every layer has it.

    None: the class is the layer's name. Where a single layer has attributes, that is rarely meant, and they are listed.

    Parameters
    ----------
    path : Path
    given : str or None
    layer, encoding
        As `VectorLabels.open` takes them.
    alone : bool
        Whether one class for everything is of no use, and refused where an attribute may hold classes.

    Raises
    ------
    DataError, OptionError
    """
    layers = choose_layers(path, layer, encoding)
    if given is not None:
        return given
    if all(CODE in each.fields for each in layers):
        _log.info("%s: the classes are those of the attribute %s", path, CODE)
        return CODE
    about = layers[0]
    if len(layers) > 1 or not about.fields:
        return None
    words = [_described(path, about, field) for field in about.fields[:8]]
    line = (
        f"{path}: --class-field is not given, so that all features are of one class, {about.name}; its attributes are "
        f"{', '.join(words)}{', ...' if len(about.fields) > len(words) else ''}"
    )
    if alone and any("(" in word for word in words):
        raise OptionError(f"{line}; name the one that holds the class with --class-field")
    _log.warning("%s", line)
    return None


def _described(path: Path, layer: VectorLayer, field: str) -> str:
    """Name of an attribute, with its values where they may be classes."""
    try:
        values = _values(path, layer, field)
    except (DataError, TypeError):  # of a kind that is no class
        return field
    return f"{field} ({listed(values)})" if 2 <= len(values) <= _FEW_CLASSES else field


def _values(path: Path, layer: VectorLayer, class_field: str) -> list[LabelValue]:
    """Different values of an attribute, whole numbers as such."""
    column = read_values(path, layer, class_field)
    different = sorted(set(column[~missing_values(column)].tolist()), key=str)
    return [
        int(value) if isinstance(value, int | float) and float(value).is_integer() else str(value)
        for value in different
    ]
