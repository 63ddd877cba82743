"""Class map from anywhere to polygons: the public verb."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np

from geoseg.errors import OptionError
from geoseg.grid.legend import Legend
from geoseg.raster.file_kinds import GEOPACKAGE, kind_by_name
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import claim
from geoseg.vector.absorb import absorbed
from geoseg.vector.appending import Base
from geoseg.vector.arrow_writer import Layer, check_layer_name
from geoseg.vector.dissolve import multipolygon_tables, one_row_a_class
from geoseg.vector.features import Features
from geoseg.vector.formats import check_append, check_vector_name, write_polygons
from geoseg.vector.geopackage import write_tables
from geoseg.vector.kept_layers import kept_beside
from geoseg.vector.lattice import ComputedTogether, dataset_of
from geoseg.vector.layers import layer_names_of, stream_layer
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.outline import Outline
from geoseg.vector.proof import Proof
from geoseg.vector.sources import ReadMap, Rows, opened, share_rows, stacked
from geoseg.vector.stream import Wanted, nothing_of, polygonize_strips
from geoseg.vector.summary import Tally, chosen_codes

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.vector.sources import Confidence, Source

    LegendLike: TypeAlias = Legend | str | PathLike[str]

_log = logging.getLogger(__name__)


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
    append: bool = ...,
    duplicate: bool = ...,
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
    append: bool = False,
    duplicate: bool = False,
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
        Names and colours, or a file of them; codes that it does not name keep the map's own.
    options : VectorizeOptions, optional
    output : path, optional
        File to write: a GeoPackage, ``.gpkg``, with the legend as QGIS's default style; GeoParquet,
        ``.parquet``; FlatGeobuf, ``.fgb``, in the order of its spatial index; or GeoJSON, ``.geojson``, in
        longitude and latitude. Without it a GeoDataFrame is returned.
    layer : str, optional
        Layer of the file, ``landcover`` by default. A multilabel map becomes a layer of a GeoPackage for each
        class, named as the class is; then this stands before each name.
    overwrite : bool
        Whether `output` may replace a file; of a GeoPackage with other content only the layers of these names are
        replaced.
    append : bool
        Whether the polygons are added to the layer of a GeoPackage, which then is the old complete file or the new
        complete one at every instant. CRS and the names of codes must be those that the layer has. A
        file or layer that is not there is made.
    duplicate : bool
        Whether polygons may be added of a scene that the layer already has on the same grid.

    Returns
    -------
    GeoDataFrame or Path
        Polygons with `class_code`, `class_name`, `area_m2`, `pixels`, where given `confidence`, `perimeter_m`,
        and as the options say `second_code`, `second_name`, `second_share` and `scene`; or `output`.
        Of a multilabel map a coverage for each class, one after the other.

    Raises
    ------
    ClassMapError, LegendError, OptionError, OutputError
    """
    names, chosen = legend_of(legend), options or VectorizeOptions()
    if output is None:
        frame = Vectorization.of(source, confidence, names, chosen).features().to_geodataframe()
        return one_row_a_class(frame) if chosen.multipolygon else frame
    target = Target(path=Path(output), layer=layer, overwrite=overwrite, append=append, duplicate=duplicate)
    vectorize_file(source, target, confidence=confidence, legend=names, options=chosen)
    return target.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file of polygons that is to be written; as `vectorize` takes it."""

    path: Path
    layer: str | None = None
    overwrite: bool = False
    append: bool = False
    duplicate: bool = False

    def check(self) -> None:
        """Raise OptionError unless it can be written."""
        if self.layer is not None:
            check_layer_name(self.layer)
        check_vector_name(self.path)
        if self.append:
            check_append(self.path)
        if self.append and self.overwrite:
            raise OptionError("append adds to a file and overwrite replaces it, expected one of the two")
        if self.duplicate and not self.append:
            raise OptionError("duplicate is about polygons that are added, expected append with it")


def vectorize_file(
    source: Source,
    target: Target,
    *,
    confidence: Confidence | None = None,
    legend: Legend | None = None,
    options: VectorizeOptions | None = None,
) -> Tally:
    """Write the polygons of a class map, as `vectorize` with an output does; return what they count."""
    target.check()
    chosen = options or VectorizeOptions()
    if chosen.multipolygon and kind_by_name(target.path) != GEOPACKAGE:
        raise OptionError(
            f"{target.path}: multipolygons are written as a GeoPackage, expected a name in .gpkg"
        )
    with claim(target.path, overwrite=target.overwrite or target.append) as claimed:
        base = Base.of(target.path) if target.append and target.path.exists() else None
        job = Vectorization.of(source, confidence, legend, chosen)
        names = layer_names_of(job.map.layers, target.layer)
        if target.overwrite and kind_by_name(target.path) == GEOPACKAGE:
            base = kept_beside(target.path, job.written(names))
        layers = job.layers(names, base)
        if base is not None and not target.duplicate:
            job.check_new(names, base)
        finished = claimed.prepare()
        if chosen.multipolygon:
            anew = base and replace(base, replaced=frozenset(job.written(names)), styled=target.append)
            write_tables(finished, multipolygon_tables(layers, base if target.append else None), anew)
        else:
            job.tally.distorted = write_polygons(finished, layers, base)
        for line in job.tally.hints():
            _log.info(line)
        if legend is not None and (strange := legend.strange_to(job.tally.codes)):
            _log.warning("%s: %s; no class got a name of it", target.path, strange)
        if base is not None:
            base.check_unchanged()
        claimed.commit(finished)
    return job.tally


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectorization:
    """A map that is about to be vectorized, in a pass over its rows.

    Parameters
    ----------
    map : ReadMap
    wanted : Wanted
        What its polygons are to say.
    confidence : list of Rows
        Of the written class; of a multilabel map for each layer. Empty where there is none.
    probabilities : Rows or None
    options : VectorizeOptions
    kept : set of int or None
        Codes of the only classes whose polygons come out.
    tally : Tally
        What came out.
    scene : str or None
        What is known of the polygons is said of this scene.
    metadata : mapping of str to str
        Kept with the layers of a GeoPackage.
    """

    map: ReadMap
    wanted: Wanted
    confidence: list[Rows]
    probabilities: Rows | None
    options: VectorizeOptions
    kept: frozenset[int] | None
    tally: Tally
    scene: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: Source, confidence: Confidence | None, legend: Legend | None, options: VectorizeOptions
    ) -> Vectorization:
        """Open everything that is to be read."""
        together = ComputedTogether.of(source) if confidence is None else None
        if confidence is None and (dataset := dataset_of(source)) is not None:
            confidence = dataset.get("confidence")
        found = opened(source, legend, options.band)
        known = found.legend_of(()) if found.layers is None else found.layers
        shares: list[Rows] = []
        if together is not None:
            found, shares = replace(found, strips=together.strips), [together.confidence]
        elif confidence is not None:
            bands = 1 if found.layers is None else len(found.layers.classes)
            shares = share_rows(confidence, found.grid, expected=bands, what="confidence")
        probable = None
        if options.probabilities is not None:
            if found.layers is not None or known is None:
                raise OptionError(
                    "probabilities are of the classes of a map's legend, and this map "
                    + ("is multilabel: pass its confidence" if found.layers else "has none: pass --legend")
                )
            expected = len(known.classes)
            probable = stacked(
                share_rows(options.probabilities, found.grid, expected=expected, what="probabilities")
            )
        return cls.of_rows(found, shares, options, probable)

    @classmethod
    def of_rows(
        cls,
        found: ReadMap,
        confidence: list[Rows],
        options: VectorizeOptions,
        probabilities: Rows | None = None,
    ) -> Vectorization:
        """Plan the polygons of rows that are there or still to come.

        Raises
        ------
        OptionError
            If the options do not suit the map: a class that it has not, a unit that its grid has not.
        """
        known = found.legend_of(()) if found.layers is None else found.layers
        kept = chosen_codes(options.classes, known)
        options.least_size(found.grid)
        wanted = Wanted(
            grid=found.grid,
            legend=known,
            confidence=bool(confidence),
            classes=known.codes if probabilities is not None and known is not None else None,
            scene=options.scene,
            outline=Outline.of(options.simplify, smooth=options.smooth, grid=found.grid),
        )
        return cls(
            map=found,
            wanted=wanted,
            confidence=confidence,
            probabilities=probabilities,
            options=options,
            kept=kept,
            tally=Tally(found.legend_of, kept),
            scene=options.scene,
        )

    def features(self) -> Features:
        """Return all polygons at once."""
        parts = [part for _, _, stream in self.streams() for part in stream]
        return Features.joined(parts, self.tally.legend)

    def streams(self) -> Iterator[tuple[int, Proof, Iterator[Features]]]:
        """Yield the layers' numbers, what will be known of their polygons, and these, which are counted."""
        classes = self.map.layers
        for index in range(1 if classes is None else len(classes.classes)):
            if classes is not None and self.kept is not None and classes.codes[index] not in self.kept:
                continue
            proof = self._proof()
            self.tally.proofs.append(proof)
            yield index, proof, self.tally.watch(proof.watch(self._polygons(index, proof)))

    def _proof(self) -> Proof:
        return Proof(
            grid=self.map.grid,
            scene=self.scene,
            about=self.options.words,
            exact=self.wanted.outline is None,
        )

    def _polygons(self, index: int, proof: Proof) -> Iterator[Features]:
        workers, rows = self.options.workers, self.options.rows
        share = self.confidence[index] if self.confidence else None
        strips = self.map.bands(index, share, self.probabilities)
        if self.map.layers is None and self.kept is None:
            strips = proof.rows(strips)
        least, ground = self.options.least_size(self.map.grid)
        if least > 1:
            strips = absorbed(strips, self.map.grid, least, rows, proof.merge, ground)
        if self.map.layers is not None:
            return stream_layer(strips, self.wanted, index, workers=workers, rows=rows)
        parts = polygonize_strips(strips, self.wanted, workers=workers, rows=rows)
        if self.kept is None:
            return parts
        codes = np.array(sorted(self.kept), np.int64)
        return (part.of_codes(codes) for part in parts)

    def written(self, names: str | dict[int, str]) -> list[str]:
        """Names of the layers that are written."""
        if isinstance(names, str):
            return [names]
        return [name for code, name in names.items() if self.kept is None or code in self.kept]

    def check_new(self, names: str | dict[int, str], base: Base) -> None:
        """Raise OptionError if a layer has polygons of this map."""
        for name in self.written(names):
            base.check_new(base.spelled(name), self._proof().entry(), self.wanted.legend)

    def layers(
        self, names: str | dict[int, str], base: Base | None = None
    ) -> Iterator[tuple[Layer, Iterable[Features]]]:
        """Return what is to be written, as an addition to what is there already.

        Raises
        ------
        OptionError, LegendError
            If it cannot be added.
        """
        classes = self.map.layers
        legends: list[Legend | None] = [self.wanted.legend]
        if classes is not None:
            legends = [Legend(classes=(c,)) for c in classes.classes]
        called = [names] if isinstance(names, str) else [names[code] for code in names]
        if base is not None:
            called = [base.spelled(name) for name in called]
            nothing = nothing_of(self.wanted)
            for name, legend in zip(called, legends, strict=True):
                base.check(name, nothing, legend)
        return self._layers(called, legends, base)

    def _layers(
        self, names: list[str], legends: list[Legend | None], base: Base | None
    ) -> Iterator[tuple[Layer, Iterable[Features]]]:
        for index, proof, parts in self.streams():
            own = legends[index] if self.map.layers is not None else None
            style = partial(self._style, names[index], own, base)
            layer = Layer(
                name=names[index],
                crs=self.map.grid.crs,
                legend=style,
                metadata=self.metadata,
                coverage=proof.entry,
            )
            yield layer, parts

    def _style(self, name: str, own: Legend | None, base: Base | None) -> Legend:
        """Legend of what was written to a layer; codes that had no name until now may not fit what is there."""
        legend = own or self.tally.style
        if base is not None:
            base.check_legend(name, legend)
        return legend
