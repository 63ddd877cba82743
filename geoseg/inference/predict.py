"""A scene and a model make a class map."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.engine.storage import STORAGES, Storage
from geoseg.errors import OptionError, SceneError
from geoseg.inference.asked import Asked, finished_before
from geoseg.inference.lazy_scene import LazyScene, is_lazy, is_xarray
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.prepare import Job, fitted, prepare
from geoseg.inference.summary import ClassCount, Report, identity
from geoseg.storage.output import RASTER_SUFFIXES

if TYPE_CHECKING:
    import xarray

    from geoseg.inference.run import Run
    from geoseg.models.model import Model
    from geoseg.storage.output import Claim

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOutputs:
    """Files of one `predict`.

    Parameters
    ----------
    classes : Path
        Class map, a cloud-optimised GeoTIFF.
    confidence : Path, optional
        Probability of the written class times 254, 255 no data.
    probabilities : Path, optional
        A band for each class of the legend.
    storage : str
        How they are stored: ``uint8``, as confidence is, or ``float16``: float32 rounded to half floats, NaN no
        data.
    """

    classes: Path
    confidence: Path | None = None
    probabilities: Path | None = None
    storage: Storage = "uint8"

    def __post_init__(self) -> None:
        """Refuse names that say another format than the one that is written, and another storage."""
        check_rasters(self.paths, self.storage)

    @property
    def paths(self) -> list[Path]:
        """All files, the class map first."""
        return [path for path in (self.classes, self.confidence, self.probabilities) if path is not None]

    def asked(self, writing: Writing) -> Asked:
        """Return which products a job is to write, and how they replace what is there."""
        stored = stored_as(self.probabilities, self.storage)
        return Asked(
            outputs=tuple(self.paths),
            identity=identity("predict", self.paths, **stored),
            **stored,
            overwrite=writing.overwrite,
            fresh=writing.fresh,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How products replace what is there.

    By default what the same call finished before is left as it is, what is missing of it is made, unfinished work
    is continued, and any other file in the way is refused.

    Parameters
    ----------
    overwrite : bool
        Whether an existing output may be replaced.
    fresh : bool
        Whether unfinished work is thrown away instead of continued.
    """

    overwrite: bool = False
    fresh: bool = False


def predict(
    scene: Any,
    model: Path | str | Model,
    *,
    options: PredictOptions | None = None,
    probabilities: bool = False,
    output: PredictOutputs | Path | str | None = None,
    writing: Writing | None = None,
) -> xarray.Dataset | Path:
    """Classify every pixel of a scene.

    Parameters
    ----------
    scene : path, list of path, mapping of str to path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
        A list is a file for each band, a mapping gives them names (`Scene.open`).
        Its numbers as stored: the model's card knows how they are scaled. A DataArray may have one more dim, such
        as ``time``, whose entries are scenes of their own, and a Dataset of xarray has a variable for each band.
    model : path or Model
        A model file; where workers compute, they open it under the same name. A Model is sent to them.
    options : PredictOptions, optional
    probabilities : bool
        Whether the result that is returned holds the probability of each class.
    output : path or PredictOutputs, optional
        Class map to write, a cloud-optimised GeoTIFF; without it the result is returned. A lazy scene is then
        read a row of chunks at a time.
    writing : Writing, optional

    Returns
    -------
    Dataset or Path
        Without `output`, ``landcover`` (y, x) uint8 with 255 no data and ``confidence`` (y, x) float32, of a
        multilabel model (class, y, x) with 1 where a class is and 0 where it is not; with it, its path. The
        same bytes as ``geoseg predict``. With `probabilities` also ``probabilities`` (class, y, x) float32, 0 to 1
        and NaN no data, for each class of the legend in ascending order of the codes (of a binary model 0 and 1):
        what ``--save-probabilities`` stores in fewer digits.
        Of a lazy scene it is lazy too, on the scene's chunks and coordinates; see Notes.

    Raises
    ------
    GeosegError
        Bad input is found before the model runs.

    Notes
    -----
    Of a lazy scene nothing is read and nothing computed before numbers are wanted, and then only the blocks
    that are: each is the tiles of the whole scene that touch it, so no chunking changes the map. Its bytes are
    those of ``geoseg predict`` where both have one ``batch_size`` (and device, precision and number of
    threads) and the network's answer to a tile does not depend on the others in its batch. The default batch
    fits the blocks; some networks round differently then: codes are the same where the two best probabilities
    differ by more than 1e-6, and confidence to a step of 1/254. What ``auto`` means is chosen here, for all
    workers. That the numbers lie in the range of the model's card is not checked: it would mean reading some.
    """
    if probabilities and output is not None:
        raise OptionError("probabilities are returned or written, found both; PredictOutputs says their file")
    if output is None and is_lazy(scene):
        from geoseg.inference.lazy import predict_lazy

        return predict_lazy(scene, model, options or PredictOptions(), probabilities=probabilities)
    options = options or PredictOptions()
    if output is None and is_xarray(scene) and (kept := LazyScene.of(scene).kept) is not None:
        jobs = _entries(scene, kept, model, options)
        return _dataset(jobs, probabilities=probabilities, whole=_described(scene, options))
    job = prepare(scene, model, options)
    if output is None:
        return _dataset([job], probabilities=probabilities)
    outputs = output if isinstance(output, PredictOutputs) else PredictOutputs(classes=Path(output))
    return predict_file(job, outputs, writing or Writing()).output


