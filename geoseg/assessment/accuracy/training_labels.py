"""Samples that trained the model of the map, which would say that it is better than it is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.sample_file import StoredSample
from geoseg.assessment.report.reading import TrainingRecord, read_run
from geoseg.errors import DataError, GeosegError, Message, SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.raster.file_kinds import kind_of
from geoseg.raster.opening import signature_of
from geoseg.storage.printable import listed
from geoseg.vectorfiles.reading import choose_layers, read_features
from geoseg.vectorfiles.reprojection import Reprojection

_log = logging.getLogger(__name__)
_FILE: Final = "file "
"""Beginning of the names of files in a training's fingerprint."""
_SAME: Final = 0.02
"""Distance, px, within which a label lies where a point was drawn: what is drawn by hand does not."""


def refuse_trained(sample: StoredSample, training: Path) -> None:
    """Raise DataError if the points of a sample were among the labels of a training.

    These are vector labels whose point, or the centroid of whose line or polygon, is a point of the sample, in the
    files that the run has noted; the data fingerprint of the card says that they are those of the model. Of labels in
    rasters nobody can tell who drew a pixel: these are not compared, which is logged.

    Parameters
    ----------
    sample : StoredSample
        The sample.
    training : Path
        Folder of the training, or its model file.

    Raises
    ------
    DataError
        Also if the labels are not there any more, or are not those of the model.
    """
    run = read_run(training)
    files = _label_files(run, training)
    drawn = [path for path in files if _is_vector(path)]
    if not drawn:
        _log.warning(
            "%s: its labels are no vectors, so it cannot be told whether the sample was among them", training
        )
    for path in drawn:
        if found := _common(sample, path):
            raise DataError(
                f"{sample.path}: {plural(len(found), 'point')} ({listed(found)}) trained the model, as labels in "
                f"{path}; it knows the answers, so the estimate would be too good: draw another sample and keep it out "
                "of training"
            )


def _label_files(run: TrainingRecord, training: Path) -> list[Path]:
    """Return the files that a training read, after checking that they are its model's."""
    noted: dict[str, Any] = run.story.get("fingerprint", {})
    data = run.training.get("data_fingerprint")
    if data is None or noted.get("data") != data:
        raise DataError(
            f"{training}: the data fingerprint of its card is {str(data)[:12]} and that of the run "
            f"{str(noted.get('data'))[:12]}, expected a finished training whose folder belongs to the model"
        )
    files = {Path(name.removeprefix(_FILE)): then for name, then in noted.items() if name.startswith(_FILE)}
    if any(_signature(path) != tuple(then) for path, then in files.items()):
        _check_data(run, str(data))
    return list(files)


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        return signature_of(str(path), str(path))
    except SceneError:
        return None


def _check_data(run: TrainingRecord, wanted: str) -> None:
    """Raise DataError unless the data, whose files were touched since, are still those that trained the model."""
    from geoseg.datasets.opening import open_data
    from geoseg.datasets.statistics import measure

    assert run.card is not None
    try:
        config = run.resolved()
        found = measure(
            open_data(config.data, config.data_root, run.card).splits["train"], every_class=False
        ).fingerprint
    except GeosegError as error:
        raise DataError(
            Message("{}: the data that trained the model cannot be opened any more: {}", run.folder, error)
        ) from error
    if found != wanted:
        raise DataError(
            f"{run.folder}: the data have changed since they trained the model (fingerprint {found[:12]}, expected "
            f"{wanted[:12]}), so the sample cannot be compared with its labels; put the labels of then back"
        )


def _is_vector(path: Path) -> bool:
    try:
        kind = kind_of(path)
    except OSError:  # an image that was moved away: labels were missed before
        return False
    return kind is not None and kind.holds == "vector"


def _common(sample: StoredSample, path: Path) -> list[int]:
    """Return the numbers of the points at which a file has labels."""
    import shapely

    places = sample.record.places
    grid = Grid(
        height=int(places.row.max()) + 1, width=int(places.col.max()) + 1, transform=sample.record.transform,
        crs=_wkt(sample.crs),
    )  # fmt: skip
    found: set[int] = set()
    for layer in choose_layers(path):
        shapes = shapely.from_wkb(read_features(path, layer).geometry)
        shapes = shapely.get_parts(shapes[~shapely.is_missing(shapes)])
        labels = shapely.centroid(Reprojection.between(layer.crs, grid, path=path)(shapes))
        found.update(_near(labels, grid, places.row, places.col))
    return sorted(found)


def _near(labels: Any, grid: Grid, row: npt.NDArray[np.int64], col: npt.NDArray[np.int64]) -> list[int]:
    """Return the numbers of the points that are labels."""
    import shapely

    x, y = shapely.get_x(labels), shapely.get_y(labels)
    inverse = ~grid.transform
    at_col, at_row = (
        inverse.a * x + inverse.b * y + inverse.c - 0.5,
        inverse.d * x + inverse.e * y + inverse.f - 0.5,
    )
    near = (abs(at_col - np.rint(at_col)) <= _SAME) & (abs(at_row - np.rint(at_row)) <= _SAME)
    there = set(zip(np.rint(at_row[near]).tolist(), np.rint(at_col[near]).tolist(), strict=True))
    pairs = zip(row.tolist(), col.tolist(), strict=True)
    return [number for number, pair in enumerate(pairs, start=1) if pair in there]


def _wkt(crs: str | None) -> str | None:
    if crs is None:
        return None
    import pyproj

    return str(pyproj.CRS(crs).to_wkt())
