"""Predict class maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from geoseg.errors import OptionError, SceneError
from geoseg.inference.earlier import finished_before
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import Job, fitted, prepare_job
from geoseg.inference.rasters import (
    check_rasters,
    refuse_storage,
    report_on,
    stored_as,
    write_class_map,
    write_shares,
)
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.band_encoding import Storage
from geoseg.raster.xarray_bridge import is_lazy, is_xarray
from geoseg.storage.output import path_of, refuse_without_output
from geoseg.storage.run_record import RunRecord, identity

if TYPE_CHECKING:
    from typing import Unpack

    import xarray

    from geoseg.grid.legend import Legend
    from geoseg.inference.keywords import FileKeywords, SceneKeywords
    from geoseg.models.model import Model
    from geoseg.raster.declared import Nodata, NodataRule

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOutputs:
    """Output files of `predict`.

    Parameters
    ----------
    classes : Path
        Class map, a cloud-optimised GeoTIFF.
    confidence : Path, optional
        Raster of the probability of the written class times 254; 255 is no data.
    probabilities : Path, optional
        Raster with the probability of each class, one band per class of the legend.
    storage : str
        Data type of the probabilities: ``uint8``, as for confidence, or ``float16``: float32 rounded to float16,
        NaN is no data.
    """

    classes: Path
    confidence: Path | None = None
    probabilities: Path | None = None
    storage: Storage = "uint8"

    def __post_init__(self) -> None:
        """Raise OptionError for file names that are not GeoTIFF, and for an unknown storage."""
        check_rasters(self.paths, self.storage)
        refuse_storage(self.storage, self.probabilities)

    @property
    def paths(self) -> list[Path]:
        """All files, the class map first."""
        return [path for path in (self.classes, self.confidence, self.probabilities) if path is not None]

    def of(self, job: Job, writing: Writing) -> Job:
        """Return the job with these products as its outputs, and how they replace existing files."""
        stored = stored_as(self.probabilities, self.storage)
        return replace(
            job,
            outputs=tuple(self.paths),
            identity=identity("predict", self.paths, **stored),
            storage=stored.get("storage"),
            overwrite=writing.overwrite,
            fresh=writing.fresh,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How products replace existing files.

    By default the products of an earlier equal call are kept, missing ones are made, unfinished work
    is continued, and any other existing file is an error.

    Parameters
    ----------
    overwrite : bool
        Whether an existing output may be replaced.
    fresh : bool
        Whether unfinished work is discarded instead of continued.
    """

    overwrite: bool = False
    fresh: bool = False


@overload
def predict(
    scene: Any,
    model: Path | str | Model,
    *,
    output: None = ...,
    probabilities: bool = ...,
    **keywords: Unpack[SceneKeywords],
) -> xarray.Dataset: ...


@overload
def predict(
    scene: Any,
    model: Path | str | Model,
    *,
    output: PathLike[str] | str,
    confidence: PathLike[str] | str | None = ...,
    probabilities: PathLike[str] | str | Literal[False] = ...,
    storage: Storage = ...,
    **keywords: Unpack[FileKeywords],
) -> Path: ...


def predict(
    scene: Any,
    model: Path | str | Model,
    *,
    output: PathLike[str] | str | None = None,
    confidence: PathLike[str] | str | None = None,
    probabilities: PathLike[str] | str | bool = False,
    storage: Storage = "uint8",
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
) -> xarray.Dataset | Path:
    """Classify every pixel of a scene.

    Parameters
    ----------
    scene : path, list of path, mapping of str to path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
        The scene. A list is one file per band, a mapping gives the bands names (`Scene.open`).
        Values are taken as stored: the model's card knows how to scale them. A DataArray may have one more dim, such
        as ``time``, whose entries are separate scenes; a Dataset has one variable per band.
    model : path or Model
        A model file; where workers compute, they open it under the same name. A Model is sent to them.
    output : path, optional
        Class map to write, a cloud-optimised GeoTIFF (``.tif``); without it the result is returned. A lazy scene is
        then read a row of chunks at a time.
    confidence : path, optional
        GeoTIFF to write beside `output`: probability of the written class times 254, 255 no data.
    probabilities : path or bool
        GeoTIFF to write beside `output`, with a band for each class of the legend. Without `output`, True: the
        result that is returned holds the probability of each class.
    storage : str
        Encoding of the file of probabilities: ``uint8``, as for confidence, or ``float16`` with NaN for no
        data.
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
    Dataset or Path
        Without `output`, ``landcover`` (y, x) uint8 with 255 no data and ``confidence`` (y, x) float32, of a
        multilabel model (class, y, x) with 1 where a class is and 0 where it is not; with it, its path. The
        same bytes as ``geoseg predict``. With `probabilities` also ``probabilities`` (class, y, x) float32, 0 to 1
        and NaN no data, for each class of the legend in ascending order of the codes (of a binary model 0 and 1):
        what a file of them stores in fewer digits.
        Of a lazy scene it is lazy too, on the scene's chunks and coordinates; see Notes.

    Raises
    ------
    GeosegError
        If the input is invalid; raised before the model runs.

    Notes
    -----
    For a lazy scene nothing is read or computed before values are requested, and then only the blocks
    that are requested: each uses the tiles of the whole scene that touch it, so chunking does not change the map.
    Its bytes are those of ``geoseg predict`` if both use the same ``batch_size`` (and device, precision and
    number of threads) and the network's result for a tile does not depend on the others in its batch. The default
    batch size suits the blocks, for which some networks round differently: codes are equal where the two best
    probabilities differ by more than 1e-6, and confidence to a step of 1/254. ``auto`` is resolved in the calling
    process for all workers. Whether values lie in the range of the model's card is not checked, since that would
    mean reading pixels.
    """
    options = PredictOptions.of(locals())
    if output is not None:
        outputs = PredictOutputs(
            classes=Path(output),
            confidence=path_of("confidence", confidence),
            probabilities=path_of("probabilities", probabilities or None),
            storage=storage,
        )
        writing = Writing(overwrite=overwrite, fresh=not resume)
        with shown(progress) as told:
            return predict_file(prepare_job(scene, model, options), outputs, writing, told).output
    refuse_without_output(confidence=confidence, overwrite=overwrite, resume=not resume)
    if not isinstance(probabilities, bool):
        raise OptionError(
            "probabilities is a file to write, and no output is named; pass output, too, or probabilities=True"
        )
    refuse_storage(storage, None)
    if is_lazy(scene):
        from geoseg.inference.lazy import predict_lazy

        if progress:
            raise OptionError(
                "progress applies to work that is done in the call, and a lazy result is computed later; "
                "dask.diagnostics.ProgressBar shows that"
            )
        return predict_lazy(scene, model, options, probabilities=probabilities)
    refuse_without_output(profile=profile)
    with shown(progress) as told:
        if is_xarray(scene) and (kept := LazyScene.of(scene).kept) is not None:
            jobs = _entries(scene, kept, model, options)
            return _dataset(jobs, told, probabilities=probabilities, whole=_described(scene, options))
        return _dataset([prepare_job(scene, model, options)], told, probabilities=probabilities)


