"""What a training run is told: one YAML file, checked before anything is read.

Paths are relative to the file they stand in. ``data.root`` may hold environment variables
(``${GEOSEG_DATA}``), so that a recipe can be shared while the data lie elsewhere on every machine.
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
from geoseg.errors import ConfigError
from geoseg.learning.augment_config import PRESETS, AugmentChoice, AugmentConfig
from geoseg.learning.loss_text import LossConfig
from geoseg.learning.optimizers import OptimizerConfig
from geoseg.learning.schedules import SCHEDULES, OneCycle, ScheduleConfig
from geoseg.models.default_network import ChosenNetwork
from geoseg.models.one_line import one_line
from geoseg.models.weight_names import NONE
from geoseg.storage.foreign_yaml import read_yaml
from geoseg.storage.printable import shown

CONFIG_SUFFIXES = (".yaml", ".yml")
_LARGEST_FILE = 2**20
_TRAINED_BEFORE = 0.3
"""Share of the learning rate for an encoder that knows much already."""


class ModelConfig(BaseModel):
    """The network and the file it ends in.

    Attributes
    ----------
    encoder
        As segmentation-models-pytorch names it; by default EfficientNet-Lite0 with ``packaged`` weights and a light
        decoder (`default_network`).
    encoder_weights
        ``packaged``, which are part of geoseg; ``imagenet`` or another name that segmentation-models-pytorch knows; a
        torchgeo weight such as ``ResNet50_Weights.SENTINEL2_ALL_MOCO``; a file of weights; or ``none`` for random
        ones, which an encoder that is named has by default.
    start
        Model file, or a U-Net of torchgeo's (``Unet_Weights....``), to go on from: its network and weights, with this
        data's classes and bands.
    tile_size
        Edge of the tiles that the model predicts in, px; that of the chips by default. Many networks pool over
        the whole tile (squeeze and excitation, ASPP), and know only what tiles of the size they learned on come to.
    """

    model_config = STRICT

    name: str | None = None
    architecture: str = "Unet"
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
        """Return it with what follows where a person named no encoder."""
        found = ChosenNetwork(
            architecture=self.architecture,
            encoder=self.encoder,
            encoder_weights=self.encoder_weights,
            decoder_options=self.decoder_options,
            started=self.start is not None,
        ).settled()
        return self.model_copy(
            update={
                "encoder": found.encoder,
                "encoder_weights": found.encoder_weights,
                "decoder_options": dict(found.decoder_options),
            }
        )


class TuneConfig(BaseModel):
    """What thresholds and smallest regions shall make large.

    Attributes
    ----------
    metric
        Of each class of its own; of a binary task, of the class and not of what it is not.
    reduction
        ``dataset``: of the summed pixels of all images; ``image``: the mean over images, where a class that is
        in neither labels nor prediction scores 1.
    regions
        Whether regions too small to be believed are looked for too. For pictures: every picture is in memory
        as a whole then, and what is stored counts where whole pictures are predicted.
    """

    model_config = STRICT

    metric: Literal["dice", "iou"] = "dice"
    reduction: Literal["dataset", "image"] = "dataset"
    regions: bool = False


class TrainConfig(BaseModel):
    """How long, how fast, on what.

    Attributes
    ----------
    sampling
        ``random``: every position equally likely; ``balanced``: around labelled pixels, rare classes more
        often; ``grid``: every tile of a grid once an epoch, in random order; ``whole``: every image once an
        epoch, in random order (images that were cut beforehand).
    balance
        Of balanced sampling: a class of share f among the labelled pixels is drawn in proportion to
        ``f ** (1 - balance)``: 0 as they are, 1 all classes alike.
    chips_per_epoch
        Chips drawn before each validation; as many as would cover the training images once by default.
    batch_size
        Chips a step; ``auto``: what the device holds.
    accumulate
        Batches whose gradients are summed up to one step.
    optimizer
        Name and options of one of torch's optimizers.
    learning_rate
        The largest of the schedule; ``auto``: found by a range test before the first step.
    weight_decay
        As the optimizer means it; by default its own, which is 0.01 of adamw and 0 of the others.
    schedule
        How the learning rate goes over the run: ``constant``, ``one_cycle``, ``cosine``, ``poly``, ``plateau``.
    batch_statistics
        Whether batch normalisation learns mean and variance while training. Without, it keeps those it begins
        with (of the pretrained weights; else 0 and 1) and only learns its gains: better where batches are small
        or images were each stretched on their own, so that statistics of a batch say little about the next.
    average
        A second set of weights is kept, an average that looks back over this share of the run
        (`averaging.AveragedWeights`); after each epoch both are scored, and the better one counts. 0: none.
    encoder_rate
        Share of the learning rate at which the encoder learns; by default 0.3 where it begins with weights that were
        trained before, else 1.
    freeze_encoder
        Epochs at the beginning in which only the decoder learns.
    monitor
        Score on the validation images whose best epoch is kept: ``mean_iou``, ``mean_dice``, ``accuracy``,
        ``loss`` (lower is better), or ``iou/NAME``, ``dice/NAME``, ``precision/NAME``, ``recall/NAME`` of one
        class. Scores are of the summed pixels of all images; with ``per_image/`` before the name each image is
        scored by itself, 1 where a class is in neither labels nor prediction, and the mean is taken.
    score_without
        Names of classes that are left out of two more scores, ``mean_iou_without`` and ``mean_dice_without``.
    tune
        Thresholds, and smallest regions, of a binary or multilabel task, found on the validation images after
        the last epoch and stored in the card; None: 0.5, and regions of any size.
    patience
        Epochs without a better score after which training stops; None: never.
    save_minutes
        The whole state is saved at least this often, and after each epoch.
    threads
        CPU threads of torch; its own choice by default. Part of what makes two runs equal.
    workers
        Processes that read chips; 0 reads in the training process.
    start_method
        How these processes start.
    devices
        Devices that train together, each with its own share of the chips.
    """

    model_config = STRICT

    epochs: Count
    sampling: Literal["random", "balanced", "grid", "whole"] = "random"
    balance: Probability = 0.5
    chips_per_epoch: Chips | None = None
    chip_size: Edge = 256
    batch_size: Batch | Literal["auto"] = 8
    accumulate: Batch = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    learning_rate: Positive | Literal["auto"] = 1e-3
    weight_decay: Amount | None = None
    schedule: ScheduleConfig = OneCycle()
    clip_gradient: Positive | None = 1.0
    batch_statistics: bool = True
    average: Share = 0.05
    encoder_rate: Probability | None = None
    freeze_encoder: Offset = 0
    loss: LossConfig = LossConfig()
    augment: AugmentChoice = AugmentConfig()
    monitor: str = "mean_iou"
    score_without: tuple[str, ...] = ()
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
    """A whole training configuration."""

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
        # What is left open follows from the rest.
        model = self.model.settled()
        settled = {
            "loss": self.train.loss.settled(self.data.task),
            "weight_decay": self.train.optimizer.decay(self.train.weight_decay),
            "encoder_rate": self._encoder_rate(model),
        }
        tile = self.model.tile_size or max(self.data.image_size or (self.train.chip_size,))
        return self.model_copy(
            update={
                "train": self.train.model_copy(update=settled),
                "model": model.model_copy(update={"tile_size": tile}),
            }
        )

    def _encoder_rate(self, model: ModelConfig) -> float:
        if self.train.encoder_rate is not None:
            return self.train.encoder_rate
        return _TRAINED_BEFORE if model.encoder_weights or model.start else 1.0

    @classmethod
    def read(cls, path: Path | str, changes: Sequence[str] = ()) -> Config:
        """Read a YAML file.

        Parameters
        ----------
        path : path
        changes : sequence of str
            ``model.encoder=resnet50``: values (as YAML) that replace those of the file.

        Raises
        ------
        ConfigError
            One line: the file, the key and what was expected.
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
    def of(cls, fields: Mapping[str, Any], name: str, folder: Path) -> Config:
        """Check the fields of a configuration called `name`, whose paths are seen from `folder`.

        Raises
        ------
        ConfigError
        """
        try:
            config = cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(f"{name}: {one_line(error, TAGS | SCHEDULES)}") from error
        config._root = (folder / _expand(config.data.root, name)).resolve()
        config._folder = folder.resolve()
        return config

    @property
    def data_root(self) -> Path:
        """Folder of the data, absolute; `data.root` keeps the words of the file, fit to be shared."""
        return self._root or _expand(self.data.root, "configuration").resolve()

    @property
    def folder(self) -> Path:
        """Folder of the configuration's file, absolute: other paths than the data's are seen from there."""
        return self._folder

    def fields(self) -> dict[str, Any]:
        """Return the configuration as plain values, every default filled in."""
        fields = self.model_dump(mode="json", exclude_none=True)
        # JSON has no numbers as keys, YAML and people have.
        fields["data"]["classes"] = {int(k): v for k, v in fields["data"]["classes"].items()}
        weights = fields["train"]["loss"]["class_weights"]
        if isinstance(weights, dict):
            fields["train"]["loss"]["class_weights"] = {int(k): v for k, v in weights.items()}
        return fields


