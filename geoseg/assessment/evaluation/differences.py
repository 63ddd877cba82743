"""Where two maps, or a map and its reference, differ: polygons, the largest first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from geoseg.assessment.evaluation.blocks import Counts
from geoseg.assessment.evaluation.options import PolygonsFile
from geoseg.assessment.evaluation.rows import Rows
from geoseg.errors import plural
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend, LegendClass
from geoseg.raster.classmap import Strip
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.sources import ReadMap
from geoseg.vector.vectorize import Vectorization
from geoseg.vector.write import write

if TYPE_CHECKING:
    import geopandas as gpd

_log = logging.getLogger(__name__)

_ALIKE: Final = NODATA - 1
"""Code of pixels that do not differ."""
_MOST_PAIRS: Final = _ALIKE - 1
_MOST: Final = 100_000
"""Polygons that are written: the smallest of more are left out, so that memory is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Names of what is compared.

    Parameters
    ----------
    layer : str
        Layer of the GeoPackage.
    truth, found : str
        Columns with the class of the one and of the other.
    words : str
        Name of a polygon's class, with ``{truth}`` and ``{found}``.
    alike : str
        Name of pixels that do not differ.
    """

    layer: str
    truth: str
    found: str
    words: str
    alike: str


ERRORS: Final = Named(
    layer="errors", truth="reference", found="mapped", words="{truth}, mapped as {found}", alike="correct"
)
CHANGES: Final = Named(
    layer="changes", truth="before", found="after", words="{truth} to {found}", alike="unchanged"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPixels:
    """Pixels of two maps, or of a map and its reference.

    Parameters
    ----------
    rows : callable
        Returns the rows, from top to bottom.
    counts : (class, class) int64
        Pixels by (truth, found).
    legend : Legend
        The classes.
    grid : Grid
        Grid of the rows.
    """

    rows: Callable[[], Iterable[Rows]]
    counts: Counts
    legend: Legend
    grid: Grid


def write_differences(target: PolygonsFile, pixels: ComparedPixels, named: Named) -> int:
    """Write polygons of pixels that differ, the largest first; return how many there are.

    Parameters
    ----------
    target : PolygonsFile
        Where they are written.
    pixels : ComparedPixels
        What is compared. Of more than 253 pairs of classes the rarest are left out.
    named : Named
        Names of what is compared.
    """
    import pandas as pd

    counts, legend = pixels.counts, pixels.legend
    pairs = _pairs(counts)
    style = _style(pairs, legend, named)
    options = VectorizeOptions(min_area=target.min_area, classes=list(range(1, len(pairs) + 1)))
    table = np.full((len(counts), len(counts)), NODATA, dtype=np.uint8)
    np.fill_diagonal(table, _ALIKE)
    for code, pair in enumerate(pairs, start=1):
        table[pair] = code

    def strips(_: int) -> Iterator[Strip]:
        for each in pixels.rows():
            codes = np.where(each.compared, table[each.truth, each.found], np.uint8(NODATA))
            yield codes, codes != NODATA

    frame = _largest(
        ReadMap(grid=pixels.grid, legend_of=lambda _: style, strips=strips), options, named.layer
    )
    codes = frame["class_code"].to_numpy() - 1
    for place, column in enumerate((named.truth, named.found)):
        names = [legend.classes[pairs[code][place]].name for code in codes]
        frame.insert(2 + place, column, pd.Series(names, dtype="string"))
    write(frame, target.path, legend=style, layer=named.layer, overwrite=target.overwrite)
    return len(frame)


def _largest(found: ReadMap, options: VectorizeOptions, layer: str) -> gpd.GeoDataFrame:
    """Return the polygons of a map, the largest first; of very many only the largest."""
    import pandas as pd

    work = Vectorization.of_rows(found, [], options)
    frames: list[gpd.GeoDataFrame] = []
    left = 0
    for _, _, stream in work.streams():
        for part in stream:
            frame = part.to_geodataframe()
            # Where nothing differs there are no classes to choose, which means all of them.
            frames.append(frame[frame["class_code"] != _ALIKE])
            if sum(map(len, frames)) > 2 * _MOST:
                whole = _sorted(pd.concat(frames, ignore_index=True))
                left += max(0, len(whole) - _MOST)
                frames = [whole.iloc[:_MOST]]
    whole = _sorted(pd.concat(frames, ignore_index=True))
    left += max(0, len(whole) - _MOST)
    if left:
        _log.warning("%s: %s were left out, the smallest ones", layer, plural(left, "polygon"))
    return whole.iloc[:_MOST]


def _sorted(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.sort_values("pixels", ascending=False, kind="stable", ignore_index=True)


def _pairs(counts: Counts) -> list[tuple[int, int]]:
    """Return the pairs of different classes that occur, the most frequent first."""
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_PAIRS]
    places = [divmod(int(place), len(counts)) for place in order]
    return [pair for pair in places if off[pair]]


def _style(pairs: Sequence[tuple[int, int]], legend: Legend, named: Named) -> Legend:
    classes = [
        LegendClass(
            code=code,
            name=named.words.format(truth=legend.classes[truth].name, found=legend.classes[found].name),
            color=legend.classes[found].color,
        )
        for code, (truth, found) in enumerate(pairs, start=1)
    ]
    return Legend(classes=(*classes, LegendClass(code=_ALIKE, name=named.alike, color="#ffffff")))
