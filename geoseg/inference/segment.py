"""Segment scenes into land-cover polygons: predict, then vectorize."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, Text
from geoseg.grid.legend import NODATA
from geoseg.inference.earlier import finished_before
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import Writing
from geoseg.inference.prepare import Job, prepare_job
from geoseg.inference.rasters import (
    check_rasters,
    product_tags,
    refuse_storage,
    report_on,
    stored_as,
    write_class_map,
    write_shares,
)
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.storage.output import path_of, refuse_without_output
from geoseg.storage.run_record import RunRecord, identity

if TYPE_CHECKING:
    from typing import Unpack

    import geopandas

    from geoseg.engine.strip_work import StripResult
    from geoseg.grid.legend import Legend
    from geoseg.inference.keywords import PolygonFileKeywords, PolygonKeywords
    from geoseg.inference.run import Run
    from geoseg.models.model import Model
    from geoseg.raster.band_encoding import Storage
    from geoseg.raster.declared import Nodata, NodataRule
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vector.vectorize import Vectorization


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOutputs:
    """Output files of `segment`.

    Parameters
    ----------
    polygons : Path
        A GeoPackage, ``.gpkg``; GeoParquet, ``.parquet``; FlatGeobuf, ``.fgb``; or GeoJSON, ``.geojson``: as
        `geoseg.vectorize` writes them.
    raster, confidence, probabilities : Path, optional
        Class map, confidence and probabilities, if they are to be kept.
    storage : str
        Data type of the probabilities, as in `PredictOutputs`.
    layer : str, optional
        Name of the polygon layer, ``landcover`` by default; for a multilabel model, a prefix of the
        class names, each of which names a layer.
    drawn : VectorizeOptions, optional
        How the polygons are drawn: minimum area, simplified and smoothed boundaries, selected classes.
    """

    polygons: Path
    raster: Path | None = None
    confidence: Path | None = None
    probabilities: Path | None = None
    storage: Storage = "uint8"
    layer: str | None = None
    drawn: VectorizeOptions | None = None

    def __post_init__(self) -> None:
        """Raise an error for file names of unknown or wrong formats, and for an unknown storage."""
        from geoseg.vectorfiles.formats import check_vector_name

        check_vector_name(self.polygons)
        check_rasters(self.paths[1:], self.storage)
        refuse_storage(self.storage, self.probabilities)

    @property
    def paths(self) -> list[Path]:
        """All files, the polygons first."""
        rasters = self.raster, self.confidence, self.probabilities
        return [self.polygons, *(path for path in rasters if path is not None)]

    def of(self, job: Job, writing: Writing) -> Job:
        """Return the job with these products as its outputs, and how they replace existing files."""
        stored = stored_as(self.probabilities, self.storage)
        drawn = {} if self.drawn is None else self.drawn.words | {"scene": self.drawn.scene_name}
        return replace(
            job,
            outputs=tuple(self.paths),
            identity=identity(
                "segment",
                self.paths,
                layer=self.layer or "",
                drawn={key: value for key, value in drawn.items() if value},
                **stored,
            ),
            storage=stored.get("storage"),
            overwrite=writing.overwrite,
            fresh=writing.fresh,
        )


@overload
def segment(
    scene: Any,
    model: Path | str | Model,
    *,
    output: None = ...,
    **keywords: Unpack[PolygonKeywords],
) -> geopandas.GeoDataFrame: ...


@overload
def segment(
    scene: Any,
    model: Path | str | Model,
    *,
    output: PathLike[str] | str,
    raster: PathLike[str] | str | None = ...,
    confidence: PathLike[str] | str | None = ...,
    probabilities: PathLike[str] | str | None = ...,
    storage: Storage = ...,
    layer: str | None = ...,
    **keywords: Unpack[PolygonFileKeywords],
) -> Path: ...


def segment(
    scene: Any,
    model: Path | str | Model,
    *,
    output: PathLike[str] | str | None = None,
    raster: PathLike[str] | str | None = None,
    confidence: PathLike[str] | str | None = None,
    probabilities: PathLike[str] | str | None = None,
    storage: Storage = "uint8",
    layer: str | None = None,
    min_area: str | None = None,
    simplify: str | None = None,
    smooth: bool = False,
    classes: Sequence[str | int] = (),
    scene_name: str | None = None,
    workers: int = 1,
    bands: Sequence[int | str] | None = None,
    legend: Legend | PathLike[str] | str | None = None,
    resolution: float | None = None,
    bounds: Sequence[float] | None = None,
    clip: PathLike[str] | str | None = None,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    tile_size: int | None = None,
    overlap: int | None = None,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    devices: int = 1,
    precision: str = "auto",
    tta: bool = False,
    compile: bool = False,  # noqa: A002
    profile: bool = False,
    on_error: str = "stop",
    allow_remote: bool = False,
    expand_palette: bool = False,
    assume_crs: str | None = None,
    force: bool = False,
    overwrite: bool = False,
    resume: bool = True,
    progress: ShowProgress = None,
) -> geopandas.GeoDataFrame | Path:
    """Turn a scene into land-cover polygons.

    Parameters
    ----------
    scene : path, list of path, mapping of str to path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
        The scene. A list is one file per band, a mapping gives the bands names (`Scene.open`).
        As for `geoseg.predict`, but a single scene; a lazy one is read a row of chunks at a time.
    model : path or Model
        A model file, or one that is open.
    output : path, optional
        File to write: a GeoPackage, with its legend as QGIS's default style, GeoParquet, FlatGeobuf or GeoJSON by
        its ending. Without it the polygons are returned.
    raster, confidence, probabilities : path, optional
        GeoTIFFs to write beside `output`: the class map; the probability of the written class times 254, 255 no
        data; the probability of each class, a band each.
    storage : str
        Encoding of the file of probabilities: ``uint8``, as for confidence, or ``float16`` with NaN for no
        data.
    layer : str, optional
        Name of the layer in `output`, ``landcover`` by default; for a multilabel model, which has one layer per
        class, a prefix of the layers' names.
    min_area, simplify, smooth, classes, workers : optional
        How the polygons are drawn, as for `geoseg.vectorize`.
    scene_name : str, optional
        Name of the scene, an attribute of every polygon.
    bands : sequence of int or str, optional
        Which bands of the scene (1-based numbers or names) are the model's bands, in the model's order.
    legend : Legend or path, optional
        Names and colours of codes in the products, instead of the model's; codes that it does not contain keep
        theirs.
    resolution : float, optional
        Pixel size to which a scene of several files is resampled, in units of its CRS; the finest file's by
        default.
    bounds : sequence of 4 floats, optional
        (west, south, east, north) in the scene's CRS; snapped outward to whole pixels.
    clip : path, optional
        Vector file of polygons; pixels outside them become no data.
    nodata : number, str or sequence, optional
        No-data value of the scene, instead of what its file declares: a number, ``"none"``, or one of these for
        each band of the scene; several values of one band as a sequence.
    nodata_rule : str, optional
        Whether a pixel is no data where ``all`` bands are, or where ``any`` is; by default ``all`` where the
        bands have the same value, else ``any``.
    alpha : int or str, optional
        Number of the band whose pixels above 0 are valid, or ``"none"``; by default the one tagged alpha, unless
        its name or its numbers say that it is an image.
    tile_size, overlap : int, optional
        Tile size and overlap of neighbouring tiles, px; the model's by default.
    batch_size : int or "auto"
        Number of tiles per call of the model; ``auto``: the fastest on this device, found by a short trial.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    devices : int
        Number of devices of that kind, each of which computes a part of the rows in its own process; more than
        one needs an `output`.
    precision : str
        ``auto``, ``fp32``, ``bf16``, ``fp16``, or ``int8`` after `geoseg.quantize`.
    tta : bool
        Whether to use test-time augmentation, the mean over the 8 symmetries of every tile: 8 times the work.
    compile : bool
        Whether to compile the network first (CUDA only): worthwhile for large scenes.
    profile : bool
        Whether to measure the time of each stage, for ``run.json`` beside the output.
    on_error : str
        What to do if a block cannot be read: ``stop`` the run, or write ``nodata`` there.
    allow_remote : bool
        Whether a VRT may refer to remote files.
    expand_palette : bool
        Whether a palette image is read as red, green and blue.
    assume_crs : str, optional
        CRS of a scene that has none, for example ``EPSG:32633``.
    force : bool
        Whether to continue if scene and model do not match, or the disk seems too small.
    overwrite : bool
        Whether to replace existing files. By default products of an earlier equal call are kept, missing ones
        are made, and any other existing file is an error.
    resume : bool
        Whether to continue unfinished work of the same call; False discards it.
    progress : bool or callable, optional
        Whether to show a progress bar, or a function that is called with (done, total, what). By default a bar
        appears in a terminal or notebook if the work takes more than a few seconds.

    Returns
    -------
    GeoDataFrame or Path
        Polygons with ``class_code``, ``class_name``, ``area_m2``, ``pixels`` and ``confidence`` in the scene's
        CRS, a gapless coverage of its valid pixels; of a multilabel model, for each class a coverage of where
        it is, one after the other. With `output`, its path. The same bytes as ``geoseg segment``.

    Raises
    ------
    GeosegError
        Bad input is found before the model runs.
    """
    options = PredictOptions.of(locals())
    from geoseg.vector.options import VectorizeOptions

    drawn = VectorizeOptions(
        min_area=min_area,
        simplify=simplify,
        smooth=smooth,
        classes=classes,
        scene_name=scene_name,
        workers=workers,
    )
    if output is None:
        refuse_without_output(
            raster=raster, confidence=confidence, probabilities=probabilities, layer=layer,
            overwrite=overwrite, resume=not resume, profile=profile,
        )  # fmt: skip
        refuse_storage(storage, None)
        with shown(progress) as told:
            return _frame(prepare_job(scene, model, options), drawn, told)
    outputs = SegmentOutputs(
        polygons=Path(output),
        raster=path_of("raster", raster),
        confidence=path_of("confidence", confidence),
        probabilities=path_of("probabilities", probabilities),
        storage=storage,
        layer=layer,
        drawn=drawn,
    )
    writing = Writing(overwrite=overwrite, fresh=not resume)
    with shown(progress) as told:
        return segment_file(prepare_job(scene, model, options), outputs, writing, told).output


def segment_file(
    job: Job, outputs: SegmentOutputs, writing: Writing, progress: OnProgress | None = None
) -> RunRecord:
    """Write the polygons of a prepared job and the rasters to keep, and return the record of the run."""
    from geoseg.inference.run import predicted

    job = outputs.of(job, writing)
    if not (writing.overwrite or writing.fresh) and (before := finished_before(job)) is not None:
        return before
    check_polygons(job, outputs)
    with predicted(job, progress) as run:
        polygons = _vectorized(run, outputs)
        return _written(run, outputs, polygons, progress)


class _Results:
    """Rows of a result in the form that `Vectorization` reads.

    Parameters
    ----------
    job : Job
        The scene and the model.
    codes, confidence : callable
        Called with a layer or None; yields the rows from top to bottom.
    """

    def __init__(self, job: Job, codes: Layered, confidence: Layered) -> None:
        self._job, self._codes, self._confidence = job, codes, confidence
        self._newest = np.empty((0, 0), dtype=np.uint8)

    def strips(self, index: int) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
        """Yield codes and where they are valid."""
        layer = None if self._job.layers is None else index
        for codes, share in zip(self._codes(layer), self._confidence(layer), strict=True):
            self._newest = share
            yield codes, codes != NODATA

    def confidence(self, _row: int, _stop: int) -> npt.NDArray[np.uint8]:
        """Return the confidence of the rows that were yielded last."""
        return self._newest

    def vectorization(self, options: VectorizeOptions | None) -> Vectorization:
        """Plan their polygons."""
        from geoseg.vector.options import VectorizeOptions
        from geoseg.vector.sources import ReadMap
        from geoseg.vector.vectorize import Vectorization

        options = options or VectorizeOptions()
        legend, job = self._job.card.classes, self._job
        found = ReadMap(
            grid=job.grid,
            legend_of=lambda _: legend,
            strips=self.strips,
            layers=None if job.layers is None else legend,
        )
        made = Vectorization.of_rows(found, [self.confidence] * (job.layers or 1), options)
        return replace(made, scene=options.scene_name or job.name)


Strips = Iterable[npt.NDArray[np.uint8]]
Layered = Callable[[int | None], Strips]


def _nothing(_: int | None) -> Strips:
    return ()


def check_polygons(job: Job, outputs: SegmentOutputs) -> None:
    """Raise an error if polygons could not be made or written, before anything is computed.

    Raises
    ------
    OptionError, OutputError
    """
    from geoseg.vectorfiles.formats import check_crs
    from geoseg.vectorfiles.kept_layers import content_beside

    work = _Results(job, _nothing, _nothing).vectorization(outputs.drawn)
    check_crs(outputs.polygons, job.grid.crs)
    content_beside(outputs.polygons, work.written(_layer_names(job, outputs)))


def _layer_names(job: Job, outputs: SegmentOutputs) -> str | dict[int, str]:
    from geoseg.vectorfiles.layers import layer_names_of

    return layer_names_of(job.card.classes if job.layers else None, outputs.layer)


def _vectorized(run: Run, outputs: SegmentOutputs) -> Vectorization:
    """Prepare the vectorization of the stored strips; polygons are drawn while they are written."""
    results = _Results(run.job, run.store.codes, run.store.confidence)
    return replace(results.vectorization(outputs.drawn), metadata=product_tags(run))


def _written(
    run: Run, outputs: SegmentOutputs, polygons: Vectorization, progress: OnProgress | None
) -> RunRecord:
    """Write the rasters to keep and the polygons, and return the record of the run."""
    started = time.perf_counter()
    write_shares(run, outputs.confidence, outputs.probabilities)
    if outputs.raster is not None and outputs.raster in run.claims:
        write_class_map(run, outputs.raster)
    rasters_done = time.perf_counter()
    report = run.earlier
    if report is None:
        counted, notes = _write_polygons(run, outputs, polygons.watched(progress))
        stages = {"rasters": rasters_done - started} if len(run.claims) > 1 else {}
        stages["vectorize"] = time.perf_counter() - rasters_done
        report = report_on(run, outputs.polygons, counted, stages)
        report.notes.extend(notes)
    report.save(outputs.paths[1:])
    return report


def _write_polygons(
    run: Run, outputs: SegmentOutputs, work: Vectorization
) -> tuple[tuple[list[dict[str, Any]], int], list[Text]]:
    """Vectorize the stored strips, write, verify and commit; return the input of `report_on`, and hints."""
    from geoseg.polygons.proof import proof_lines
    from geoseg.vectorfiles.formats import write_polygons
    from geoseg.vectorfiles.kept_layers import kept_beside

    job, claim = run.job, run.claims[outputs.polygons]
    names = _layer_names(job, outputs)
    base = kept_beside(outputs.polygons, work.written(names))
    finished = claim.prepare()
    work.totals.distorted = write_polygons(finished, work.layers(names, base), base)
    if base is not None:
        base.check_unchanged()
    claim.commit(finished)
    totals = work.totals
    valid = totals.pixels
    if job.layers is not None or work.kept is not None:
        first = None if job.layers is None else 0
        valid = sum(int((strip != NODATA).sum()) for strip in run.store.codes(first))
    more = job.card.image_size is None and job.tiling.overlap < job.tiling.size // 2
    calmer = Message("a larger {overlap} or a better model") if more else "a better model"
    return (totals.class_rows(), valid), [
        *totals.hints(calmer),
        *proof_lines(totals.proofs, totals.distorted),
    ]


def _frame(job: Job, options: VectorizeOptions, told: OnProgress | None) -> geopandas.GeoDataFrame:
    from geoseg.inference.run import predict_in_memory

    results: list[StripResult] = []

    def codes(layer: int | None) -> Strips:
        return (result.codes if layer is None else result.codes[layer] for result in results)

    def confidence(layer: int | None) -> Strips:
        return (result.confidence if layer is None else result.confidence[layer] for result in results)

    work = _Results(job, codes, confidence).vectorization(options)  # which is checked before the long work
    results += predict_in_memory(job, told)[0]
    return work.watched(told).features().to_geodataframe()