def set_value(fields: dict[str, Any], change: str) -> None:
    """Put one ``a.b.c=value`` into nested fields; what stands beside it stays.

    Raises
    ------
    ConfigError
    """
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            f"--set {shown(change, 80)}: expected KEY=VALUE, as in --set model.encoder=resnet50"
        )
    try:
        # A colour is no comment.
        value = text.strip() if text.lstrip().startswith("#") else read_yaml(text)
    except ValueError as error:
        raise ConfigError(
            f"--set {shown(change, 80)}: its value is not YAML that geoseg reads ({error})"
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
    """Key of a part in a mapping, whose keys may be numbers, or its index in a list."""
    if isinstance(inner, dict):
        return next((key for key in inner if str(key) == part), part)
    if isinstance(inner, list) and part.isdecimal() and int(part) < len(inner):
        return int(part)
    what = f"a list of {len(inner)}" if isinstance(inner, list) else repr(inner)
    raise ConfigError(
        f"--set {shown(change, 80)}: {path} is {what} and has no {part}; give it its whole value"
    )


_SHORT: Mapping[tuple[str, ...], str] = {
    ("data", "labels"): "files",
    ("train", "optimizer"): "name",
    ("train", "schedule"): "name",
    ("train", "loss"): "terms",
}
"""Keys whose value may be a text alone, and what it is short for."""


def _mapping(value: Any, path: Sequence[str]) -> Any:
    """Write out a text that is short for a mapping, so that its parts can be changed."""
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
    """Put environment variables and ``~`` into a path; a variable that is not set is refused."""
    missing = [variable for variable in re.findall(r"\$\{?(\w+)\}?", text) if variable not in os.environ]
    if missing:
        raise ConfigError(f"{name}: data.root: {text!r} needs the environment variable {missing[0]}; set it")
    return Path(os.path.expandvars(text)).expanduser()
