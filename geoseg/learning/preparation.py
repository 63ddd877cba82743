"""Prepare a training: data, statistics, network, device and sizes, before the first step."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from geoseg.datasets.dataset import Pair
from geoseg.datasets.files import Entry
from geoseg.datasets.label_config import RunLengthsConfig
from geoseg.datasets.opening import Opened, first_image, open_data, open_image
from geoseg.datasets.split_config import InFolds
from geoseg.datasets.splits import with_card
from geoseg.datasets.statistics import Statistics, measure
from geoseg.engine.devices import choose_device, choose_precision
from geoseg.engine.memory import check_memory
from geoseg.engine.settings import Settings
from geoseg.errors import ConfigError, DataError, OptionError
from geoseg.grid.tiling import Tiling
from geoseg.learning.config import Config
from geoseg.learning.loss_text import default_terms, parse
from geoseg.learning.losses import Loss
from geoseg.learning.monitor import Monitor, ScoredClasses
from geoseg.learning.process_state import rank
from geoseg.learning.scoring import Scorer
from geoseg.models.first_layer import colors_of
from geoseg.models.model import Model
from geoseg.models.scaling import Scaling
from geoseg.models.start import network_of, start_from
from geoseg.models.weight_names import is_of_torchgeo, located
from geoseg.storage.journal import Journal, flat

_NO_DIFFERENCE: Final = ("train.workers", "train.start_method", "train.save_minutes")
"""Settings that affect only the speed of a training, not its result."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTraining:
    """A training that is ready to begin.

    Parameters
    ----------
    config : Config
        The configuration, with numbers instead of every ``auto``.
    opened : Opened
        The splits, and the images excluded from them.
    splits : mapping of str to tuple of Pair
        Images and labels by split, normalised according to the model's card.
    statistics : Statistics
        Statistics of the training split.
    model : Model
        The model to train.
    device, precision : str
        Device and precision of the training.
    monitor : Monitor
        The score that determines the best epoch.
    date : str
        Date on which the training began.
    fingerprint : mapping
        Everything that the result depends on, as plain JSON values, with ``auto`` as requested.
    range_test : mapping, optional
        ``rates`` and ``losses`` of the learning-rate range test.
    """

    config: Config
    opened: Opened
    splits: Mapping[str, tuple[Pair, ...]]
    statistics: Statistics
    model: Model
    device: str
    precision: str
    monitor: Monitor
    date: str
    fingerprint: Mapping[str, Any]
    range_test: Mapping[str, Any] | None = None

    @property
    def loss(self) -> Loss:
        """The training loss."""
        wanted, card = self.config.train.loss, self.model.card
        if isinstance(wanted.class_weights, Mapping):
            weights = tuple(wanted.class_weights[code] for code in card.scored)
        else:
            weights = self.statistics.class_weights(wanted.class_weights) if wanted.class_weights else ()
        options = {
            "gamma": wanted.focal_gamma, "alpha": wanted.tversky_alpha, "beta": wanted.tversky_beta
        }  # fmt: skip
        return Loss(
            task=card.task,
            terms=parse(wanted.terms or default_terms(card.task)),
            class_weights=weights,
            label_smoothing=wanted.label_smoothing,
            **{key: value for key, value in options.items() if value is not None},
        )

    @property
    def classes(self) -> ScoredClasses:
        """The classes of its scores."""
        return ScoredClasses.of(self.model.card, self.config.train.score_without)

    @property
    def scorer(self) -> Scorer:
        """Scores images as they will be predicted."""
        tile = self.model.card.tile
        return Scorer(
            tiling=Tiling(size=tile.size, overlap=tile.overlap),
            device=self.device,
            precision=self.precision,
            loss=self.loss,
            image_size=self.model.card.image_size,
        )

    @property
    def spread(self) -> float:
        """Standard deviation of the training pixels in the network's input, mean over the bands."""
        found = self.statistics.std
        ratios = [own / fed for own, fed in zip(found, self.model.card.std or found, strict=True) if fed]
        return sum(ratios) / len(ratios) if ratios else 1.0

    @property
    def batch_size(self) -> int:
        """Chips per batch."""
        assert isinstance(self.config.train.batch_size, int), "settled by `prepare_training`"
        return self.config.train.batch_size

    @property
    def learning_rate(self) -> float:
        """Largest learning rate of the schedule."""
        assert isinstance(self.config.train.learning_rate, float), "settled by `prepare_training`"
        return self.config.train.learning_rate


