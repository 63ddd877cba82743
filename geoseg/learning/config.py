"""Training configuration: one YAML file, checked before any data is read.

Paths are relative to the configuration file. ``data.root`` may contain environment variables
(``${GEOSEG_DATA}``), so that a recipe can be shared between machines whose data lie in different folders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, PrivateAttr, ValidationError, model_validator

from geoseg.datasets.description import TAGS, DataConfig
from geoseg.datasets.quantities import (
    STRICT,
    Amount,
    Batch,
    Chips,
    Count,
    Devices,
    Edge,
    Margin,
    Offset,
    Positive,
    Probability,
    Seed,
    Share,
    Threads,
    Workers,
)
from geoseg.errors import ConfigError, Message
from geoseg.learning.augment_config import PRESETS, AugmentChoice, AugmentConfig
from geoseg.learning.loss_text import LossConfig
from geoseg.learning.optimizers import OptimizerConfig
from geoseg.learning.schedules import SCHEDULES, OneCycle, ScheduleConfig
from geoseg.models.default_network import ARCHITECTURE, ChosenNetwork
from geoseg.models.one_line import one_line
from geoseg.models.weight_names import NONE
from geoseg.storage.foreign_yaml import read_yaml
from geoseg.storage.printable import shortened

Keep = Literal["best", "last"]
"""Which epoch's weights a training keeps."""
_CHIP_SIZE = 256
"""Edge of the chips where nothing else is said, px."""
_LARGEST_FILE = 2**20


class ModelConfig(BaseModel):
    """Network and model file.

    Attributes
    ----------
    architecture
        Name in segmentation-models-pytorch; ``Unet`` by default.
    encoder
        Name in segmentation-models-pytorch; by default EfficientNet-Lite0 with ``packaged`` weights and a light
        decoder (`default_network`).
    encoder_weights
        ``packaged``, which are part of geoseg; ``imagenet`` or another name that segmentation-models-pytorch knows; a
        torchgeo weight such as ``ResNet50_Weights.SENTINEL2_ALL_MOCO``; a file of weights; or ``none`` for random
        ones, the default for an explicitly named encoder.
    start
        Model file, or a U-Net of torchgeo (``Unet_Weights....``), to start from: its weights, with this
        data's classes and bands; and its network, where neither architecture, encoder nor decoder_options are named.
    tile_size
        Edge of the tiles used for prediction, px; that of the chips by default. Many networks pool over
        the whole tile (squeeze and excitation, ASPP), and only work well at the size on which they were trained.
    """

    model_config = STRICT

    name: str | None = None
    architecture: str | None = None
    encoder: str | None = None
    encoder_weights: str | None = None
    start: str | None = None
    decoder_options: dict[str, Any] = {}
    tile_size: Edge | None = None
    overlap: Margin | None = None
    gsd_m: Positive | None = None
    weights: Literal["fp32", "fp16"] = "fp32"

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.start is not None and self.encoder_weights not in (None, NONE):
            raise ValueError("start and encoder_weights are two beginnings, expected one")
        return self

    def settled(self) -> ModelConfig:
        """Return the section with the default network filled in, or left to what it starts from."""
        if self.start is not None and not (self.architecture or self.encoder or self.decoder_options):
            return self
        found = ChosenNetwork(
            architecture=self.architecture or ARCHITECTURE,
            encoder=self.encoder,
            encoder_weights=self.encoder_weights,
            decoder_options=self.decoder_options,
            started=self.start is not None,
            gsd_m=self.gsd_m,
        ).settled()
        return self.model_copy(
            update={
                "architecture": found.architecture,
                "encoder": found.encoder,
                "encoder_weights": found.encoder_weights,
                "decoder_options": dict(found.decoder_options),
            }
        )


class TuneConfig(BaseModel):
    """How thresholds and minimum region sizes are tuned.

    Attributes
    ----------
    metric
        Score of each class that is maximised; for a binary task, of the class, not of the background.
    reduction
        ``dataset``: score of the summed pixels of all images; ``image``: mean over images, in which a class that is
        in neither labels nor prediction scores 1.
    regions
        Whether minimum region sizes are also tuned. For pictures only: every picture is held in memory,
        and the result applies where whole pictures are predicted.
    """

    model_config = STRICT

    metric: Literal["dice", "iou"] = "dice"
    reduction: Literal["dataset", "image"] = "dataset"
    regions: bool = False


