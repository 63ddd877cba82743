"""A scene and a model make land-cover polygons: predict, then vectorize."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.legend import NODATA
from geoseg.inference.asked import Asked, finished_before
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.predict import (
    Writing,
    check_rasters,
    product_tags,
    report_on,
    stored_as,
    write_class_map,
    write_shares,
)
from geoseg.inference.prepare import Job, prepare
from geoseg.inference.summary import Report, identity

if TYPE_CHECKING:
    import geopandas

    from geoseg.engine.bands import BandResult
    from geoseg.engine.storage import Storage
    from geoseg.inference.run import Run
    from geoseg.models.model import Model
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vector.vectorize import Vectorization


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOutputs:
    """Files of one `segment`.

    Parameters
    ----------
    polygons : Path
        A GeoPackage, ``.gpkg``; GeoParquet, ``.parquet``; FlatGeobuf, ``.fgb``; or GeoJSON, ``.geojson``: as
        `geoseg.vectorize` writes them.
    raster, confidence, probabilities : Path, optional
        Class map, confidence and probabilities to keep.
    storage : str
        As `PredictOutputs` has it.
    layer : str, optional
        Name of the polygon layer, ``landcover`` by default; of a multilabel model, what stands before the
        classes' names, which name a layer each.
    drawn : VectorizeOptions, optional
        How the polygons are drawn: smallest area, simplified and smoothed boundaries, some of the classes.
    """

    polygons: Path
    raster: Path | None = None
    confidence: Path | None = None
    probabilities: Path | None = None
    storage: Storage = "uint8"
    layer: str | None = None
    drawn: VectorizeOptions | None = None

    def __post_init__(self) -> None:
        """Refuse names that say no format, or another one than is written, and another storage."""
        from geoseg.vector.formats import check_vector_name

        check_vector_name(self.polygons)
        check_rasters(self.paths[1:], self.storage)

    @property
    def paths(self) -> list[Path]:
        """All files, the polygons first."""
        rasters = self.raster, self.confidence, self.probabilities
        return [self.polygons, *(path for path in rasters if path is not None)]

    def asked(self, writing: Writing) -> Asked:
        """Return which products a job is to write, and how they replace what is there."""
        stored = stored_as(self.probabilities, self.storage)
        drawn = {} if self.drawn is None else self.drawn.words | {"scene": self.drawn.scene}
        return Asked(
            outputs=tuple(self.paths),
            identity=identity(
                "segment",
                self.paths,
                layer=self.layer or "",
                drawn={key: value for key, value in drawn.items() if value},
                **stored,
            ),
            **stored,
            overwrite=writing.overwrite,
            fresh=writing.fresh,
        )


def segment(
    scene: Any,
    model: Path | str | Model,
    *,
    options: PredictOptions | None = None,
    drawn: VectorizeOptions | None = None,
    output: SegmentOutputs | Path | str | None = None,
    writing: Writing | None = None,
) -> geopandas.GeoDataFrame | Path:
    """Turn a scene into land-cover polygons.

    Parameters
    ----------
    scene : path, list of path, mapping of str to path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
        A list is a file for each band, a mapping gives them names (`Scene.open`).
        As `geoseg.predict` takes it, a single one; a lazy one is read a row of chunks at a time.
    model : path or Model
    options : PredictOptions, optional
    drawn : VectorizeOptions, optional
        How the polygons are drawn, as `geoseg.vectorize` takes it; a SegmentOutputs says it itself.
    output : path or SegmentOutputs, optional
        File to write: a GeoPackage, with its legend as QGIS's default style, GeoParquet, FlatGeobuf or GeoJSON by
        its ending. Without it the polygons are returned.
    writing : Writing, optional

    Returns
    -------
    GeoDataFrame or Path
        Polygons with ``class_code``, ``class_name``, ``area_m2``, ``pixels`` and ``confidence`` in the scene's
        CRS, a gapless coverage of its valid pixels; of a multilabel model, for each class a coverage of where
        it is, one after the other. With `output`, its path. The same bytes as ``geoseg segment``.
    """
    job = prepare(scene, model, options or PredictOptions())
    if output is None:
        return _frame(job, drawn)
    if isinstance(output, SegmentOutputs):
        if drawn is not None:
            raise OptionError("drawn is said by SegmentOutputs, too, expected one of the two")
        outputs = output
    else:
        outputs = SegmentOutputs(polygons=Path(output), drawn=drawn)
    return segment_file(job, outputs, writing or Writing()).output


def segment_file(
    job: Job, outputs: SegmentOutputs, writing: Writing, progress: Progress | None = None
) -> Report:
    """Write the polygons of a prepared job, and the rasters that are to be kept, and report on it."""
    from geoseg.inference.run import computed

    asked = outputs.asked(writing)
    if not (writing.overwrite or writing.fresh) and (before := finished_before(job, asked)) is not None:
        return before
    check_polygons(job, outputs)
    with computed(job, asked, progress) as run:
        started = time.perf_counter()
        write_shares(run, outputs.confidence, outputs.probabilities)
        if outputs.raster is not None and outputs.raster in run.claims:
            write_class_map(run, outputs.raster)
        rasters_done = time.perf_counter()
        report = run.earlier
        if report is None:
            if progress is not None:
                progress(job.grid.height, job.grid.height, "vectorize")
            counted, notes = _write_polygons(run, outputs)
            stages = {"rasters": rasters_done - started} if len(run.claims) > 1 else {}
            stages["vectorize"] = time.perf_counter() - rasters_done
            report = report_on(run, outputs.polygons, counted, stages)
            report.notes.extend(notes)
        report.save(outputs.paths[1:])
    return report


class _Results:
    """Rows of a result as `Vectorization` reads them: codes, and the confidence of the newest of them.

    Parameters
    ----------
    job : Job
    codes, confidence : callable
        Rows from top to bottom, of the whole result or of one of its layers.
    """

    def __init__(self, job: Job, codes: Layered, confidence: Layered) -> None:
        self._job, self._codes, self._confidence = job, codes, confidence
        self._newest = np.empty((0, 0), dtype=np.uint8)

    def strips(self, index: int) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
        """Codes and where they are valid."""
        layer = None if self._job.layers is None else index
        for codes, share in zip(self._codes(layer), self._confidence(layer), strict=True):
            self._newest = share
            yield codes, codes != NODATA

    def confidence(self, _row: int, _stop: int) -> npt.NDArray[np.uint8]:
        """Confidence of the rows that were yielded last."""
        return self._newest

    def vectorization(self, options: VectorizeOptions | None) -> Vectorization:
        """Plan their polygons.

        Raises
        ------
        OptionError
        """
        from geoseg.vector.options import VectorizeOptions
        from geoseg.vector.sources import ReadMap
        from geoseg.vector.vectorize import Vectorization

        options = options or VectorizeOptions()
        if options.probabilities is not None:
            raise OptionError(
                "probabilities are of a class map that is there; keep them and the map with SegmentOutputs, then "
                "vectorize these"
            )
        for name in ("band", "multipolygon"):
            if getattr(options, name):
                raise OptionError(
                    f"{name} is of a class map that is there; write the map, then vectorize it so"
                )
        legend, job = self._job.card.classes, self._job
        found = ReadMap(
            grid=job.grid,
            legend_of=lambda _: legend,
            strips=self.strips,
            layers=None if job.layers is None else legend,
        )
        made = Vectorization.of_rows(found, [self.confidence] * (job.layers or 1), options)
        return replace(made, scene=options.scene or job.name)


Strips = Iterable[npt.NDArray[np.uint8]]
Layered = Callable[[int | None], Strips]


def _nothing(_: int | None) -> Strips:
    return ()


def check_polygons(job: Job, outputs: SegmentOutputs) -> None:
    """Refuse polygons that could not be made or written, before anything is computed.

    Raises
    ------
    OptionError, OutputError
    """
    from geoseg.vector.formats import check_crs
    from geoseg.vector.kept_layers import content_beside

    work = _Results(job, _nothing, _nothing).vectorization(outputs.drawn)
    check_crs(outputs.polygons, job.grid.crs)
    content_beside(outputs.polygons, work.written(_layer_names(job, outputs)))


def _layer_names(job: Job, outputs: SegmentOutputs) -> str | dict[int, str]:
    from geoseg.vector.layers import layer_names_of

    return layer_names_of(job.card.classes if job.layers else None, outputs.layer)


def _write_polygons(run: Run, outputs: SegmentOutputs) -> tuple[tuple[list[dict[str, Any]], int], list[str]]:
    """Vectorize the stored bands, write, verify and commit; return what `report_on` takes, and hints."""
    from geoseg.vector.formats import write_polygons
    from geoseg.vector.kept_layers import kept_beside
    from geoseg.vector.proof import proof_lines

    job, claim = run.job, run.claims[outputs.polygons]
    results = _Results(job, run.store.codes, run.store.confidence)
    work = replace(results.vectorization(outputs.drawn), metadata=product_tags(run))
    names = _layer_names(job, outputs)
    base = kept_beside(outputs.polygons, work.written(names))
    finished = claim.prepare()
    work.tally.distorted = write_polygons(finished, work.layers(names, base), base)
    if base is not None:
        base.check_unchanged()
    claim.commit(finished)
    tally = work.tally
    valid = tally.pixels
    if job.layers is not None or work.kept is not None:
        first = None if job.layers is None else 0
        valid = sum(int((strip != NODATA).sum()) for strip in run.store.codes(first))
    more = job.card.image_size is None and job.tiling.overlap < job.tiling.size // 2
    calmer = "a larger --overlap or a better model" if more else "a better model"
    return (tally.class_rows(), valid), [*tally.hints(calmer), *proof_lines(tally.proofs, tally.distorted)]


def _frame(job: Job, options: VectorizeOptions | None) -> geopandas.GeoDataFrame:
    from geoseg.inference.run import compute_in_memory

    results: list[BandResult] = []

    def codes(layer: int | None) -> Strips:
        return (result.codes if layer is None else result.codes[layer] for result in results)

    def confidence(layer: int | None) -> Strips:
        return (result.confidence if layer is None else result.confidence[layer] for result in results)

    work = _Results(job, codes, confidence).vectorization(options)  # which is checked before the long work
    results += compute_in_memory(job, None)[0]
    return work.features().to_geodataframe()