def predict_file(
    job: Job, outputs: PredictOutputs, writing: Writing, progress: Progress | None = None
) -> Report:
    """Write the class map of a prepared job, resumable, and report on it."""
    from geoseg.inference.run import computed

    asked = outputs.asked(writing)
    if not (writing.overwrite or writing.fresh) and (before := finished_before(job, asked)) is not None:
        return before
    with computed(job, asked, progress) as run:
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


def stored_as(probabilities: Path | None, storage: Storage) -> dict[str, Storage]:
    """Say how probabilities are stored, where they are wanted."""
    return {} if probabilities is None else {"storage": storage}


def check_rasters(paths: Iterable[Path], storage: str) -> None:
    """Raise OptionError unless file names say GeoTIFF and the storage of probabilities is one."""
    if storage not in STORAGES:
        raise OptionError(f"storage is {storage!r}, expected one of {', '.join(STORAGES)}")
    for path in paths:
        if path.suffix.lower() not in RASTER_SUFFIXES:
            raise OptionError(f"{path}: rasters are written as GeoTIFF, expected a name that ends in .tif")


def write_class_map(run: Run, path: Path) -> ClassCount:
    """Write, verify and commit the class map of a run; of a multilabel task with a band for each class."""
    from geoseg.raster.classmap import class_map_sidecars, write_cog

    legend, layered = run.job.card.classes, run.job.layers is not None
    count, claim = ClassCount(legend, run.job.grid, layered=layered), run.claims[path]
    finished = claim.prepare()
    write_cog(
        finished,
        count.watch(run.store.codes()),
        run.job.grid,
        legend=legend,
        description=legend.names if layered else "land cover",
        tags=product_tags(run),
    )
    claim.commit(finished, sidecars=class_map_sidecars(legend, layered=layered))
    return count


def write_shares(run: Run, confidence: Path | None, probabilities: Path | None) -> None:
    """Write what is wanted beside a class map and not there yet, under the claims of a run."""
    for path, write in ((confidence, _write_confidence), (probabilities, _write_probabilities)):
        if path is not None and path in run.claims:
            write(run, run.claims[path])


def _write_confidence(run: Run, claim: Claim) -> None:
    """Write, verify and commit the confidence of a run, with the bands of its class map."""
    from geoseg.raster.classmap import write_cog

    words = "confidence: probability of the written class * 254"
    names = run.job.card.classes.names
    finished = claim.prepare()
    write_cog(
        finished,
        run.store.confidence(),
        run.job.grid,
        legend=None,
        description=words if run.job.layers is None else [f"{name}, {words}" for name in names],
        tags=product_tags(run),
    )
    claim.commit(finished)


