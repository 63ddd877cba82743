"""The verb vectorize: class maps in any form to polygons."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np

from geoseg.errors import Message, OptionError
from geoseg.grid.legend import Legend
from geoseg.polygons.absorb import absorbed
from geoseg.polygons.features import Features
from geoseg.polygons.outline import Outline
from geoseg.polygons.proof import Proof
from geoseg.polygons.stream import Wanted, nothing_of, polygonize_strips
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.classmap import Strip
from geoseg.raster.file_kinds import GEOPACKAGE, kind_by_name
from geoseg.raster.legend_file import legend_of
from geoseg.raster.xarray_bridge import is_dataset
from geoseg.storage.output import claim, refuse_without_output
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.sources import ReadMap, Rows, opened, share_rows, stacked_share_rows
from geoseg.vector.summary import ClassTotals, chosen_codes
from geoseg.vector.xarray_maps import ComputedTogether
from geoseg.vectorfiles.appending import Base
from geoseg.vectorfiles.arrow_writer import Layer, check_layer_name
from geoseg.vectorfiles.dissolve import multipolygon_tables, one_row_a_class
from geoseg.vectorfiles.formats import check_append, check_vector_name, write_polygons
from geoseg.vectorfiles.geopackage import write_tables
from geoseg.vectorfiles.kept_layers import kept_beside
from geoseg.vectorfiles.layers import layer_names_of, stream_layer

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
    probabilities: Confidence | None = ...,
    legend: LegendLike | None = ...,
    min_area: str | None = ...,
    simplify: str | None = ...,
    smooth: bool = ...,
    classes: Sequence[str | int] = ...,
    scene_name: str | None = ...,
    band: int | None = ...,
    multipolygon: bool = ...,
    workers: int = ...,
    rows: int | None = ...,
    output: None = ...,
    progress: ShowProgress = ...,
) -> gpd.GeoDataFrame: ...


@overload
def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = ...,
    probabilities: Confidence | None = ...,
    legend: LegendLike | None = ...,
    min_area: str | None = ...,
    simplify: str | None = ...,
    smooth: bool = ...,
    classes: Sequence[str | int] = ...,
    scene_name: str | None = ...,
    band: int | None = ...,
    multipolygon: bool = ...,
    workers: int = ...,
    rows: int | None = ...,
    output: str | PathLike[str],
    layer: str | None = ...,
    overwrite: bool = ...,
    append: bool = ...,
    duplicate: bool = ...,
    progress: ShowProgress = ...,
) -> Path: ...


def vectorize(
    source: Source,
    *,
    confidence: Confidence | None = None,
    probabilities: Confidence | None = None,
    legend: LegendLike | None = None,
    min_area: str | None = None,
    simplify: str | None = None,
    smooth: bool = False,
    classes: Sequence[str | int] = (),
    scene_name: str | None = None,
    band: int | None = None,
    multipolygon: bool = False,
    workers: int = 1,
    rows: int | None = None,
    output: str | PathLike[str] | None = None,
    layer: str | None = None,
    overwrite: bool = False,
    append: bool = False,
    duplicate: bool = False,
    progress: ShowProgress = None,
) -> gpd.GeoDataFrame | Path:
    """Turn a class map into land-cover polygons.

    Files and lazy arrays are read once, a few rows at a time; polygons are written as soon as their regions end.

    Parameters
    ----------
    source : path, ClassMap, LayeredMap, xarray.DataArray, xarray.Dataset or (row, col) array
        Any integer class map, or a multilabel map of geoseg's (a file, or an array with a dim ``class``). A
        Dataset is what `geoseg.predict` returns: its `landcover` and `confidence`. A plain array has no CRS,
        and pixels of 1 x 1.
    confidence : path, DataArray or (row, col) array, optional
        Probability of the written class on the same grid: uint8 in steps of 1/254 with 255 for none, or
        floats 0 to 1 with NaN for none. Of a multilabel map with a band a class.
    probabilities : path, DataArray or (class, row, col) array, optional
        Of the classes of the map's legend, in their order, as confidence has them: polygons say which other
        class is the most probable.
    legend : Legend or path, optional
        Names and colours, or a file of them; codes that it does not name keep the map's own.
    min_area : str, optional
        Area that a polygon has at least, ``20px``, or on the ground, as ``area_m2`` says it: ``500m2``, ``0.5ha``
        or ``2km2``. Smaller regions go to the neighbour with the longest shared border (`geoseg.polygons.absorb`).
    simplify : str, optional
        Tolerance, ``1px``, or ``5m`` on the ground where a vertex lies: vertices go whose triangle with their
        neighbours on the boundary is at most the square of it large, on both sides of the boundary alike
        (`geoseg.polygons.simplify`). Borders of the map and of no data stay, and so do corners where three or
        more regions meet.
    smooth : bool
        Whether boundaries run through the midpoints of pixel edges instead of along them, before they are
        simplified (`geoseg.polygons.smooth`).
    classes : sequence of str or int
        Names or codes of the legend: only polygons of these classes come out, as they would with all others
        around them; all by default.
    scene_name : str, optional
        Name of the scene that the map is of, which every polygon says.
    band : int, optional
        Number from 1 of the band of class codes, in a file that has several.
    multipolygon : bool
        Whether each class is one row, a multipolygon, instead of a row for each region. In a GeoPackage that
        polygons are appended to, those of a class grow together across the seam. All of them are held in memory.
    workers : int
        Threads; the polygons do not depend on it.
    rows : int, optional
        Rows of the map in work at a time, by default about four million pixels; nor on this. Where boundaries are
        redrawn the width of the map says how many there are.
    output : path, optional
        File to write: a GeoPackage, ``.gpkg``, with the legend as QGIS's default style; GeoParquet, ``.parquet``;
        FlatGeobuf, ``.fgb``, in the order of its spatial index; or GeoJSON, ``.geojson``, in longitude and latitude.
        By default a GeoDataFrame is returned.
    layer : str, optional
        Layer of the file, ``landcover`` by default. A multilabel map becomes one GeoPackage layer per class, named
        after it, with this as a prefix.
    overwrite : bool
        Whether `output` may replace a file; in a GeoPackage with other content only the layers of these names are
        replaced.
    append : bool
        Whether the polygons are added to the layer of a GeoPackage, which is the old complete file or the new complete
        one at every instant. CRS and class names must match those of the layer. A missing file or layer is created.
    duplicate : bool
        Whether polygons may be added of a scene that the layer already has on the same grid.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    GeoDataFrame or Path
        Polygons with `class_code`, `class_name`, `area_m2`, `pixels`, where given `confidence`, `perimeter_m`,
        where asked for `second_code`, `second_name`, `second_share` and `scene`; or `output`.
        Of a multilabel map a coverage for each class, one after the other.

    Raises
    ------
    ClassMapError, LegendError, OptionError, OutputError
        If the map, the legend, an option or the output cannot be used.
    """
    chosen, names = VectorizeOptions.of(locals()), legend_of(legend)
    if output is None:
        refuse_without_output(layer=layer, overwrite=overwrite, append=append, duplicate=duplicate)
        with shown(progress) as told:
            job = Vectorization.of(source, confidence, names, chosen).watched(told)
            frame = job.features().to_geodataframe()
        return one_row_a_class(frame) if chosen.multipolygon else frame
    target = Target(path=Path(output), layer=layer, overwrite=overwrite, append=append, duplicate=duplicate)
    with shown(progress) as told:
        vectorize_file(source, target, confidence=confidence, legend=names, options=chosen, progress=told)
    return target.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Output of `vectorize`: a file of polygons and how to write it."""

    path: Path
    layer: str | None = None
    overwrite: bool = False
    append: bool = False
    duplicate: bool = False

    def check(self) -> None:
        """Raise OptionError for a combination of options that cannot be written."""
        if self.layer is not None:
            check_layer_name(self.layer)
        check_vector_name(self.path)
        if self.append:
            check_append(self.path)
        if self.append and self.overwrite:
            raise OptionError("append adds to a file and overwrite replaces it, expected one of the two")
        if self.duplicate and not self.append:
            raise OptionError("duplicate applies to append only, expected both")