def prepare_training(
    config: Config, *, skip_bad: bool = False, given: Sequence[Entry] = ()
) -> PreparedTraining:
    """Open the data, measure the training split and build the network; nothing is written.

    ``auto`` is resolved by `geoseg.learning.trial.settle`, which takes the values from the journal in a resumed run.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    skip_bad : bool
        Whether to skip images that cannot be used.
    given : sequence of Entry
        Images and labels that are Python objects, as `find_entries` takes them.

    Raises
    ------
    ConfigError, DataError, ModelError, SceneError, OptionError
        If anything is wrong; raised before long work begins.
    """
    # Cheap checks come first.
    device = choose_device(config.train.device)
    precision = choose_precision(config.train.precision, device)
    model = _new_model(config, given)
    monitor = Monitor.of(config.train.monitor, ScoredClasses.of(model.card, config.train.score_without))
    for size in dict.fromkeys((*config.chip_shape, *(config.data.image_size or ()))):
        model.check_tile_size(size)
    _check_memory(config, model, Settings(device=device, precision=precision, batch_size=1, threads=1))
    _check_single_chips(model, config)
    if rank(config.train.devices) == 0:
        _log.info("reading images and labels in %s", config.data_root)
    opened = open_data(config.data, config.data_root, model.card, skip_bad=skip_bad, given=given)
    for split in ("train", "val"):
        if not opened.splits[split]:
            raise DataError(f"the split {split} has no image; change data.split or add images")
    # A fold may lack a class that others have: its score says what that costs.
    in_folds = isinstance(config.data.split, InFolds) and config.data.split.test
    statistics = measure(opened.splits["train"], every_class=not in_folds, legend=config.data.legend)
    mean, std = _normalisation(model, statistics)
    model.card = model.card.changed(
        value_range=statistics.value_range,
        scale=statistics.scaling.scale,
        offset=statistics.scaling.offset,
        mean=mean,
        std=std,
        image_size=config.data.image_size if config.data.fit == "resize" else None,
        content=config.data.labels.content if isinstance(config.data.labels, RunLengthsConfig) else None,
    )
    counts = ", ".join(f"{len(pairs)} {split}" for split, pairs in opened.splits.items())
    if rank(config.train.devices) == 0:
        _log.info("training on %s in %s; images: %s", device, precision, counts)
    return PreparedTraining(
        config=config,
        opened=opened,
        splits=with_card(opened.splits, model.card),
        statistics=statistics,
        model=model,
        device=device,
        precision=precision,
        monitor=monitor,
        date=datetime.now(UTC).date().isoformat(),
        fingerprint={
            **settings_of(config),
            "device": device,
            "precision": precision,
            "data": statistics.fingerprint,
            **_begun_from(model),
            **{f"file {path}": _signature(path) for path in opened.files},
        },
    )