class TrainConfig(BaseModel):
    """Schedule, optimisation and sampling of a training.

    Attributes
    ----------
    sampling
        ``random``: every position equally likely; ``balanced``: around labelled pixels, rare classes more
        often; ``grid``: every tile of a grid once an epoch, in random order; ``whole``: every image once an
        epoch, in random order (images that were cut beforehand).
    balance
        For balanced sampling: a class with share f of the labelled pixels is drawn in proportion to
        ``f ** (1 - balance)``: 0 keeps the shares, 1 draws all classes equally.
    chips_per_epoch
        Chips per epoch; by default as many as cover the training images once.
    chip_size
        Edge of the chips, px. By default 256 or, where images are brought to `data.image_size`, that size; a smaller
        edge then cuts chips out of the resized images.
    batch_size
        Chips per step; ``auto``: as many as fit in the device's memory.
    accumulate
        Batches whose gradients are accumulated for one step.
    optimizer
        Name and options of one of torch's optimizers.
    learning_rate
        Largest learning rate of the schedule; ``auto``: found by a range test before the first step.
    weight_decay
        Weight decay of the optimizer; by default 0.01 for adamw and 0 for the others.
    schedule
        Learning-rate schedule: ``constant``, ``one_cycle``, ``cosine``, ``poly`` or ``plateau``.
    batch_statistics
        Whether batch normalisation updates mean and variance in training. Otherwise it keeps the initial ones
        (of the pretrained weights, else 0 and 1) and learns only its gains: better if batches are small
        or images were each stretched individually, so that batches differ in their statistics.
    average
        A second set of weights is kept, an average that looks back over this share of the run
        (`task.AveragedWeights`); after each epoch both are scored, and the better one counts. 0: none.
    consistency
        Weight of the consistency loss on unlabelled pixels (`consistency`): as many chips again are drawn anywhere in
        the training images, and where the averaged weights are confident, the network learns to predict the same
        for them after changes of light. 0: none. It more than doubles the time of a step.
    encoder_rate
        Factor of the learning rate for the encoder. Below 1 it forgets less of its pretrained weights, but
        learns less in few steps.
    freeze_encoder
        Number of initial epochs in which only the decoder learns.
    keep
        ``best``: the weights of the epoch with the best `monitor`, averaged or not, whichever scores better.
        ``last``: those after the last epoch, averaged where `average` is not 0. Where few images validate, the best
        epoch is a matter of chance, and an early one has seen little of the falling rate.
    monitor
        Validation score by which the best epoch is chosen: ``mean_iou``, ``mean_dice``, ``accuracy``,
        ``loss`` (lower is better), or ``iou/NAME``, ``dice/NAME``, ``precision/NAME``, ``recall/NAME`` of one
        class. Scores are of the summed pixels of all images; with ``per_image/`` before the name each image is
        scored by itself, 1 where a class is in neither labels nor prediction, and the mean is taken. Of equal
        scores the lower loss decides; IoU and Dice of the summed pixels are equal from 0.99 on.
    score_without
        Names of classes excluded from two more scores, ``mean_iou_without`` and ``mean_dice_without``.
    calibrate
        Whether a temperature is fitted to the validation images after the last epoch and stored in the card, so that
        probabilities say how often the model is right (`learning.calibration`).
    tune
        Thresholds, and smallest regions, of a binary or multilabel task, found on the validation images after
        the last epoch and stored in the card; None: 0.5, and regions of any size.
    patience
        Epochs without a better score after which training stops; None: never.
    save_minutes
        Minutes after which the whole state is saved, besides after each epoch.
    threads
        CPU threads of torch; its own default if not set. Results depend on it.
    workers
        Processes that read chips; 0 reads in the training process.
    start_method
        How these processes start.
    devices
        Number of devices that train together, each with its own share of the chips.
    """

    model_config = STRICT

    epochs: Count
    sampling: Literal["random", "balanced", "grid", "whole"] = "random"
    balance: Probability = 0.5
    chips_per_epoch: Chips | None = None
    chip_size: Edge | None = None
    batch_size: Batch | Literal["auto"] = 8
    accumulate: Batch = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    learning_rate: Positive | Literal["auto"] = 1e-3
    weight_decay: Amount | None = None
    schedule: ScheduleConfig = OneCycle()
    clip_gradient: Positive | None = 1.0
    batch_statistics: bool = True
    average: Share = 0.05
    consistency: Amount = 0.0
    encoder_rate: Probability = 1.0
    freeze_encoder: Offset = 0
    loss: LossConfig = LossConfig()
    augment: AugmentChoice = AugmentConfig()
    keep: Keep = "best"
    monitor: str = "mean_iou"
    score_without: tuple[str, ...] = ()
    calibrate: bool = True
    tune: TuneConfig | None = None
    patience: Count | None = None
    save_minutes: Positive = 10
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Devices = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Seed = 0
    threads: Threads | None = None
    workers: Workers = 0
    start_method: Literal["spawn", "forkserver", "fork"] = "spawn"


