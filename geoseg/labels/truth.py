"""Labels of a whole image in memory, with notes on what its pixels cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geoseg.errors import plural
from geoseg.grid.grid import SAME_PIXEL, Grid, same_crs
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.colored_labels import ColoredLabels
from geoseg.labels.forms import Classes, LabelSource
from geoseg.labels.label import UNKNOWN, Codes, Labels
from geoseg.labels.overlap import OVERLAP, Overlap
from geoseg.labels.run_length_table import read_table
from geoseg.labels.run_lengths import RunLengthLabels
from geoseg.labels.shapes import load_shapes
from geoseg.labels.vector_labels import VectorLabels


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The image of labels, and how the labels lie on it.

    Parameters
    ----------
    name : str
        File name of the image, by which tables name it.
    grid : Grid
        Grid of the image.
    size : (int, int) or None
        Rows and columns of run-length masks; by default those of the image.
    content : (int, int, int, int) or None
        Part (row, col, height, width) of the image that run-length masks cover; by default all of it.
    buffer : float
        Half the width of lines and points, in units of the image's CRS.
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
        Grid of the image.
    legend : Legend
        Classes of the labels.
    unlabelled : int
        Code of unlabelled pixels if classes do not overlap; UNKNOWN or a class.
    layers : (class, row, col) uint8 or None
        Layers of 1, 0 or UNKNOWN, if classes may overlap.
    codes : (row, col) uint8 or None
        Legend codes, if there are no layers.
    losses : tuple of str
        Information that the pixels of the image cannot hold.
    notes : tuple of str
        How drawn shapes became pixels.
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
        """Number of pixels with more than one class."""
        return 0 if self.layers is None else int((_count(self.layers) > 1).sum())

    def exclusive(self) -> Codes:
        """Return the codes (row, col), with UNKNOWN where classes overlap."""
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
        """Count the pixels of each class as written: in its layer, or in the exclusive codes."""
        if layered:
            return tuple(int((self.layer(i) == 1).sum()) for i in range(len(self.legend.codes)))
        counts = np.bincount(self.exclusive().ravel(), minlength=256)
        return tuple(int(counts[code]) for code in self.legend.codes)

    def layer(self, index: int) -> Codes:
        """Return the layer (row, col) of a class by its index in the legend: 1, 0 or UNKNOWN."""
        if self.layers is not None:
            present: Codes = self.layers[index]
            return present
        assert self.codes is not None
        layer: Codes = (self.codes == self.legend.codes[index]).astype(np.uint8)
        layer[self.codes == UNKNOWN] = UNKNOWN
        return layer


def read_truth(
    source: LabelSource, classes: Classes, place: Place, *, layered: bool, overlap: Overlap | None = None
) -> Truth:
    """Read the labels of a whole image.

    Parameters
    ----------
    source : Source
        Label file.
    classes : Classes
        Classes and meaning of the label values.
    place : Place
        Image of the labels.
    layered : bool
        Whether classes may overlap; they are then known to be absent where there is no shape or run.
    overlap : str, optional
        Which class a pixel in shapes of several classes gets, if labels are not layered. None keeps all of them.

    Raises
    ------
    DataError
        If the labels cannot be read or are wrong.
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
    source: LabelSource, classes: Classes, place: Place, *, layered: bool, overlap: Overlap | None
) -> tuple[VectorLabels, bool]:
    """Open a vector file as layers if its classes overlap and all are kept, else as codes; log which."""
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


def _read_run_lengths(source: LabelSource, classes: Classes, place: Place) -> Truth:
    """Read the masks of an image; without class names they belong to the only class that is not the rest."""
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
    """Return the number of classes of each pixel."""
    count: npt.NDArray[np.int64] = (layers == 1).sum(axis=0)
    return count


def _off_the_grid(labels: Grid, image: Grid) -> list[str]:
    """Describe how a raster of labels differs from the pixels of an image."""
    if labels.transform.is_identity or image.transform.is_identity:
        return []
    if not same_crs(labels.crs, image.crs):
        return ["its pixels lie in another CRS than the image's"]
    offset = labels.offset_on(image)
    if offset is None or max(abs(each - round(each)) for each in offset) > SAME_PIXEL:
        return ["its pixels are not those of the image"]
    row, col = map(round, offset)
    beyond = min(col, row) < 0 or col + labels.width > image.width or row + labels.height > image.height
    return ["it reaches beyond the image"] if beyond else []


def _drawn_as_pixels(labels: VectorLabels) -> list[str]:
    """Describe which shapes do not follow the pixels of the image."""
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
        f"{plural(int(thin.sum()), 'shape')} without an area (lines, points) became the pixels that they touch": thin,
        f"{int(off.sum())} of {plural(len(off), 'polygon')} not made of whole pixels; they became {covered}": off,
        f"{int(beyond.sum())} of {plural(len(off), 'shape')} reaching beyond the image, which holds the rest": beyond,
    }
    return [words for words, where in found.items() if where.any()]


def _px(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"
