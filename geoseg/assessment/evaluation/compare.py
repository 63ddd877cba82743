"""The verb compare: two class maps of the same ground, with or without a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from geoseg.assessment.evaluation.blocks import BlockCounts
from geoseg.assessment.evaluation.comparison import Comparison
from geoseg.assessment.evaluation.differences import CHANGES, ComparedPixels, write_differences
from geoseg.assessment.evaluation.open_map import OpenMap, RowsDone, refuse_other_names
from geoseg.assessment.evaluation.options import EvaluateOptions, PolygonsFile
from geoseg.assessment.evaluation.reference import IGNORED, Reference, ReferenceOptions
from geoseg.assessment.evaluation.rows import Rows, class_index, in_pieces
from geoseg.errors import ClassMapError, DataError, Message, OptionError
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.labels.overlap import OVERLAP, Overlap
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.legend_file import legend_of
from geoseg.raster.xarray_bridge import is_xarray
from geoseg.storage.output import file_given, path_of

if TYPE_CHECKING:
    from geoseg.vector.sources import Source

_WARP = "gdalwarp -r near"
_MATCH = ".rio.reproject_match()"
"""How files and arrays are brought to another grid, pixel by pixel."""


def compare(
    first: Source,
    second: Source,
    *,
    reference: PathLike[str] | str | None = None,
    legend: Legend | PathLike[str] | str | None = None,
    class_field: str | None = None,
    layer: str | None = None,
    encoding: str | None = None,
    band: int = 1,
    overlap: Overlap = OVERLAP,
    all_touched: bool = False,
    buffer: float = 0.0,
    unlabelled: str | None = None,
    ignore: Sequence[str] = (),
    class_labels: Mapping[str, Sequence[str | int]] | None = None,
    block_size: str | None = None,
    output: PathLike[str] | str | None = None,
    min_area: str | None = None,
    overwrite: bool = False,
    progress: ShowProgress = None,
) -> Comparison:
    """Compare two class maps on one grid: which is better, and where they differ.

    Parameters
    ----------
    first, second : path, ClassMap, xarray.DataArray, xarray.Dataset or (row, col) array
        Class maps with the same classes, as `geoseg.vectorize` takes them: of two models, or of two dates.
    reference : path, optional
        Labels, as for `geoseg.evaluate`: with them it is said by how much the second map is better than the first,
        with an interval of that difference.
    legend : Legend or path, optional
        Names and colours of the maps' codes, instead of their own; a second map without any has those of the first.
    class_field, layer, encoding, band, overlap, all_touched, buffer : optional
        How labels are read, as for `geoseg.evaluate`.
    unlabelled, ignore, class_labels, block_size : optional
        What label values mean, and how intervals are drawn, as for `geoseg.evaluate`.
    output : path, optional
        GeoPackage to write with the pixels that differ as polygons, the largest first, styled for QGIS: the layer of
        changes of two dates.
    min_area : str, optional
        Smallest area of these polygons, as for `geoseg.vectorize`; smaller changes belong to their surroundings.
    overwrite : bool
        Whether a file may be replaced.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    Comparison
        Pixels by class of both maps, and the differences of their scores.

    Raises
    ------
    ClassMapError, DataError, OptionError, OutputError
        If maps, labels, options or the output cannot be used.
    """
    written = path_of("output", output)
    if written is None and min_area is not None:
        raise OptionError(
            "min_area is for polygons of changes", Message("pass {output}, or leave out {min_area}")
        )
    target = None if written is None else PolygonsFile(path=written, min_area=min_area, overwrite=overwrite)
    options = EvaluateOptions(
        block_size=block_size,
        groups=False,
        boundary_distance=1,
        labels=ReferenceOptions(
            class_field=class_field, layer=layer, encoding=encoding, band=band, overlap=overlap,
            all_touched=all_touched, buffer=buffer, unlabelled=unlabelled, ignore=ignore,
            class_labels=class_labels or {},
        ),
    )  # fmt: skip
    known = legend_of(legend)
    names = [
        str(each) if isinstance(each, str | PathLike) else f"map {number}"
        for number, each in enumerate((first, second), start=1)
    ]
    one = OpenMap.of(first, known, names[0])
    maps = one, OpenMap.of(second, known, names[1], fallback=one.legend)
    _check_alike(*maps, warp=_MATCH if is_xarray(second) else _WARP)
    labels = None if reference is None else maps[0].reference(file_given("reference", reference), options)
    with shown(progress) as told:
        found = _compared(*maps, labels, options, told)
    if target is not None:
        pixels = ComparedPixels(
            rows=lambda: _changes(*maps), counts=found.counts, legend=one.legend, grid=one.read.grid
        )
        write_differences(target, pixels, CHANGES)
    return found


def _compared(
    first: OpenMap,
    second: OpenMap,
    labels: Reference | None,
    options: EvaluateOptions,
    told: OnProgress | None,
) -> Comparison:
    """Read both maps once."""
    grid, classes = first.read.grid, len(first.legend.codes)
    edge = options.edge(grid)
    counts = BlockCounts.empty(grid.shape, max(grid.shape), classes)
    ones, others = (BlockCounts.empty(grid.shape, edge, classes) for _ in range(2))
    watch = RowsDone(told, grid.height)
    for rows in _changes(first, second):
        height, width = rows.found.shape
        counts.add(rows.first, rows.truth, rows.found)
        if labels is not None:
            truth = labels.indices(Window(row=rows.first, col=0, height=height, width=width))
            truth = np.where(rows.compared, truth, np.int16(IGNORED))
            ones.add(rows.first, truth, rows.truth)
            others.add(rows.first, truth, rows.found)
        watch(height)
    if not counts.total.any():
        raise ClassMapError(f"{first.name} and {second.name}: no pixel has a class in both")
    blocks = None
    if labels is not None:
        kept = ones.counts.any(axis=(2, 3))
        if not kept.any():
            raise DataError(f"{labels.labels.path}: no pixel has a label and a class in both maps")
        blocks = np.stack([ones.counts[kept], others.counts[kept]])
    return Comparison(
        names=(first.name, second.name), legend=first.legend, counts=counts.total, blocks=blocks, edge=edge
    )


def _changes(first: OpenMap, second: OpenMap) -> Iterator[Rows]:
    """Yield the rows of both maps; the first one takes the place of the reference."""
    indices = [class_index(each.legend, each.name) for each in (first, second)]
    row = 0
    for one, other in zip(in_pieces(first.read.strips(0)), in_pieces(second.read.strips(0)), strict=True):
        truth, found = indices[0](one), indices[1](other)
        known = (truth != IGNORED) & (found != IGNORED)
        rows = Rows(first=row, found=found, truth=truth, unlabelled=0, unmapped=0)
        ignored = np.int16(IGNORED)
        yield replace(rows, found=np.where(known, found, ignored), truth=np.where(known, truth, ignored))
        row += len(found)


def _check_alike(first: OpenMap, second: OpenMap, *, warp: str) -> None:
    """Refuse maps that cannot be compared pixel by pixel; `warp` brings the second one to the grid of the first."""
    for each in (first, second):
        if each.layered:
            raise OptionError(f"{each.name}: is a multilabel map, expected one with one class a pixel")
    if problem := second.read.grid.differs_from(first.read.grid):
        raise ClassMapError(
            f"{second.name}: does not lie on the grid of {first.name}: {problem}; warp it there with {warp}"
        )
    if first.legend.codes != second.legend.codes:
        raise ClassMapError(
            f"{second.name}: has classes {', '.join(map(str, second.legend.codes))}, and {first.name} has "
            f"{', '.join(map(str, first.legend.codes))}; give both one legend"
        )
    refuse_other_names((first, second))