class Config(BaseModel):
    """A complete training configuration."""

    model_config = STRICT

    data: DataConfig
    model: ModelConfig = ModelConfig()
    train: TrainConfig
    _root: Path | None = PrivateAttr(default=None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        weights = self.train.loss.class_weights
        if isinstance(weights, dict) and set(weights) != set(self.data.legend.codes):
            raise ValueError("train.loss.class_weights must name every class code of data.classes once")
        if self.train.tune is not None and self.data.task == "multiclass":
            raise ValueError(
                "train.tune is for binary and multilabel tasks, data.task is multiclass; leave it out"
            )
        self._check_chips()
        if self.train.consistency:
            self._check_consistency()
        if self.train.keep == "last" and self.train.patience is not None:
            raise ValueError(
                f"train.patience is {self.train.patience}, which waits for a better epoch, and train.keep is last; "
                "leave one of them out"
            )
        # Defaults that depend on other values.
        model = self.model.settled()
        settled = {
            "loss": self.train.loss.settled(self.data.task),
            "weight_decay": self.train.optimizer.decay(self.train.weight_decay),
        }
        tile = self.model.tile_size or max(self.data.image_size or self.chip_shape)
        return self.model_copy(
            update={
                "train": self.train.model_copy(update=settled),
                "model": model.model_copy(update={"tile_size": tile}),
            }
        )

    @property
    def chip_shape(self) -> tuple[int, int]:
        """Rows and columns of the training chips."""
        if self.train.chip_size is not None:
            return self.train.chip_size, self.train.chip_size
        return self.data.image_size or (_CHIP_SIZE, _CHIP_SIZE)

    def _check_chips(self) -> None:
        """Raise ValueError for chips that are not what the images are brought to."""
        wanted, found = self.data.image_size, self.chip_shape
        if wanted is None or found == wanted:
            return
        rows, cols = wanted
        if self.data.fit != "resize":
            raise ValueError(
                f"train.chip_size is {found[0]}, and data.fit {self.data.fit} makes chips of data.image_size, "
                f"{rows} x {cols} px; leave train.chip_size out"
            )
        if self.train.sampling == "whole":
            raise ValueError(
                f"train.chip_size is {found[0]}, and train.sampling whole takes images of data.image_size, "
                f"{rows} x {cols} px, as they are; leave train.chip_size out, or choose another sampling"
            )
        if max(found) > min(wanted):
            raise ValueError(
                f"train.chip_size is {found[0]}, larger than data.image_size, {rows} x {cols} px; choose a smaller "
                "one, or leave it out"
            )

    def _check_consistency(self) -> None:
        if not self.train.average:
            raise ValueError("train.consistency needs averaged weights, found train.average 0; pass 0.05")
        if self.train.batch_size == "auto":
            raise ValueError("train.consistency needs a train.batch_size, found auto; pass a number of chips")

    @classmethod
    def read(cls, path: Path | str, changes: Sequence[str] = ()) -> Config:
        """Read a YAML file.

        Parameters
        ----------
        path : path
            The file.
        changes : sequence of str
            Values (as YAML) that replace those of the file, such as ``model.encoder=resnet50``.

        Raises
        ------
        ConfigError
            If the configuration is invalid; one line with the file, the key and what was expected.
        """
        path = Path(path)
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ConfigError(f"{path}: is larger than 1 MiB, expected a training configuration")
            fields = read_yaml(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ConfigError(f"{path}: is not YAML that geoseg reads ({error})") from error
        if not isinstance(fields, dict):
            found = "nothing" if fields is None else f"a {type(fields).__name__}"
            raise ConfigError(f"{path}: holds {found}, expected the keys data, model and train")
        for change in changes:
            set_value(fields, change)
        return cls.of(fields, str(path), path.parent)

    @classmethod
    def of(cls, fields: Mapping[str, Any], name: str, folder: Path, root: Path | None = None) -> Config:
        """Check the fields of a configuration called `name`, whose paths are relative to `folder`.

        Parameters
        ----------
        fields : mapping
            Its values, nested.
        name : str
            What messages call it.
        folder : Path
            Folder of its file.
        root : Path, optional
            Folder of the data where it is known already; else `data.root` says it.

        Raises
        ------
        ConfigError
        """
        try:
            config = cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(f"{name}: {one_line(error, TAGS | SCHEDULES)}") from error
        config._root = root or (folder / _expand(config.data.root, name)).resolve()
        config._folder = folder.resolve()
        return config

    @property
    def data_root(self) -> Path:
        """Absolute folder of the data; `data.root` keeps the text of the file, which can be shared."""
        return self._root or _expand(self.data.root, "configuration").resolve()

    @property
    def folder(self) -> Path:
        """Absolute folder of the configuration file, to which all paths except those of the data are relative."""
        return self._folder

    def fields(self) -> dict[str, Any]:
        """Return the configuration as plain values, with every default filled in."""
        fields = self.model_dump(mode="json", exclude_none=True)
        # In YAML class codes are numbers, while JSON keys are always text.
        fields["data"]["classes"] = {int(k): v for k, v in fields["data"]["classes"].items()}
        weights = fields["train"]["loss"]["class_weights"]
        if isinstance(weights, dict):
            fields["train"]["loss"]["class_weights"] = {int(k): v for k, v in weights.items()}
        return fields


def set_value(fields: dict[str, Any], change: str) -> None:
    """Set one ``a.b.c=value`` in nested fields, leaving the others unchanged.

    Raises
    ------
    ConfigError
    """
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            Message(
                "{changes}: expected KEY=VALUE, as in model.encoder=resnet50", changes=[shortened(change, 80)]
            )
        )
    try:
        # A value such as #228b22 is a colour, not a YAML comment.
        value = text.strip() if text.lstrip().startswith("#") else read_yaml(text)
    except ValueError as error:
        raise ConfigError(
            Message(
                "{changes}: its value is not YAML that geoseg reads ({})",
                error,
                changes=[shortened(change, 80)],
            )
        ) from error
    inner: Any = fields
    for depth, part in enumerate(parts):
        place = _place(inner, part, ".".join(parts[:depth]), change)
        if depth == len(parts) - 1:
            inner[place] = value
            return
        known = inner[place] if isinstance(inner, list) else inner.get(place)
        inner[place] = _mapping(known, parts[: depth + 1])
        inner = inner[place]


def _place(inner: Any, part: str, path: str, change: str) -> Any:
    """Return the key of a path part in a mapping, whose keys may be numbers, or its index in a list."""
    if isinstance(inner, dict):
        return next((key for key in inner if str(key) == part), part)
    if isinstance(inner, list) and part.isdecimal() and int(part) < len(inner):
        return int(part)
    what = f"a list of {len(inner)}" if isinstance(inner, list) else repr(inner)
    raise ConfigError(
        Message("{changes}: {} is {} and has no {}", path, what, part, changes=[shortened(change, 80)]),
        "give it its whole value",
    )


_SHORT: Mapping[tuple[str, ...], str] = {
    ("data", "labels"): "files",
    ("train", "optimizer"): "name",
    ("train", "schedule"): "name",
    ("train", "loss"): "terms",
}
"""Keys whose value may be plain text, and the key of the mapping that the text abbreviates."""


def _mapping(value: Any, path: Sequence[str]) -> Any:
    """Expand text that abbreviates a mapping, so that its parts can be changed."""
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    if tuple(path) in _SHORT:
        return {_SHORT[tuple(path)]: value}
    if tuple(path[:-1]) == ("data", "classes"):
        return {"name": value}
    if tuple(path) == ("train", "augment") and value in PRESETS:
        return dict(PRESETS[value])
    return value


def _expand(text: str, name: str) -> Path:
    """Expand environment variables and ``~`` in a path; raise ConfigError for variables that are not set."""
    missing = [variable for variable in re.findall(r"\$\{?(\w+)\}?", text) if variable not in os.environ]
    if missing:
        raise ConfigError(f"{name}: data.root: {text!r} needs the environment variable {missing[0]}; set it")
    return Path(os.path.expandvars(text)).expanduser()