def vectorize_file(
    source: Source,
    target: Target,
    *,
    confidence: Confidence | None = None,
    legend: Legend | None = None,
    options: VectorizeOptions | None = None,
    progress: OnProgress | None = None,
) -> ClassTotals:
    """Write the polygons of a class map as `vectorize` with an output does; return their counts."""
    target.check()
    chosen = options or VectorizeOptions()
    if chosen.multipolygon and kind_by_name(target.path) != GEOPACKAGE:
        raise OptionError(
            f"{target.path}: multipolygons are written as a GeoPackage, expected a name in .gpkg"
        )
    with claim(target.path, overwrite=target.overwrite or target.append) as claimed:
        base = Base.of(target.path) if target.append and target.path.exists() else None
        job = Vectorization.of(source, confidence, legend, chosen).watched(progress)
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
            job.totals.distorted = write_polygons(finished, layers, base)
        for line in job.totals.hints():
            _log.info(line)
        if legend is not None and (strange := legend.strange_to(job.totals.codes)):
            _log.warning("%s: %s; no class was renamed", target.path, strange)
        if base is not None:
            base.check_unchanged()
        claimed.commit(finished)
    return job.totals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectorization:
    """A vectorization that is about to start, in one pass over the rows of a map.

    Parameters
    ----------
    map : ReadMap
        The map to read.
    wanted : Wanted
        Requested polygons and attributes.
    confidence : list of Rows
        Confidence of the written class, for a multilabel map one per layer; empty without confidence.
    probabilities : Rows or None
        Probabilities of all classes.
    options : VectorizeOptions
        Options of the user.
    kept : set of int or None
        Codes of the only classes whose polygons are returned.
    totals : ClassTotals
        Counts of the polygons.
    scene : str or None
        Name of the scene in the metadata of the layers.
    metadata : mapping of str to str
        Further metadata of the layers of a GeoPackage.
    """

    map: ReadMap
    wanted: Wanted
    confidence: list[Rows]
    probabilities: Rows | None
    options: VectorizeOptions
    kept: frozenset[int] | None
    totals: ClassTotals
    scene: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: Source, confidence: Confidence | None, legend: Legend | None, options: VectorizeOptions
    ) -> Vectorization:
        """Open all inputs."""
        together = ComputedTogether.of(source) if confidence is None else None
        if confidence is None and is_dataset(source):
            confidence = source.get("confidence")
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
                    + ("is multilabel" if found.layers else "has none"),
                    Message("pass its {confidence}" if found.layers else "pass {legend}"),
                )
            expected = len(known.classes)
            probable = stacked_share_rows(
                options.probabilities, found.grid, expected=expected, what="probabilities"
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
        """Prepare the vectorization of rows that exist or are still to come.

        Raises
        ------
        OptionError
            If the options do not suit the map, such as an unknown class or a unit that its grid does not support.
        """
        known = found.legend_of(()) if found.layers is None else found.layers
        kept = chosen_codes(options.classes, known)
        options.least_size(found.grid)
        wanted = Wanted(
            grid=found.grid,
            legend=known,
            confidence=bool(confidence),
            classes=known.codes if probabilities is not None and known is not None else None,
            scene=options.scene_name,
            outline=Outline.of(options.simplify, smooth=options.smooth, grid=found.grid),
        )
        return cls(
            map=found,
            wanted=wanted,
            confidence=confidence,
            probabilities=probabilities,
            options=options,
            kept=kept,
            totals=ClassTotals(found.legend_of, kept),
            scene=options.scene_name,
        )

    def watched(self, told: OnProgress | None) -> Vectorization:
        """Return the same with a function that is called as rows are read."""
        if told is None:
            return self
        layers = 1 if self.map.layers is None else len(self.map.layers.classes)
        total, strips = self.map.grid.height * layers, self.map.strips

        def counted(index: int) -> Iterator[Strip]:
            done = index * self.map.grid.height
            for strip in strips(index):
                done += len(strip[0])
                yield strip
                del strip  # before the next ones are read
                told(done, total, "vectorize")

        return replace(self, map=replace(self.map, strips=counted))

    def features(self) -> Features:
        """Return all polygons at once."""
        parts = [part for _, _, stream in self.streams() for part in stream]
        return Features.joined(parts, self.totals.legend)

    def streams(self) -> Iterator[tuple[int, Proof, Iterator[Features]]]:
        """Yield the index of each layer, the measurements of its polygons, and the polygons themselves."""
        classes = self.map.layers
        for index in range(1 if classes is None else len(classes.classes)):
            if classes is not None and self.kept is not None and classes.codes[index] not in self.kept:
                continue
            proof = self._proof()
            self.totals.proofs.append(proof)
            yield index, proof, self.totals.watch(proof.watch(self._polygons(index, proof)))

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
        strips = self.map.rows(index, share, self.probabilities)
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
        """Return the names of the layers that will be written."""
        if isinstance(names, str):
            return [names]
        return [name for code, name in names.items() if self.kept is None or code in self.kept]

    def check_new(self, names: str | dict[int, str], base: Base) -> None:
        """Raise OptionError if a layer already has polygons of this map."""
        for name in self.written(names):
            base.check_new(base.spelled(name), self._proof().entry(), self.wanted.legend)

    def layers(
        self, names: str | dict[int, str], base: Base | None = None
    ) -> Iterator[tuple[Layer, Iterable[Features]]]:
        """Return the layers to write, after checking that they can be added to an existing file.

        Raises
        ------
        OptionError, LegendError
            If they cannot be added.
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
        """Return the legend of what was written to a layer, after checking it against the existing layer."""
        legend = own or self.totals.style
        if base is not None:
            base.check_legend(name, legend)
        return legend
