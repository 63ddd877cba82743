"""Labels as polygons, lines and points."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, Message, OptionError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.legend import trimmed
from geoseg.grid.window import Window
from geoseg.labels.contradiction import Names, refuse_contradiction
from geoseg.labels.label import UNKNOWN, Codes, FoundClass, LabelValue, Meanings, plain
from geoseg.labels.overlap import OVERLAP, Overlap, check_overlap, overlap_words
from geoseg.labels.pixel_shapes import burn
from geoseg.labels.shapes import LabelShapes, Recipe, blocks_of, load_shapes, missing_values
from geoseg.storage.printable import listed
from geoseg.vectorfiles.class_names import CODE, NAME, Called
from geoseg.vectorfiles.encodings import warn_of_garbled
from geoseg.vectorfiles.reading import VectorLayer, choose_layers, count_rows, read_values
from geoseg.vectorfiles.styles import ClassStyle, class_styles

_log = logging.getLogger(__name__)

_KEPT: Final = 128
"""Blocks of codes that each process caches: 64 kB each, or 64 kB per class for layered labels."""
_NOBODY: Final = 999
_MOST_CLASSES: Final = 255
_FEW_CLASSES: Final = 40
"""Most values of an attribute that is suggested as the one with the classes."""


class _Loaded:
    """Shapes that are not pickled but read again in another process."""

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

    A polygon covers the pixels whose centre is inside, a line the pixels it touches, a point its pixel. Where shapes
    of different classes overlap, `overlap` determines the class of a pixel, unless the labels are layered.

    Parameters
    ----------
    shapes : callable
        Returns the shapes that meet the image.
    recipe : Recipe
        File, image and options of the labels.
    layered : bool
        Whether `read` returns one layer per class.
    all_touched : bool
        Whether a polygon covers every pixel it touches.
    consistent : bool
        Whether it is known that no shapes of different classes overlap.
    names : mapping of int to str
        Names that the file itself gives the codes of its polygons.
    """

    shapes: _Loaded
    recipe: Recipe
    layered: bool = False
    all_touched: bool = False
    consistent: bool = False
    names: Names = field(default_factory=dict)

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
        path : path-like
            Vector file.
        grid : Grid
            Grid of the image.
        meanings : Meanings
            Meaning of the label values.
        layered : bool
            Whether classes may overlap and `read` returns one layer per class.
        layer : str or sequence of str, optional
            Layers to read; all by default.
        class_field : str, optional
            Attribute with the class; by default the layer's name is the class.
        buffer : float
            Half the width of lines and points, in units of the image's CRS (px without georeferencing).
        all_touched : bool
            Whether a polygon covers every pixel it touches.
        overlap : str
            Which class a pixel in shapes of several classes gets: that of the ``last`` shape in the file (of the last
            layer), of the ``smallest`` (lines and points count as smaller than any polygon; among equals the last), or
            none (``ignore``: it is unknown).
        encoding : str, optional
            Encoding of the text of a Shapefile that does not declare it.

        Raises
        ------
        DataError
            If the file cannot be read, has values without a meaning, declares no CRS although the image has one, or
            does not overlap the image.
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
        names = _own_names(recipe.path, recipe.layers, signature) if class_field == CODE else {}
        refuse_contradiction(path, names, meanings, drawn=True)
        shapes = load_shapes(recipe)
        labels = cls(
            shapes=_Loaded(recipe, shapes, signature),
            recipe=recipe,
            layered=layered,
            all_touched=all_touched,
            names=names,
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
        """Name as given by the user."""
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
        """Count the pixels that are covered by shapes of different classes."""
        count = 0
        for block in self.shapes().meetings():
            low, high = self._claims(block)
            differ = (high >= 0) & (low != high)
            height, width = self.recipe.grid.shape
            count += int(differ[: height - block.row, : width - block.col].sum())
        return count

    def burn_block(self, block: Window) -> Codes:
        """Read a block of the block grid, which may extend beyond the image."""
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
        """Return the index of the shape that determines the class of each pixel; -1 where there is none."""
        uppermost = np.full(window.shape, -1, dtype=np.int32)
        shapes = self.shapes()
        for index, touched in self._near(window):
            burned = burn(shapes.geometry[index], index.astype(np.int32), window, fill=-1, touched=touched)
            np.maximum(uppermost, burned, out=uppermost)
        return uppermost

    def _claims(self, window: Window) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
        """Return the lowest and the highest code of the shapes at every pixel; the highest is -1 without a shape.

        Shapes are burned in ascending and in descending order of their codes, and the last one remains.
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
        """Fill the layer of each class: 1 where it is present, 0 where only others are."""
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
        """Yield the shapes near a window: first those that cover pixel centres, then those that touch pixels."""
        shapes = self.shapes()
        near = shapes.near(window)
        touching = ~shapes.is_polygon[near] | self.all_touched
        for touched in (False, True):
            chosen = near[touching == touched]
            if len(chosen):
                yield chosen, touched


@lru_cache(maxsize=_KEPT)
def _burned(labels: VectorLabels, block: Window) -> Codes:
    """Return the codes of a block from a cache: windows overlap, and shapes may be many."""
    return labels.burn_block(block)


def found_classes(
    path: str | os.PathLike[str],
    *,
    layer: str | Sequence[str] | None = None,
    class_field: str | None = None,
    encoding: str | None = None,
) -> tuple[FoundClass, ...]:
    """Find the classes of a vector file: values of an attribute, or names of layers.

    Returns
    -------
    tuple of FoundClass
        Classes in ascending order of the values, numbers first; layers in the order of the file. Names and colours
        come from the layer's QGIS style, if it has one.

    Raises
    ------
    DataError
        If the file cannot be read, or the attribute does not contain classes.
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
            f"{path}: {class_field} has {plural(len(found), 'different value')}, expected at most "
            f"{_MOST_CLASSES} classes; "
            "name another attribute"
        )
    if class_field is None:
        return tuple(found.values())
    warn_of_garbled(f"{path}, {class_field}", (c.name for c in found.values()))
    names = Counter(c.name for c in found.values())  # a style may show several values under one label
    apart = [c if names[c.name] == 1 else replace(c, name=str(c.value)) for c in found.values()]
    return tuple(sorted(apart, key=lambda c: (isinstance(c.value, str), c.value)))


