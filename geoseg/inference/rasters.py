"""Write the rasters of a run, and the record of what was done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import OptionError, Text, plural
from geoseg.raster.band_encoding import STORAGES, Storage
from geoseg.storage.run_record import ClassCount, RunRecord
from geoseg.storage.sidecars import RASTER_SUFFIXES

if TYPE_CHECKING:
    from geoseg.inference.run import Run
    from geoseg.storage.output import Claim


def stored_as(probabilities: Path | None, storage: Storage) -> dict[str, Any]:
    """Return the storage of probabilities as part of a run's identity, if they are requested."""
    return {} if probabilities is None else {"storage": storage}


def refuse_storage(storage: str, probabilities: Path | None) -> None:
    """Raise OptionError where it is said how probabilities are stored, and no file of them is written."""
    if probabilities is None and storage != STORAGES[0]:
        raise OptionError(
            f"storage is {storage!r} and no file of probabilities is written; name one, too, or leave storage out"
        )


def check_rasters(paths: Iterable[Path], storage: str) -> None:
    """Raise OptionError unless file names are GeoTIFF and the storage of probabilities is known."""
    if storage not in STORAGES:
        raise OptionError(f"storage is {storage!r}, expected one of {', '.join(STORAGES)}")
    for path in paths:
        if path.suffix.lower() not in RASTER_SUFFIXES:
            raise OptionError(f"{path}: rasters are written as GeoTIFF, expected a name that ends in .tif")


def write_class_map(run: Run, path: Path) -> ClassCount:
    """Write, verify and commit the class map of a run; a multilabel map has one band per class."""
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
    """Write the requested rasters besides the class map that do not exist yet, under the claims of a run.

    Confidence has the bands of the class map, probabilities one band per class of the legend.
    """
    names = run.job.card.classes.names
    if confidence is not None and confidence in run.claims:
        words = "confidence: probability of the written class * 254"
        bands = words if run.job.layers is None else [f"{name}, {words}" for name in names]
        _write(run, run.claims[confidence], run.store.confidence(), bands)
    if probabilities is not None and probabilities in run.claims:
        bands = [f"{name}, probability" for name in names]
        _write(run, run.claims[probabilities], run.store.probabilities(), bands)


def _write(run: Run, claim: Claim, strips: Iterable[Any], description: str | Sequence[str]) -> None:
    """Write, verify and commit one raster of a run, strip by strip from its top."""
    from geoseg.raster.classmap import write_cog

    finished = claim.prepare()
    write_cog(finished, strips, run.job.grid, legend=None, description=description, tags=product_tags(run))
    claim.commit(finished)


def product_tags(run: Run) -> dict[str, str]:
    """Return tags on the origin of a product; without times, so that equal work gives equal bytes."""
    return {
        "GEOSEG_VERSION": str(run.fingerprint["version"]),
        "GEOSEG_MODEL": run.job.card.name,
        "GEOSEG_MODEL_SHA256": run.job.card.weights_sha256 or "",
        "GEOSEG_SCENE": run.job.name,
        "GEOSEG_TILING": run.job.tiling_words,
        "GEOSEG_PRECISION": run.job.chosen.precision,
    }


def report_on(
    run: Run, output: Path, counted: tuple[list[dict[str, Any]], int], stages: dict[str, float]
) -> RunRecord:
    """Return the record of a run whose products are written; `counted` holds rows per class and valid pixels."""
    classes, valid_pixels = counted
    notes: list[Text] = [
        f"out of memory in strip {strip}: batches of {size} from there on" for strip, size in run.shrunk
    ]
    if run.processes:
        notes.append(
            f"{plural(len(run.processes), 'process')} computed, each in {max(run.processes):,.0f} MB at most"
        )
    return RunRecord(
        output=output,
        fingerprint=run.fingerprint,
        classes=classes,
        valid_pixels=valid_pixels,
        seconds={**run.preparing, "predict": run.seconds, **stages},
        megapixels_per_second=run.computed / 1e6 / max(run.seconds, 1e-9),
        damaged=run.store.damaged,
        notes=notes,
        warnings=list(map(str, run.job.match.notes)),
        settings=run.job.chosen.to_json(),
        profile=run.profile,
    )
