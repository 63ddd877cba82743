"""Calibrate a model on labelled scenes."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from geoseg.datasets.dataset import Channels, Pair
from geoseg.engine.folded import folded
from geoseg.engine.resized import ResizedSource
from geoseg.errors import DataError, ModelError, OptionError
from geoseg.grid.window import Window
from geoseg.inference.machine import load_checked
from geoseg.inference.measured_tiles import LabelCheck
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import Job, given_model, prepare_job
from geoseg.labels.label import Codes, Labels
from geoseg.learning.calibration import calibrated
from geoseg.learning.scoring import Scorer
from geoseg.models.model import Model
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.cache import limited_cache

if TYPE_CHECKING:
    from geoseg.raster.declared import Nodata, NodataRule


def calibrate(
    model: Path | str | Model,
    scenes: Sequence[Any],
    *,
    labels: Sequence[PathLike[str] | str],
    bands: Sequence[int | str] | None = None,
    resolution: float | None = None,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    allow_remote: bool = False,
    expand_palette: bool = False,
    force: bool = False,
    tile_size: int | None = None,
    overlap: int | None = None,
    progress: ShowProgress = None,
) -> Model:
    """Return the model with the temperature that makes its probabilities say how often it is right.

    The labels should be of ground that the model has not learned from: there it is too sure. Its logits are divided by
    the temperature in every prediction; thresholds move with it, so that where one tile covers a pixel its class stays.

    Laws: the weights are not changed; the negative log-likelihood of the labels is never larger than before.

    Parameters
    ----------
    model : path or Model
        A model file, or one that is open.
    scenes : sequence of path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
        Scenes, each as for `geoseg.predict`.
    labels : sequence of path
        One raster for each scene, in their order: the model's class codes on any grid in the scene's CRS; of a
        multilabel model also a band of 0 and 1 for each class. What is no data is unlabelled.
    bands, resolution, nodata, nodata_rule, alpha, allow_remote, expand_palette, force, tile_size, overlap : optional
        How the scenes are read, checked and cut into tiles, as for `geoseg.predict`.
    progress : bool or callable, optional
        As for `geoseg.predict`.

    Returns
    -------
    Model
        A model with `card.temperature` and `card.calibration`, which tells what that changed, and the same network.

    Raises
    ------
    SceneError, DataError, MismatchError, ModelError, OptionError
        If the input is invalid; DataError also if too few pixels are labelled.
    """
    options = PredictOptions.of(locals())
    check = LabelCheck(labels=labels)
    if not scenes or not labels:
        raise OptionError("expected at least one scene, and its labels")
    check.check(len(scenes))
    found = given_model(model)
    opened = found if isinstance(found, Model) else Model.open(found)
    if opened.exported is not None:
        raise ModelError(
            f"{opened.exported.path}: an exported model is not changed; calibrate the .safetensors that it was made "
            "from, and export that"
        )
    with shown(progress) as told, limited_cache():
        return _calibrated(opened, [prepare_job(scene, opened, options) for scene in scenes], check, told)


def _calibrated(model: Model, jobs: Sequence[Job], check: LabelCheck, told: OnProgress | None) -> Model:
    """Calibrate a model on scenes that match it."""
    load_checked(jobs[0])
    pairs = [_pair(job, labels) for job, labels in zip(jobs, check.opened(jobs), strict=True)]
    card = model.card
    found = calibrated(
        Scorer(tiling=jobs[0].tiling, image_size=card.image_size),
        folded(model.network),
        pairs,
        card,
        None if told is None else lambda done, total: told(done, total, "calibrate"),
    )
    if found.refusal:
        raise DataError(
            f"{', '.join(map(str, check.labels))}: {found.refusal}; pass more labels, or other ones"
        )
    return Model(found.card, model.network, model.notes, int8=model.int8)


def _pair(job: Job, labels: Labels) -> Pair:
    """Return a scene and its labels as the network sees them."""
    card, source = job.card, job.source
    order = sorted(range(len(card.channels)), key=lambda channel: card.channels[channel])
    layered = card.task == "multilabel" and order != list(range(len(order)))
    return Pair(
        name=job.name,
        image=source if card.image_size is None else ResizedSource(source=source, shape=card.image_size),
        labels=_InChannels(labels, tuple(order.index(channel) for channel in range(len(order))))
        if layered
        else labels,
        channels=Channels(codes=card.channels, task=card.task),
        gain=tuple(job.match.gain),
        bias=tuple(job.match.bias),
    )


class _InChannels(NamedTuple):
    """Labels of overlapping classes with their layers in the network's order."""

    labels: Labels
    layers: tuple[int, ...]

    @property
    def path(self) -> str:
        """Name used in messages."""
        return self.labels.path

    @property
    def layered(self) -> bool:
        """Whether classes may overlap."""
        return True

    def read(self, window: Window) -> Codes:
        """Read a window, (channel, row, col)."""
        return self.labels.read(window)[list(self.layers)]