@lru_cache(maxsize=_KEPT)
def _own_names(path: Path, layers: tuple[VectorLayer, ...], _signature: tuple[int, int]) -> Names:
    """Return the names that polygons with class codes have, from a cache: one file may label many images."""
    found: dict[int, str] = {}
    for layer in layers:
        if NAME not in layer.fields or CODE not in layer.fields:
            continue
        styles = class_styles(path, layer.name, CODE, alone=len(layers) == 1)
        rows = count_rows(path, layer, [CODE, NAME])
        with suppress(DataError):  # codes that are none, which the reading of the shapes tells
            legend = Called.of(rows, f"{path}, layer {layer.name}", styles).legend(tell=False)
            if legend is not None:
                found = {c.code: c.name for c in legend.classes} | found
    return found


def _called(
    path: Path, layer: VectorLayer, values: Sequence[LabelValue], styles: Mapping[str, ClassStyle]
) -> dict[LabelValue, str]:
    """Return the names of class codes in a layer that has an attribute with names."""
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
    """Return the attribute with the class: the given one, or `class_code` if every layer has it.

    None means that the layer's name is the class. For a single layer with attributes that is rarely intended, so the
    attributes are listed in a log line.

    Parameters
    ----------
    path : Path
        Vector file.
    given : str or None
        Attribute that the user names.
    layer, encoding
        Layers and text encoding, as for `VectorLabels.open`.
    alone : bool
        Whether a single class is useless, so that it is refused if an attribute may contain classes.

    Raises
    ------
    DataError, OptionError
        If the file cannot be read, or the attribute must be named.
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
    line = Message(
        "{}: {class_field} is not given, so that all features are of one class, {}; its attributes are {}{}",
        path, about.name, ", ".join(words), ", ..." if len(about.fields) > len(words) else "",
    )  # fmt: skip
    if alone and any("(" in word for word in words):
        raise OptionError(line, Message("name the one that holds the class with {class_field}"))
    _log.warning("%s", line)
    return None


def _described(path: Path, layer: VectorLayer, field: str) -> str:
    """Return the name of an attribute, with its values if they may be classes."""
    try:
        values = _values(path, layer, field)
    except (DataError, TypeError):  # of a type that cannot be a class
        return field
    return f"{field} ({listed(values)})" if 2 <= len(values) <= _FEW_CLASSES else field


def _values(path: Path, layer: VectorLayer, class_field: str) -> list[LabelValue]:
    """Return the distinct values of an attribute, with whole numbers as integers."""
    column = read_values(path, layer, class_field)
    different = sorted(set(column[~missing_values(column)].tolist()), key=str)
    return [
        int(value) if isinstance(value, int | float) and float(value).is_integer() else str(value)
        for value in different
    ]
