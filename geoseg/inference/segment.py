"""A scene and a model make land-cover polygons: predict, then vectorize."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import NODATA, Legend
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

    from geoseg.engine.storage import Storage
    from geoseg.inference.run import Run
    from geoseg.models.model import Model
    from geoseg.vector.features import Features
    from geoseg.vector.proof import Proof
    from geoseg.vector.summary import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOutputs:
    """Files of one `segment`.

    Parameters
    ----------
    polygons : Path
        GeoPackage.
    raster, confidence, probabilities : Path, optional
        Class map, confidence and probabilities to keep.
    storage : str
        As `PredictOutputs` has it.
    layer : str, optional
        Name of the polygon layer, ``landcover`` by default; of a multilabel model, what stands before the
        classes' names, which name a layer each.
    """

    polygons: Path
    raster: Path | None = None
    confidence: Path | None = None
    probabilities: Path | None = None
    storage: Storage = "uint8"
    layer: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that say another format than the one that is written, and another storage."""
        from geoseg.vector.geopackage import check_geopackage_name

        check_geopackage_name(self.polygons)
        check_rasters(self.paths[1:], self.storage)

    @property
    def paths(self) -> list[Path]:
        """All files, the polygons first."""
        rasters = self.raster, self.confidence, self.probabilities
        return [self.polygons, *(path for path in rasters if path is not None)]

    def asked(self, writing: Writing) -> Asked:
        """Say what is to become of a job."""
        stored = stored_as(self.probabilities, self.storage)
        return Asked(
            outputs=tuple(self.paths),
            identity=identity("segment", self.paths, layer=self.layer or "", **stored),
            **stored,
            overwrite=writing.overwrite,
            fresh=writing.fresh,
        )


def segment(
    scene: Any,
    model: Path | str | Model,
    *,
    options: PredictOptions | None = None,
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
    output : path or SegmentOutputs, optional
        GeoPackage to write, with its legend as QGIS's default style; without it the polygons are returned.
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
        return _frame(job)
    outputs = output if isinstance(output, SegmentOutputs) else SegmentOutputs(polygons=Path(output))
    return segment_file(job, outputs, writing or Writing()).output


def segment_file(
    job: Job, outputs: SegmentOutputs, writing: Writing, progress: Progress | None = None
) -> Report:
    """Write the polygons of a prepared job, and the rasters that are to be kept, and report on it."""
    from geoseg.inference.run import computed
    from geoseg.vector.kept_layers import content_beside
    from geoseg.vector.layers import layer_names_of

    layer = layer_names_of(job.card.classes if job.layers else None, outputs.layer)
    asked = outputs.asked(writing)
    if not (writing.overwrite or writing.fresh) and (before := finished_before(job, asked)) is not None:
        return before
    content_beside(outputs.polygons, [layer] if isinstance(layer, str) else layer.values())
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
            counted, notes = _write_polygons(run, outputs.polygons, layer)
            stages = {"rasters": rasters_done - started} if len(run.claims) > 1 else {}
            stages["vectorize"] = time.perf_counter() - rasters_done
            report = report_on(run, outputs.polygons, counted, stages)
            report.notes.extend(notes)
        report.save(outputs.paths[1:])
    return report


Strips = Iterable[npt.NDArray[np.uint8]]
Layered = Callable[[int | None], Strips]
"""Rows from top to bottom, of the whole result or of one of its layers."""


def _write_polygons(
    run: Run, path: Path, layer: str | dict[int, str]
) -> tuple[tuple[list[dict[str, Any]], int], list[str]]:
    """Vectorize the stored bands, write, verify and commit; return what `report_on` takes, and hints."""
    from geoseg.vector.arrow_writer import Layer
    from geoseg.vector.geopackage import write_layers
    from geoseg.vector.kept_layers import kept_beside
    from geoseg.vector.proof import proof_lines

    job, legend = run.job, run.job.card.classes
    tally, streams = _polygons(job, run.store.codes, run.store.confidence)
    styles = {c.code: Legend(classes=(c,)) for c in legend.classes}
    names = [(layer, legend)] if isinstance(layer, str) else [(layer[code], styles[code]) for code in layer]
    layers = (
        (
            Layer(
                name=name,
                crs=job.grid.crs,
                legend=partial(_same, style),
                metadata=product_tags(run),
                coverage=proof.entry,
            ),
            parts,
        )
        for (name, style), (proof, parts) in zip(names, streams, strict=True)
    )
    claim = run.claims[path]
    base = kept_beside(path, [name for name, _ in names])
    finished = claim.prepare()
    write_layers(finished, layers, base)
    if base is not None:
        base.check_unchanged()
    claim.commit(finished)
    valid = tally.pixels
    if job.layers is not None:
        valid = sum(int((strip != NODATA).sum()) for strip in run.store.codes(0))
    return (tally.class_rows(), valid), [*tally.hints(), *proof_lines(tally.proofs)]


def _frame(job: Job) -> geopandas.GeoDataFrame:
    from geoseg.inference.run import compute_in_memory
    from geoseg.vector.features import Features

    results, _ = compute_in_memory(job, None)

    def codes(layer: int | None) -> Strips:
        return (result.codes if layer is None else result.codes[layer] for result in results)

    def confidence(layer: int | None) -> Strips:
        return (result.confidence if layer is None else result.confidence[layer] for result in results)

    _, streams = _polygons(job, codes, confidence)
    parts = [part for _, stream in streams for part in stream]
    return Features.joined(parts, job.card.classes).to_geodataframe()


def _polygons(
    job: Job, codes: Layered, confidence: Layered
) -> tuple[Tally, Iterator[tuple[Proof, Iterator[Features]]]]:
    """Vectorize strips of a result, or of each of its layers, as they are asked for, counted and measured."""
    from geoseg.vector.bands import Band
    from geoseg.vector.layers import stream_layer
    from geoseg.vector.proof import Proof
    from geoseg.vector.stream import Wanted, polygonize_strips
    from geoseg.vector.summary import Tally

    legend = job.card.classes
    wanted = Wanted(grid=job.grid, legend=legend, confidence=True)
    tally = Tally(lambda _: legend)

    def strips(layer: int | None) -> Iterator[Band]:
        for strip, share in zip(codes(layer), confidence(layer), strict=True):
            yield Band(codes=strip, valid=strip != NODATA, confidence=share)

    def proven() -> Proof:
        tally.proofs.append(Proof(grid=job.grid, scene=job.name))
        return tally.proofs[-1]

    def streams() -> Iterator[tuple[Proof, Iterator[Features]]]:
        if job.layers is None:
            proof = proven()
            yield proof, tally.watch(proof.watch(polygonize_strips(proof.rows(strips(None)), wanted)))
            return
        for index in range(len(legend.classes)):
            proof = proven()
            yield proof, tally.watch(proof.watch(stream_layer(strips(index), wanted, index)))

    return tally, streams()


def _same(legend: Legend) -> Legend:
    return legend