def predict_file(
    job: Job, outputs: PredictOutputs, writing: Writing, progress: OnProgress | None = None
) -> RunRecord:
    """Write the class map of a prepared job, resumable, and return the record of the run."""
    from geoseg.inference.run import predicted

    job = outputs.of(job, writing)
    if not (writing.overwrite or writing.fresh) and (before := finished_before(job)) is not None:
        return before
    with predicted(job, progress) as run:
        started = time.perf_counter()
        write_shares(run, outputs.confidence, outputs.probabilities)
        report = run.earlier
        if report is None:
            count = write_class_map(run, outputs.classes)
            classes = count.rows()
            seconds = {"write": time.perf_counter() - started}
            report = report_on(run, outputs.classes, (classes, count.valid), seconds)
            if count.only_one and job.card.task == "multiclass":
                report.notes.append("every valid pixel got the same class: does the scene fit the model?")
        report.save(outputs.paths[1:])
    return report


def _entries(scene: Any, kept: Hashable, model: Path | str | Model, options: PredictOptions) -> list[Job]:
    """Prepare every entry of a dim such as time, and log notes that several share only once."""
    jobs = [fitted(scene.isel({kept: i}), model, options) for i in range(scene.sizes[kept])]
    if not jobs:
        raise SceneError(f"the scene has no entry along {kept}, expected at least one")
    for note in dict.fromkeys(note for job in jobs for note in job.match.notes):
        log.warning("%s: %s", jobs[0].name, note)
    return jobs


def _described(scene: Any, options: PredictOptions) -> LazyScene:
    """Describe all entries of a scene within the requested bounds."""
    whole = LazyScene.of(scene)
    return whole if options.bounds is None else whole.crop(whole.grid.window(options.bounds))


def _dataset(
    jobs: Sequence[Job], told: OnProgress | None, *, probabilities: bool, whole: LazyScene | None = None
) -> xarray.Dataset:
    """Classify in memory; the jobs are the entries of `whole` along its further dim, else there is one."""
    import numpy as np

    from geoseg.raster.xarray_results import result_dataset, with_probabilities

    planes = [_in_memory(job, told, probabilities=probabilities) for job in jobs]
    codes, share, *shares = planes[0] if whole is None else [np.stack(p) for p in zip(*planes, strict=True)]
    job, source = jobs[0], whole or jobs[0].source
    dims, coords = None, None
    if isinstance(source, LazyScene):
        kept = () if source.kept is None else (source.kept,)
        classes = () if job.layers is None else ("class",)
        dims, coords = (*kept, *classes, *source.raster.spatial), source.raster.coords()
    dataset = result_dataset(codes, share, job.grid, job.card.classes, dims, coords)
    return with_probabilities(dataset, shares[0], job.card.classes) if shares else dataset


def _in_memory(job: Job, told: OnProgress | None, *, probabilities: bool) -> list[Any]:
    """Codes and confidence of a whole scene, and where they are wanted the probabilities."""
    import numpy as np

    from geoseg.inference.run import predict_in_memory

    results, _ = predict_in_memory(replace(job, storage="float32") if probabilities else job, told)
    planes = [[result.codes for result in results], [result.confidence for result in results]]
    if probabilities:
        planes.append([result.stored for result in results if result.stored is not None])
    return [np.concatenate(each, axis=-2) for each in planes]
