"""A scene and a model make land-cover polygons: predict, then vectorize."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import NODATA
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.predict import (
    Writing,
    check_raster_names,
    product_tags,
    report_on,
    write_class_map,
    write_confidence,
)
from geoseg.inference.prepare import Job, prepare
from geoseg.inference.summary import Report, identity

if TYPE_CHECKING:
    import geopandas

    from geoseg.inference.run import Run
    from geoseg.models.model import Model
    from geoseg.vector.features import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOutputs:
    """Files of one `segment`.

    Parameters
    ----------
    polygons : Path
        GeoPackage.
    raster, confidence : Path, optional
        Class map and confidence to keep.
    layer : str, optional
        Name of the polygon layer, ``landcover`` by default; of a multilabel model, what stands before the
        classes' names, which name a layer each.
    """

    polygons: Path
    raster: Path | None = None
    confidence: Path | None = None
    layer: str | None = None

    @property
    def paths(self) -> list[Path]:
        """All files, the polygons first."""
        return [self.polygons, *(path for path in (self.raster, self.confidence) if path is not None)]

    @property
    def identity(self) -> dict[str, Any]:
        """What a fingerprint holds of them."""
        return identity("segment", self.paths, layer=self.layer or "")


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
    scene : path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
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
    from geoseg.vector.geopackage import check_geopackage_name
    from geoseg.vector.layers import layer_names_of

    layer = layer_names_of(job.card.classes if job.layers else None, outputs.layer)
    check_geopackage_name(outputs.polygons)
    check_raster_names(outputs.paths[1:])
    extra = outputs.identity
    with computed(
        job, outputs.paths, overwrite=writing.overwrite, fresh=writing.fresh, progress=progress, extra=extra
    ) as run:
        started = time.perf_counter()
        claims = {claim.path: claim for claim in run.claims}
        if outputs.confidence is not None:
            write_confidence(run, claims[outputs.confidence])
        if outputs.raster is not None:
            write_class_map(run, claims[outputs.raster])
        rasters_done = time.perf_counter()
        if progress is not None:
            progress(job.grid.height, job.grid.height, "vectorize")
        counted, notes = _write_polygons(run, layer)
        stages = {"rasters": rasters_done - started} if len(run.claims) > 1 else {}
        stages["vectorize"] = time.perf_counter() - rasters_done
        report = report_on(run, outputs.polygons, counted, stages)
        report.notes.extend(notes)
        report.save()
    return report


Strips = Iterable[npt.NDArray[np.uint8]]


def _write_polygons(
    run: Run, layer: str | dict[int, str]
) -> tuple[tuple[list[dict[str, Any]], int], list[str]]:
    """Vectorize the stored bands, write, verify and commit; return what `report_on` takes, and hints."""
    from geoseg.vector.geopackage import write_geopackage
    from geoseg.vector.summary import class_rows, hints

    legend = run.job.card.classes
    features, valid = _features(run.job, run.store.codes, run.store.confidence)
    claim = run.claims[0]
    finished = claim.prepare()
    write_geopackage(finished, features, layer=layer, legend=legend, metadata=product_tags(run))
    claim.commit(finished)
    return (class_rows(features), valid), hints(features)


def _frame(job: Job) -> geopandas.GeoDataFrame:
    from geoseg.inference.run import compute_in_memory

    results, _ = compute_in_memory(job, None)

    def codes(layer: int | None) -> Strips:
        return (result.codes if layer is None else result.codes[layer] for result in results)

    def confidence(layer: int | None) -> Strips:
        return (result.confidence if layer is None else result.confidence[layer] for result in results)

    return _features(job, codes, confidence)[0].to_geodataframe()


def _features(
    job: Job, codes: Callable[[int | None], Strips], confidence: Callable[[int | None], Strips]
) -> tuple[Features, int]:
    """Vectorize strips of a result, or of each of its layers; return the polygons and the valid pixels."""
    from geoseg.vector.layers import polygonize_layers
    from geoseg.vector.polygonize import polygonize

    grid, legend = job.grid, job.card.classes
    if job.layers is None:
        whole = _whole(codes(None))
        valid = whole != NODATA
        share = _whole(confidence(None))
        return polygonize(whole, valid, grid, legend=legend, confidence=share), int(valid.sum())
    features = polygonize_layers(
        lambda i: _whole(codes(i)) == 1, grid, legend, lambda i: _whole(confidence(i))
    )
    return features, sum(int((strip != NODATA).sum()) for strip in codes(0))


def _whole(strips: Strips) -> npt.NDArray[np.uint8]:
    return np.concatenate(list(strips))
