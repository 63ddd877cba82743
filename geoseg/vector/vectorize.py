"""Class map from anywhere to polygons: the public verb."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

from geoseg.errors import OptionError
from geoseg.grid.legend import Legend
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import claim
from geoseg.vector.features import Features
from geoseg.vector.geopackage import Layer, check_geopackage_name, check_layer_name, write_layers
from geoseg.vector.layers import layer_names_of, stream_layer
from geoseg.vector.sources import ReadMap, Rows, opened, share_rows
from geoseg.vector.stream import Wanted, polygonize_strips
from geoseg.vector.summary import Tally

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.vector.sources import Confidence, Source

    LegendLike: TypeAlias = Legend | str | PathLike[str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorizeOptions:
    """How a class map becomes polygons; none of it changes their geometry but `min_area`.

    Parameters
    ----------
    workers : int
        Threads.
    rows : int, optional
        Rows of the map in work at a time, by default about four million pixels.
    """

    workers: int = 1
    rows: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        for name, number in (("workers", self.workers), ("rows", self.rows)):
            if number is not None and number < 1:
                raise OptionError(f"{name} is {number}, expected at least 1")


@overload
def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = ...,
    legend: LegendLike | None = ...,
    options: VectorizeOptions | None = ...,
    output: None = ...,
) -> gpd.GeoDataFrame: ...


@overload
def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = ...,
    legend: LegendLike | None = ...,
    options: VectorizeOptions | None = ...,
    output: str | PathLike[str],
    layer: str | None = ...,
    overwrite: bool = ...,
) -> Path: ...


def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = None,
    legend: LegendLike | None = None,
    options: VectorizeOptions | None = None,
    output: str | PathLike[str] | None = None,
    layer: str | None = None,
    overwrite: bool = False,
) -> gpd.GeoDataFrame | Path:
    """Turn a class map into land-cover polygons.

    A file, and a lazy array, is read once, a few rows at a time; polygons are written as soon as their regions
    end.

    Parameters
    ----------
    source : path, ClassMap, LayeredMap, xarray.DataArray, xarray.Dataset or (row, col) array
        Any integer class map, or a multilabel map of geoseg's (a file, or an array with a dim ``class``). A
        Dataset is what `geoseg.predict` returns: its `landcover` and `confidence`. A plain array has no CRS,
        and pixels of 1 x 1.
    confidence : path, DataArray or (row, col) array, optional
        Probability of the written class on the same grid: uint8 in steps of 1/254 with 255 for none, or
        floats 0 to 1 with NaN for none. Of a multilabel map with a band a class.
    legend : Legend or path, optional
        Names and colours, or a CSV file of them, in place of the map's own.
    options : VectorizeOptions, optional
    output : path, optional
        GeoPackage to write, ``.gpkg``; without it a GeoDataFrame is returned.
    layer : str, optional
        Layer of the GeoPackage, ``landcover`` by default. A multilabel map becomes a layer for each class,
        named as the class is; then this stands before each name.
    overwrite : bool
        Whether `output` may replace a file.

    Returns
    -------
    GeoDataFrame or Path
        Polygons with `class_code`, `class_name`, `area_m2`, `pixels`, where given `confidence`, and
        `perimeter_m`; or `output`. Of a multilabel map a coverage for each class, one after the other.

    Raises
    ------
    ClassMapError, LegendError, OptionError, OutputError
    """
    names, chosen = legend_of(legend), options or VectorizeOptions()
    if output is None:
        job = _Job.of(source, confidence, names, chosen)
        parts = [part for _, stream in job.streams() for part in stream]
        return Features.joined(parts, job.tally.legend).to_geodataframe()
    if layer is not None:
        check_layer_name(layer)
    path = Path(output)
    check_geopackage_name(path)
    with claim(path, overwrite=overwrite) as claimed:
        job = _Job.of(source, confidence, names, chosen)
        finished = claimed.scratch / path.name
        write_layers(finished, job.layers(layer_names_of(job.map.layers, layer)))
        for line in job.tally.hints(predicted=False):
            _log.info(line)
        claimed.commit(finished)
    return path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """A map that is about to be vectorized."""

    map: ReadMap
    shares: list[Rows] = field(default_factory=list)
    options: VectorizeOptions
    tally: Tally

    @classmethod
    def of(
        cls, source: Source, confidence: Confidence | None, legend: Legend | None, options: VectorizeOptions
    ) -> _Job:
        import xarray as xr

        if confidence is None and isinstance(source, xr.Dataset):
            confidence = source.get("confidence")
        found = opened(source, legend)
        shares: list[Rows] = []
        if confidence is not None:
            bands = 1 if found.layers is None else len(found.layers.classes)
            shares = share_rows(confidence, found.grid, expected=bands, what="confidence")
        return cls(map=found, shares=shares, options=options, tally=Tally(found.legend_of))

    def streams(self) -> Iterator[tuple[int, Iterator[Features]]]:
        """Yield the layers' numbers and polygons, which are counted."""
        classes = self.map.layers
        wanted = Wanted(
            grid=self.map.grid,
            legend=self.map.legend_of(()) if classes is None else classes,
            confidence=bool(self.shares),
        )
        for index in range(1 if classes is None else len(classes.classes)):
            strips = self.map.bands(index, self.shares[index] if self.shares else None)
            workers, rows = self.options.workers, self.options.rows
            if classes is None:
                parts = polygonize_strips(strips, wanted, workers=workers, rows=rows)
            else:
                parts = stream_layer(strips, wanted, index, workers=workers, rows=rows)
            yield index, self.tally.watch(parts)

    def layers(self, names: str | dict[int, str]) -> Iterator[tuple[Layer, Iterable[Features]]]:
        """Yield what is to be written."""
        classes = self.map.layers
        for index, parts in self.streams():
            if classes is None:
                assert isinstance(names, str)
                name, style = names, self._legend
            else:
                assert not isinstance(names, str)
                own = Legend(classes=(classes.classes[index],))
                name, style = names[own.codes[0]], partial(Legend, classes=own.classes)
            yield Layer(name=name, crs=self.map.grid.crs, legend=style), parts

    def _legend(self) -> Legend:
        return self.tally.legend
