"""What labels of any form say about an image, and what of them its pixels cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.raster.coded_labels import CodedLabels
from geoseg.raster.colored_labels import ColoredLabels
from geoseg.raster.labels import UNKNOWN, Codes, Labels
from geoseg.raster.run_length_table import read_table
from geoseg.raster.run_lengths import RunLengthLabels
from geoseg.vector.label_forms import Classes, Source
from geoseg.vector.label_shapes import load_shapes
from geoseg.vector.overlap import OVERLAP, Overlap
from geoseg.vector.vector_labels import VectorLabels

_SAME_PIXEL = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The image that labels are of, and how they lie on it.

    Parameters
    ----------
    name : str
        File name of the image, which tables call it by.
    grid : Grid
    size : (int, int) or None
        (rows, cols) of run-length masks; those of `content` by default.
    content : (int, int, int, int) or None
        (row, col, height, width) of the image that run-length masks cover.
    buffer : float
        Half the width of lines and points, units of the image's CRS.
    all_touched : bool
        Whether polygons cover every pixel they touch.
    """

    name: str
    grid: Grid
    size: tuple[int, int] | None = None
    content: tuple[int, int, int, int] | None = None
    buffer: float = 0.0
    all_touched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """Labels of a whole image in memory.

    Parameters
    ----------
    grid : Grid
    legend : Legend
    unlabelled : int
        What exclusive labels are where no label is; UNKNOWN or a code.
    layers : (class, row, col) uint8 or None
        1, 0, or UNKNOWN, of classes that overlap or may.
    codes : (row, col) uint8 or None
        Where there are no layers.
    losses : tuple of str
        What the pixels of the image do not hold.
    notes : tuple of str
        How what was drawn became pixels.
    """

    grid: Grid
    legend: Legend
    unlabelled: int
    layers: Codes | None = None
    codes: Codes | None = None
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def overlaps(self) -> int:
        """Number of pixels of more than one class."""
        return 0 if self.layers is None else int((_count(self.layers) > 1).sum())

    def exclusive(self) -> Codes:
        """(row, col) codes; UNKNOWN where classes overlap."""
        if self.layers is None:
            assert self.codes is not None
            return self.codes
        count = _count(self.layers)
        codes = np.full(count.shape, self.unlabelled, dtype=np.uint8)
        for code, layer in zip(self.legend.codes, self.layers, strict=True):
            codes[layer == 1] = code
        codes[(count > 1) | ((count == 0) & (self.layers == UNKNOWN).any(axis=0))] = UNKNOWN
        return codes

    def pixels(self, *, layered: bool) -> tuple[int, ...]:
        """Count the pixels of each class as they are written: of its layer, or of the exclusive codes."""
        if layered:
            return tuple(int((self.layer(i) == 1).sum()) for i in range(len(self.legend.codes)))
        counts = np.bincount(self.exclusive().ravel(), minlength=256)
        return tuple(int(counts[code]) for code in self.legend.codes)

    def layer(self, index: int) -> Codes:
        """(row, col) of the class with this number in the legend: 1, 0, or UNKNOWN."""
        if self.layers is not None:
            present: Codes = self.layers[index]
            return present
        assert self.codes is not None
        layer: Codes = (self.codes == self.legend.codes[index]).astype(np.uint8)
        layer[self.codes == UNKNOWN] = UNKNOWN
        return layer


def read_truth(
    source: Source, classes: Classes, place: Place, *, layered: bool, overlap: Overlap | None = None
) -> Truth:
    """Read the labels of a whole image.

    Parameters
    ----------
    source : Source
    classes : Classes
    place : Place
    layered : bool
        Whether classes may overlap: where no shape or run is, they are then known to be absent.
    overlap : str, optional
        Whose class a pixel in shapes of several classes has, where labels are not layered. None: all of them are kept.

    Raises
    ------
    DataError
    """
    meanings = replace(classes.meanings, unlabelled=UNKNOWN) if layered else classes.meanings
    grid, losses, notes = place.grid, list[str](), list[str]()
    can_overlap = layered
    labels: Labels
    match source.form:
        case "codes":
            labels = CodedLabels.open(source.path, grid, meanings, layered=layered, band=source.band)
            losses = _off_the_grid(labels.aligned.labels, grid)
        case "colors":
            labels = ColoredLabels.open(source.path, grid, meanings, layered=layered)
            losses = _off_the_grid(labels.aligned.labels, grid)
        case "vector":
            labels, can_overlap = _open_shapes(source, classes, place, layered=layered, overlap=overlap)
            notes = _drawn_as_pixels(labels)
        case "run_lengths":
            return _read_run_lengths(source, classes, place)
    read = labels.read(Window(row=0, col=0, height=grid.height, width=grid.width))
    return Truth(
        grid=grid,
        legend=classes.legend,
        unlabelled=classes.meanings.unlabelled,
        layers=read if can_overlap else None,
        codes=None if can_overlap else read,
        losses=tuple(losses),
        notes=tuple(notes),
    )


