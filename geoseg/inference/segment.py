"""A scene and a model make land-cover polygons: predict, then vectorize."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOutputs:
    """Files of one `segment`.

    Parameters
    ----------
    polygons : Path
        GeoPackage.
    raster, confidence : Path, optional
        Class map and confidence to keep.
    layer : str
        Name of the polygon layer.
    """

    polygons: Path
    raster: Path | None = None
    confidence: Path | None = None
    layer: str = "landcover"

    @property
    def paths(self) -> list[Path]:
        """All files, the polygons first."""
        return [self.polygons, *(path for path in (self.raster, self.confidence) if path is not None)]

    @property
    def identity(self) -> dict[str, Any]:
        """What a fingerprint holds of them."""
        return identity("segment", self.paths, layer=self.layer)


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
        CRS, a gapless coverage of its valid pixels; with `output`, its path. The same bytes as
        ``geoseg segment``.
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
    from geoseg.vector.geopackage import check_geopackage_name, check_layer_name

    check_layer_name(outputs.layer)
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
        classes, notes = _write_polygons(run, outputs.layer)
        stages = {"rasters": rasters_done - started} if len(run.claims) > 1 else {}
        stages["vectorize"] = time.perf_counter() - rasters_done
        report = report_on(run, outputs.polygons, classes, stages)
        report.notes.extend(notes)
        report.save()
    return report


def _write_polygons(run: Run, layer: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Vectorize the stored bands, write, verify and commit; return rows per class and hints."""
    from geoseg.vector.geopackage import write_geopackage
    from geoseg.vector.polygonize import polygonize
    from geoseg.vector.summary import class_rows, hints

    codes = np.concatenate(list(run.store.codes()))
    share = np.concatenate(list(run.store.confidence()))
    legend = run.job.card.classes
    features = polygonize(codes, codes != NODATA, run.job.grid, legend=legend, confidence=share)
    claim = run.claims[0]
    finished = claim.prepare()
    write_geopackage(finished, features, layer=layer, legend=legend, metadata=product_tags(run))
    claim.commit(finished)
    return class_rows(features), hints(features)


def _frame(job: Job) -> geopandas.GeoDataFrame:
    from geoseg.inference.run import compute_in_memory
    from geoseg.vector.polygonize import polygonize

    results, _ = compute_in_memory(job, None)
    codes = np.concatenate([result.codes for result in results])
    share = np.concatenate([result.confidence for result in results])
    features = polygonize(codes, codes != NODATA, job.grid, legend=job.card.classes, confidence=share)
    return features.to_geodataframe()