def _write_probabilities(run: Run, claim: Claim) -> None:
    """Write, verify and commit the probabilities of a run, a band for each class of its legend."""
    from geoseg.raster.classmap import write_cog

    finished = claim.prepare()
    write_cog(
        finished,
        run.store.probabilities(),
        run.job.grid,
        legend=None,
        description=[f"{name}, probability" for name in run.job.card.classes.names],
        tags=product_tags(run),
    )
    claim.commit(finished)


def product_tags(run: Run) -> dict[str, str]:
    """Where a product comes from; no time, so that equal work gives equal bytes."""
    return {
        "GEOSEG_VERSION": str(run.fingerprint["version"]),
        "GEOSEG_MODEL": run.job.card.name,
        "GEOSEG_MODEL_SHA256": run.job.card.weights_sha256 or "",
        "GEOSEG_SCENE": run.job.name,
        "GEOSEG_TILING": run.job.tiling_words,
        "GEOSEG_PRECISION": run.settings.precision,
    }


def report_on(
    run: Run, output: Path, counted: tuple[list[dict[str, Any]], int], stages: dict[str, float]
) -> Report:
    """Return the report of a run whose products are written: rows per class and the valid pixels are `counted`."""
    classes, valid_pixels = counted
    notes = [f"out of memory in band {band}: batches of {size} from there on" for band, size in run.shrunk]
    if run.processes:
        notes.append(f"{len(run.processes)} processes computed, each in {max(run.processes):,.0f} MB at most")
    return Report(
        output=output,
        fingerprint=run.fingerprint,
        classes=classes,
        valid_pixels=valid_pixels,
        seconds={**run.preparing, "predict": run.seconds, **stages},
        megapixels_per_second=run.computed / 1e6 / max(run.seconds, 1e-9),
        damaged=run.store.damaged,
        notes=notes,
        warnings=list(run.job.match.notes),
        settings=run.settings.to_json(),
        profile=run.profile,
    )


def _entries(scene: Any, kept: Hashable, model: Path | str | Model, options: PredictOptions) -> list[Job]:
    """Prepare every entry of a dim such as time, and say once what is to be said of several."""
    jobs = [fitted(scene.isel({kept: i}), model, options) for i in range(scene.sizes[kept])]
    if not jobs:
        raise SceneError(f"the scene has no entry along {kept}, expected at least one")
    for note in dict.fromkeys(note for job in jobs for note in job.match.notes):
        log.warning("%s: %s", jobs[0].name, note)
    return jobs


def _described(scene: Any, options: PredictOptions) -> LazyScene:
    """Describe all entries of a scene within the bounds that were asked for."""
    whole = LazyScene.of(scene)
    return whole if options.bounds is None else whole.crop(whole.grid.window(options.bounds))


def _dataset(jobs: Sequence[Job], *, probabilities: bool, whole: LazyScene | None = None) -> xarray.Dataset:
    """Classify in memory; the jobs are the entries of `whole` along its further dim, else there is one."""
    import numpy as np

    from geoseg.inference.lattice import dataset_of, with_probabilities

    planes = [_in_memory(job, probabilities=probabilities) for job in jobs]
    codes, share, *shares = planes[0] if whole is None else [np.stack(p) for p in zip(*planes, strict=True)]
    job, source = jobs[0], whole or jobs[0].source
    dims, coords = None, None
    if isinstance(source, LazyScene):
        kept = () if source.kept is None else (source.kept,)
        classes = () if job.layers is None else ("class",)
        dims, coords = (*kept, *classes, *source.spatial), source.coords()
    dataset = dataset_of(codes, share, job.grid, job.card.classes, dims, coords)
    return with_probabilities(dataset, shares[0], job.card.classes) if shares else dataset


def _in_memory(job: Job, *, probabilities: bool) -> list[Any]:
    """Codes and confidence of a whole scene, and where they are wanted the probabilities."""
    import numpy as np

    from geoseg.inference.run import compute_in_memory

    results, _ = compute_in_memory(job, None, "float32" if probabilities else None)
    planes = [[result.codes for result in results], [result.confidence for result in results]]
    if probabilities:
        planes.append([result.stored for result in results if result.stored is not None])
    return [np.concatenate(each, axis=-2) for each in planes]