def _open_shapes(
    source: Source, classes: Classes, place: Place, *, layered: bool, overlap: Overlap | None
) -> tuple[VectorLabels, bool]:
    """Open a vector file as layers where its classes overlap and that is wanted, else as codes; say which."""
    exclusive = overlap is not None and not layered
    labels = VectorLabels.open(
        source.path, place.grid, replace(classes.meanings, unlabelled=0), layered=not exclusive,
        layer=source.layer, class_field=source.class_field, buffer=place.buffer, all_touched=place.all_touched,
        overlap=overlap or OVERLAP, encoding=source.encoding,
    )  # fmt: skip
    if not exclusive and (layered or labels.contradictions()):
        return labels, True
    recipe = replace(labels.recipe, meanings=classes.meanings)
    return replace(labels, layered=False, recipe=recipe, consistent=labels.consistent or not exclusive), False


def _read_run_lengths(source: Source, classes: Classes, place: Place) -> Truth:
    """Masks of an image in a table; in one that names no class they are of the only one that is not the rest."""
    legend, rest = classes.legend, classes.meanings.unlabelled
    named = [code for code in legend.codes if code != rest or None not in read_table(source.path).classes]
    meanings = replace(classes.meanings, codes=tuple(named), unlabelled=0)
    labels = RunLengthLabels.open(
        source.path, place.name, place.grid, meanings, layered=True, size=place.size, content=place.content
    )
    read = labels.read(Window(row=0, col=0, height=place.grid.height, width=place.grid.width))
    layers = np.zeros((len(legend.codes), *place.grid.shape), dtype=np.uint8)
    layers[[legend.codes.index(code) for code in named]] = read
    layers[:, (read == UNKNOWN).all(axis=0)] = UNKNOWN
    shape = labels.content.shape
    spread = labels.size != shape
    return Truth(
        grid=place.grid,
        legend=legend,
        unlabelled=rest,
        layers=layers,
        losses=(f"masks of {_px(labels.size)} px lie on {_px(shape)} px of the image",) if spread else (),
    )


def _count(layers: Codes) -> npt.NDArray[np.int64]:
    """Classes of each pixel."""
    count: npt.NDArray[np.int64] = (layers == 1).sum(axis=0)
    return count


def _off_the_grid(labels: Grid, image: Grid) -> list[str]:
    """Say how a raster of labels does not lie on an image's pixels."""
    if labels.transform.is_identity or image.transform.is_identity:
        return []
    if labels.crs is not None and image.crs is not None and labels.crs != image.crs:
        from pyproj import CRS

        if not CRS.from_wkt(labels.crs).equals(CRS.from_wkt(image.crs), ignore_axis_order=True):
            return ["its pixels lie in another CRS than the image's"]
    into = ~image.transform @ labels.transform
    corners = np.array([(0, 0), (labels.width, 0), (0, labels.height)])
    ends = np.array([into @ tuple(corner) for corner in corners])
    moved = ends - corners
    if np.abs(moved - np.rint(moved[0])).max() > _SAME_PIXEL:
        return ["its pixels are not those of the image"]
    col, row = np.rint(moved[0])
    beyond = min(col, row) < 0 or col + labels.width > image.width or row + labels.height > image.height
    return ["it reaches beyond the image"] if beyond else []


def _drawn_as_pixels(labels: VectorLabels) -> list[str]:
    """Say what of the shapes is no pixels of the image."""
    import shapely

    shapes = load_shapes(labels.recipe, everything=True)
    thin = ~shapes.is_polygon
    rings, owner = shapely.get_rings(shapes.geometry, return_index=True)
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    off = np.zeros(len(shapes.geometry), dtype=bool)
    off[owner[ring[(corners != np.rint(corners)).any(axis=1)]]] = True
    slanted = (np.diff(corners, axis=0) != 0).all(axis=1) & (np.diff(ring) == 0)
    off[owner[ring[:-1][slanted]]] = True
    left, top, right, bottom = shapely.bounds(shapes.geometry).T
    height, width = shapes.shape
    beyond = (left < 0) | (top < 0) | (right > width) | (bottom > height)
    covered = "those that they touch" if labels.all_touched else "those whose centre is inside"
    found = {
        f"{int(thin.sum())} lines and points became the pixels that they touch": thin,
        f"{int(off.sum())} of {len(off)} polygons are not made of whole pixels; they became {covered}": off,
        f"{int(beyond.sum())} of {len(off)} shapes reach beyond the image, which holds what lies on it": beyond,
    }
    return [words for words, where in found.items() if where.any()]


def _px(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"
