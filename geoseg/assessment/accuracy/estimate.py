"""The verb estimate_accuracy: accuracies and areas from a labelled sample."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.estimators import LabelledSample
from geoseg.assessment.accuracy.population import digest_of, rows_of_map
from geoseg.assessment.accuracy.record import Part, Record
from geoseg.assessment.accuracy.result import AccuracyEstimate
from geoseg.assessment.accuracy.sample_file import StoredSample, read_sample
from geoseg.errors import REPLACE, DataError, GeosegError, Message, OptionError, OutputExistsError, plural
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.storage.durable import write_bytes
from geoseg.storage.output import check_output, refuse_without_output
from geoseg.storage.printable import listed
from geoseg.vector.sources import opened

if TYPE_CHECKING:
    from geoseg.vector.sources import Source

_log = logging.getLogger(__name__)
Ints = npt.NDArray[np.int64]
_PAGES = (".html", ".htm")


def estimate_accuracy(
    sample: str | PathLike[str],
    *,
    class_map: Source | None = None,
    training: str | PathLike[str] | None = None,
    drop_unlabelled: bool = False,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: ShowProgress = None,
) -> AccuracyEstimate:
    """Estimate the accuracy of a map and the areas of its classes from a labelled sample.

    The estimators are those of Olofsson et al. (2013, 2014) where strata are the map's classes, and of Stehman (2014)
    where they are not, of which the former are a case; both with the correction for finite populations. A simple or
    systematic sample is stratified by the map's classes afterwards, if each has two points or more; a systematic one is
    taken for a random one, which overstates its errors. Intervals fall short where a rare class hides in a large
    stratum: the documentation has a table.

    Parameters
    ----------
    sample : path
        GeoPackage that `design_sample` wrote, with labels in the attribute `reference`.
    class_map : path or class map in any form, optional
        The map, which must be the one that the sample was drawn from; by default the file of that name, if it is where
        it was. It is only compared.
    training : path, optional
        Folder of the training of the map's model, or its model file: a sample whose points were among the labels is
        refused.
    drop_unlabelled : bool
        Whether points without a label are left out, as if they had never been drawn. The estimate is biased if what is
        hard to label is hard to map.
    output : path, optional
        Page (``.html``) or table (``.csv``) to write.
    overwrite : bool
        Whether `output` may replace a file.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    AccuracyEstimate
        Estimates and their intervals, as DataFrames.

    Raises
    ------
    DataError
        If the file is no probability sample, is not labelled, or its points trained the map's model; if a stratum has
        one point and more pixels; or if the map is another one.
    OptionError, OutputError
    """
    page = None if output is None else Path(output)
    if page is None:
        refuse_without_output(overwrite=overwrite)
    else:
        _check_page(page, overwrite=overwrite)
    path = Path(sample)
    stored = read_sample(path)
    found = _estimated(stored, drop_unlabelled=drop_unlabelled)
    if training is not None:
        from geoseg.assessment.accuracy.training_labels import refuse_trained

        refuse_trained(stored, Path(training))
    with shown(progress) as told:
        _check_map(stored.record, path, class_map, told)
    if page is not None:
        from geoseg.assessment.accuracy.page import page_of

        text = page_of(found, path.name) if page.suffix.lower() in _PAGES else found.csv()
        write_bytes(page, text.encode())
    return found


def _check_page(page: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before anything is computed."""
    if page.suffix.lower() not in (*_PAGES, ".csv"):
        raise OptionError(
            f"{page}: estimates are written as a page or a table, expected a name that ends in .html or .csv"
        )
    check_output(page)
    if page.exists() and not overwrite:
        raise OutputExistsError(f"{page}: already exists", REPLACE)


def _estimated(stored: StoredSample, *, drop_unlabelled: bool) -> AccuracyEstimate:
    """Check the labels and estimate."""
    record, notes = stored.record, []
    labelled = np.array([code is not None for code in stored.reference])
    missing = np.flatnonzero(~labelled) + 1
    if len(missing) and not drop_unlabelled:
        raise DataError(
            f"{stored.path}: {plural(len(missing), 'point')} of {len(labelled)} have no label ({listed(missing)})",
            Message(
                "label them, or pass {drop_unlabelled} to leave them out, which biases the estimate if they are harder "
                "to map than the others",
                drop_unlabelled=True,
            ),
        )
    if len(missing):
        notes.append(
            f"{plural(len(missing), 'point')} without a label left out, as if they had not been drawn: the estimate is "
            "biased if they are harder to map than the others"
        )
    codes = np.array(record.legend.codes)
    index = {
        "mapped": np.searchsorted(codes, record.places.mapped[labelled]),
        "reference": np.searchsorted(codes, [code for code in stored.reference if code is not None]),
    }
    by_class = record.drawing.method != "stratified" and _enough(
        record.classes, record.places.mapped[labelled]
    )
    parts = record.classes if by_class else record.strata
    stratum = record.places.mapped if by_class else record.places.stratum
    if by_class:
        notes.append("stratified by the map's classes after it was drawn")
    if record.drawing.method == "systematic":
        notes.append("a systematic sample is taken for a random one, so its errors are overstated")
    if any(each.area_m2 is None for each in parts):
        notes.append("the map's CRS is not tied to the Earth: shares are of pixels, and areas are unknown")
    place = np.searchsorted([each.code for each in parts], stratum[labelled])
    _check_strata(stored.path, parts, np.bincount(place, minlength=len(parts)))
    size = np.array([each.pixels if each.area_m2 is None else each.area_m2 for each in parts], np.float64)
    sample = LabelledSample(
        share=size / size.sum(),
        pixels=np.array([each.pixels for each in parts], np.float64),
        stratum=place,
        area=record.places.area_m2[labelled],
        classes=len(codes),
        **index,
    )
    return AccuracyEstimate(record=record, sample=sample, notes=tuple(notes))


def _enough(parts: tuple[Part, ...], drawn: Ints) -> bool:
    """Tell whether every class has two points, or is counted whole."""
    return all(int((drawn == each.code).sum()) >= min(2, each.pixels) for each in parts)


def _check_strata(path: Path, parts: tuple[Part, ...], points: Ints) -> None:
    """Refuse strata whose spread cannot be estimated."""
    for each, count in zip(parts, points.tolist(), strict=True):
        if count < min(2, each.pixels):
            left = "" if count == each.points else f" of {each.points} that are labelled"
            raise DataError(
                f"{path}: stratum {each.name} has {plural(count, 'point')}{left} and {plural(each.pixels, 'pixel')}, "
                "expected 2 points or more, since one has no spread; "
                + ("label more of them" if left else "design a sample with 2 points or more in each stratum")
            )


def _check_map(record: Record, path: Path, given: Source | None, progress: OnProgress | None) -> None:
    """Refuse another map than the one that the sample was drawn from."""
    source = given
    if source is None:
        beside = path.parent / record.map_path if record.map_path else None
        if beside is None or not beside.is_file():
            _log.warning(
                "%s: the map %s that the sample was drawn from is not there to be compared; %s",
                path, record.map_name or "in memory", Message("pass it as {class_map}"),
            )  # fmt: skip
            return
        source = beside
    name = Path(source).name if isinstance(source, str | PathLike) else "the map"
    try:
        found = opened(source, None)
    except GeosegError as error:
        raise error.into(DataError) from error
    if found.layers is None and digest_of(found.grid, rows_of_map(found), progress) == record.digest:
        return
    raise DataError(
        f"{path}: was drawn from the map {record.map_name}, and {name} has other pixels or another grid: the sample "
        "says nothing about it; estimate with the map that it was drawn from, or design a sample of this one"
    )
