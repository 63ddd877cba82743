"""What a training run is told: one YAML file, checked before anything is read.

Paths are relative to the file they stand in. ``data.root`` may hold environment variables
(``${GEOSEG_DATA}``), so that a recipe can be shared while the data lie elsewhere on every machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from geoseg.errors import ConfigError, LegendError
from geoseg.grid.legend import NODATA, Legend, LegendClass, made_up_color
from geoseg.learning.one_line import one_line

SPLITS: Final = ("train", "val", "test")
_STRICT = ConfigDict(extra="forbid", frozen=True)
_LARGEST_FILE = 2**20

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
GroupName = int | str


class ClassConfig(BaseModel):
    """A class of the map: name, colour, and the label codes that mean it (its own code by default)."""

    model_config = _STRICT

    name: str
    color: str | None = None
    labels: tuple[int, ...] | None = None


class SplitConfig(BaseModel):
    """Groups of each split: numbers (from 0) of the list in `groups`, or stems where there are no groups."""

    model_config = _STRICT

    train: Annotated[tuple[GroupName, ...], Field(min_length=1)]
    val: Annotated[tuple[GroupName, ...], Field(min_length=1)]
    test: tuple[GroupName, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        everything = [*self.train, *self.val, *self.test]
        twice = sorted({str(g) for g in everything if everything.count(g) > 1})
        if twice:
            raise ValueError(f"group {twice[0]} stands in two splits, expected one: scores would be too good")
        return self


class DataConfig(BaseModel):
    """Images, their labels, and how they are split.

    Attributes
    ----------
    images, labels
        Patterns under `root`; an image and its labels share a stem and a grid.
    bands
        Name of each band that is used. Images whose bands are described are read by these names; others need
        `band_numbers` or as many bands as there are names.
    classes
        By code of the class map, 0 to 254.
    ignore
        Label codes that mean "unknown". Pixels that the label raster marks as no data are unknown anyway.
    groups
        Lists of stems that must not be separated (such as overlapping patches), or a JSON file with them.
        Without groups every image is a group named by its stem.
    """

    model_config = _STRICT

    root: str = "."
    images: str
    labels: str
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    band_numbers: tuple[Count, ...] | None = None
    classes: Annotated[dict[Annotated[int, Field(ge=0, lt=NODATA)], ClassConfig], Field(min_length=2)]
    ignore: tuple[int, ...] = ()
    groups: str | tuple[tuple[str, ...], ...] | None = None
    split: SplitConfig

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.band_numbers is not None and len(self.band_numbers) != len(self.bands):
            raise ValueError(f"band_numbers has {len(self.band_numbers)} numbers for {len(self.bands)} bands")
        claimed = [code for codes in self.label_codes.values() for code in codes] + list(self.ignore)
        twice = sorted({code for code in claimed if claimed.count(code) > 1})
        if twice:
            raise ValueError(f"label code {twice[0]} has two meanings in classes and ignore, expected one")
        try:
            self.legend  # noqa: B018 - building it checks it
        except LegendError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def legend(self) -> Legend:
        """The classes, colours made up where none is given."""
        return Legend(
            classes=tuple(
                LegendClass(code=code, name=c.name, color=(c.color or made_up_color(i)).lower())
                for i, (code, c) in enumerate(sorted(self.classes.items()))
            )
        )

    @property
    def label_codes(self) -> dict[int, tuple[int, ...]]:
        """Label codes of each class code."""
        return {code: (code,) if c.labels is None else c.labels for code, c in self.classes.items()}


class ModelConfig(BaseModel):
    """The network and the file it ends in."""

    model_config = _STRICT

    name: str | None = None
    architecture: str = "Unet"
    encoder: str = "resnet34"
    encoder_weights: str | None = None
    decoder_options: dict[str, Any] = {}
    tile_size: Count = 512
    overlap: Annotated[int, Field(ge=0)] | None = None
    gsd_m: Positive | None = None
    weights: Literal["fp32", "fp16"] = "fp32"


class AugmentConfig(BaseModel):
    """Random changes of training chips, as `geoseg.learning.augment.Augment` takes them."""

    model_config = _STRICT

    symmetries: bool = True
    brightness: Share = 0.0
    contrast: Share = 0.0
    per_band: Annotated[float, Field(ge=0, le=1)] = 0.0


class LossConfig(BaseModel):
    """``cross_entropy * CE + dice * Dice``.

    `class_weights` of the cross-entropy: a weight for each class code, or a power p >= 0: a class that covers
    the share f of the training pixels weighs f ** -p, scaled so that the mean pixel weighs 1 (0: all alike).
    """

    model_config = _STRICT

    cross_entropy: Share = 1.0
    dice: Share = 1.0
    class_weights: dict[int, Positive] | Share = 0.0


class TrainConfig(BaseModel):
    """How long, how fast, on what.

    Attributes
    ----------
    chips_per_epoch
        Chips drawn before each validation; as many as would cover the training images once by default.
    batch_statistics
        Whether batch normalisation learns mean and variance while training. Without, it keeps those it begins
        with (of the pretrained weights; else 0 and 1) and only learns its gains: better where batches are small
        or images were each stretched on their own, so that statistics of a batch say little about the next.
    threads
        CPU threads of torch; its own choice by default. Part of what makes two runs equal.
    workers
        Processes that read chips; 0 reads in the training process.
    """

    model_config = _STRICT

    epochs: Count
    chips_per_epoch: Count | None = None
    chip_size: Count = 256
    batch_size: Count = 8
    learning_rate: Positive = 1e-3
    weight_decay: Share = 0.01
    clip_gradient: Positive = 1.0
    batch_statistics: bool = True
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    threads: Count | None = None
    workers: Annotated[int, Field(ge=0)] = 0


class Config(BaseModel):
    """A whole training configuration."""

    model_config = _STRICT

    data: DataConfig
    model: ModelConfig = ModelConfig()
    train: TrainConfig
    _root: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _weights_name_classes(self) -> Self:
        weights = self.train.loss.class_weights
        if isinstance(weights, dict) and set(weights) != set(self.data.classes):
            raise ValueError("train.loss.class_weights must name every class code of data.classes once")
        return self

    @classmethod
    def read(cls, path: Path | str) -> Config:
        """Read a YAML file.

        Raises
        ------
        ConfigError
            One line: the file, the key and what was expected.
        """
        path = Path(path)
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ConfigError(f"{path}: is larger than 1 MiB, expected a training configuration")
            fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
        if not isinstance(fields, dict):
            raise ConfigError(
                f"{path}: holds a {type(fields).__name__}, expected the keys data, model and train"
            )
        try:
            config = cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(f"{path}: {one_line(error)}") from error
        config._root = (path.parent / _expand(config.data.root, path)).resolve()
        return config

    @property
    def data_root(self) -> Path:
        """Folder of the data, absolute; `data.root` keeps the words of the file, fit to be shared."""
        return self._root or _expand(self.data.root, Path("configuration")).resolve()


def _expand(text: str, path: Path) -> Path:
    """Put environment variables and ``~`` into a path; a variable that is not set is refused."""
    missing = [name for name in re.findall(r"\$\{?(\w+)\}?", text) if name not in os.environ]
    if missing:
        raise ConfigError(f"{path}: data.root: {text!r} needs the environment variable {missing[0]}; set it")
    return Path(os.path.expandvars(text)).expanduser()