def _normalisation(model: Model, statistics: Statistics) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the normalisation: the training split's, or those of pretrained
    weights.
    """
    beginning, card = model.card.beginning, model.card
    if beginning is None:
        return statistics.mean, statistics.std
    plain = statistics.scaling == Scaling.none(len(card.bands))
    white = 255.0 if card.dtype == "uint8" and plain else None
    return beginning.normalisation(colors_of(card.band_names), white, statistics.mean, statistics.std)


def _begun_from(model: Model) -> dict[str, str]:
    """Return the digest of the pretrained weights, which distinguishes them from others of the same name."""
    beginning = model.card.beginning
    return {} if beginning is None or not beginning.sha256 else {"begun from": beginning.sha256}


def _check_single_chips(model: Model, config: Config) -> None:
    """Raise ConfigError for batches of one chip if batch normalisation would see a single value per channel."""
    train = config.train
    if train.batch_size != 1 or not train.batch_statistics:
        return
    rows, cols = config.chip_shape
    network = copy.deepcopy(model.network).train()
    try:
        with torch.no_grad():
            network(torch.zeros((1, len(config.data.bands), rows, cols)))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        edges = "data.image_size" if config.chip_shape == config.data.image_size else "train.chip_size"
        raise ConfigError(
            f"train.batch_size is 1, and {model.card.architecture} {model.card.encoder} makes a single value per "
            f"channel of a chip of {rows} x {cols} px, which batch normalisation cannot use in training; use "
            f"train.batch_size 2 or more, a larger {edges}, or train.batch_statistics: false"
        ) from error


def _check_memory(config: Config, model: Model, settings: Settings) -> None:
    """Raise ConfigError if a training step, or a tile of the validation, cannot fit in memory."""
    train, bands = config.train, len(config.data.bands)
    edges = config.data.image_size if config.data.image_size and config.data.fit == "resize" else None
    seen = edges or (model.card.tile.size,) * 2
    try:
        batch = 1 if train.batch_size == "auto" else train.batch_size
        check_memory(lambda: model.network, (batch, bands, *config.chip_shape), settings, training=True)
        check_memory(lambda: model.network, (1, bands, *seen), settings)
    except OptionError as error:
        raise error.into(ConfigError, "train") from error


def _new_model(config: Config, given: Sequence[Entry]) -> Model:
    wanted = config.model
    first = open_image(first_image(config.data, config.data_root, given), config.data)
    assert wanted.tile_size is not None, "a configuration fills it in"
    start = wanted.start
    if start is not None and not is_of_torchgeo(start):
        start = os.fspath(config.folder / start)
    architecture, encoder, options = wanted.architecture, wanted.encoder, wanted.decoder_options
    if start is not None and encoder is None:
        architecture, encoder, options = network_of(start)
    assert architecture is not None, "a configuration fills it in"
    assert encoder is not None, "a configuration fills it in"
    model = Model.new(
        architecture=architecture,
        encoder=encoder,
        bands=config.data.bands,
        classes=config.data.legend,
        task=config.data.task,
        encoder_weights=wanted.encoder_weights and located(wanted.encoder_weights, config.folder),
        dtype=str(first.dtype),
        gsd_m=wanted.gsd_m,
        tile_size=wanted.tile_size,
        overlap=wanted.overlap,
        decoder_options=options,
        name=wanted.name,
        seed=config.train.seed,
    )
    if start is not None:
        for note in start_from(model, start):
            _log.warning("model.start: %s", note)
        begun = model.card.beginning
        if begun is not None and begun.folded and config.train.batch_statistics:
            _log.warning(
                "model.start: its batch normalisations are part of its convolutions, and statistics of batches would "
                "change what it knows; set train.batch_statistics to false"
            )
            # The trained model has its own batch statistics.
            model.card = model.card.changed(beginning=begun.model_copy(update={"folded": False}))
    return model


def journal_of(folder: Path, run: PreparedTraining) -> Journal:
    """Open the journal of a run's folder.

    Raises
    ------
    ResumeError
        If the folder holds the unfinished training of another configuration or of other data, naming the
        difference.
    """
    return Journal(folder, run.fingerprint)


def settings_of(config: Config) -> dict[str, Any]:
    """Return the settings that the result depends on, by their paths."""
    plain = json.loads(json.dumps(config.fields()))
    return {key: value for key, value in flat(plain).items() if key not in _NO_DIFFERENCE}


def _signature(path: Path) -> list[int]:
    """Return size in bytes and modification time in ns of a file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
