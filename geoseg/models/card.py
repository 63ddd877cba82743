"""The card of a model file: everything prediction needs besides the scene.

A model file is one ``.safetensors``: weights, with the card as JSON in the header's metadata. The card is
read here without torch and without safetensors' own code, so that ``geoseg info`` and the checks before a run
start fast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from geoseg.errors import LegendError, ModelError, OptionError, plural
from geoseg.grid.legend import NODATA, Legend, LegendClass, Task
from geoseg.grid.tiling import LARGEST_EDGE, Tiling
from geoseg.models.beginning import Beginning
from geoseg.models.one_line import one_line
from geoseg.storage.foreign_text import read_json
from geoseg.storage.printable import shown

FORMAT: Final = 1
"""Version of the card that this geoseg writes; newer ones are refused."""
CARD_KEY: Final = "geoseg_card"
"""Key of the card in a safetensors file's metadata."""
_LARGEST_FLOAT32: Final = 3.4028234663852886e38
_MOST_FEATURES: Final = 65_536
_MOST_UPSAMPLING: Final = 64
"""Largest upsampling factor; encoders divide the edges by 32 or 64."""
_INTERPOLATIONS: Final = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")

WeightPrecision = Literal["fp32", "fp16"]
"""Data type in which the weights of a network are stored."""
Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Edge = Annotated[int, Field(ge=1, le=LARGEST_EDGE, strict=True)]
# No image has more pixels. A label code fits in the 32 bits of a raster, signed or unsigned.
Extent = Annotated[int, Field(ge=1, lt=2**63, strict=True)]
FewestPixels = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
LabelCode = Annotated[int, Field(ge=-(2**31), lt=2**32, strict=True)]
# Beyond these limits all probabilities are 0 or 1, or all are equal, in float32.
SHARPEST: Final = 1e-6
SOFTEST: Final = 1e6
Temperature = Annotated[float, Field(ge=SHARPEST, le=SOFTEST)]
# Short enough for a line in a terminal or an attribute of a layer.
Words = Annotated[str, StringConstraints(max_length=1000)]
Code = Annotated[int, Field(ge=0, lt=NODATA, strict=True)]
# No colon: timm would load from "hf-hub:..." and "local-dir:..."; a card must not be able to do that.
Plain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+-]+$")]
_KEPT = ConfigDict(frozen=True, extra="allow")


class Band(BaseModel):
    """One band of the network's input: its name and, if known, its centre wavelength in nm."""

    model_config = _KEPT

    name: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    wavelength_nm: Positive | None = None


class TilePlan(BaseModel):
    """Tile size and overlap in px that the model was made for."""

    model_config = _KEPT

    size: Edge
    overlap: Annotated[int, Field(ge=0, le=LARGEST_EDGE, strict=True)]

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            Tiling(size=self.size, overlap=self.overlap)
        except OptionError as error:
            raise ValueError(str(error)) from error
        return self


class Quantization(BaseModel):
    """Measurements of ``geoseg model quantize`` for computing in int8.

    Attributes
    ----------
    weights_sha256
        Digest of the weights that were quantized, as the network computes with them.
    graph_sha256
        Digest of the int8 graph in the model file.
    tiles
        Number of tiles used for the measurement.
    changed
        Share of their pixels whose class differs from fp32.
    mean_iou, mean_iou_fp32
        Mean intersection over union of the classes with labels, on these tiles, in int8 and in fp32; None if no
        labels were given.
    fp32_layers
        Number of layers with weights that are still computed in fp32: small squeeze-and-excitation layers, and layers
        that lose too much accuracy in int8.
    """

    model_config = _KEPT

    weights_sha256: str
    graph_sha256: str
    tiles: Annotated[int, Field(ge=1, lt=2**31, strict=True)]
    changed: Share
    mean_iou: Share | None = None
    mean_iou_fp32: Share | None = None
    fp32_layers: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0

    def __str__(self) -> str:
        """Describe the cost of int8 in one line."""
        tiles = plural(self.tiles, "tile")
        said = f"measured on {tiles}; {self.changed:.2%} of their pixels have another class than in fp32"
        if self.mean_iou is not None and self.mean_iou_fp32 is not None:
            said += f"; mean IoU {self.mean_iou:.4f}, in fp32 {self.mean_iou_fp32:.4f}"
        return said + (f"; {plural(self.fp32_layers, 'layer')} in fp32" if self.fp32_layers else "")


class Calibration(BaseModel):
    """What a temperature changed on the labelled pixels that it was fitted to.

    Attributes
    ----------
    pixels
        Number of labelled pixels; of a multilabel model, counted in each class.
    nll_before, nll
        Mean negative log-likelihood of the labels, in nats, with the earlier temperature (1 if there was none) and
        with this one.
    ece_before, ece
        Expected calibration error, likewise: mean distance of confidence and accuracy over 15 bins.
    """

    model_config = _KEPT

    pixels: Annotated[int, Field(ge=1, lt=2**53, strict=True)]
    nll_before: Finite
    nll: Finite
    ece_before: Share
    ece: Share

    def __str__(self) -> str:
        """Describe what was gained in one line."""
        return (
            f"calibration error {self.ece_before:.4f} before, {self.ece:.4f} after; negative log-likelihood "
            f"{self.nll_before:.4f} before, {self.nll:.4f} after; on {plural(self.pixels, 'pixel')}"
        )


class Card(BaseModel):
    """Everything that prediction needs besides the scene; immutable, unknown keys are kept.

    Network input per band: ``(x * scale + offset - mean) / std``; invalid pixels are 0 afterwards. `scale` and
    `offset` convert stored values to the units of `mean` and `std`; a scene's own tags replace them if
    the card has units (`models.scaling`).

    Attributes
    ----------
    value_range
        Smallest and largest stored value (before scale and offset) that the model was made for.
    units
        ``stored`` if `scale` and `offset` only describe the network's input and not physical units, as for
        imported weights: a scene's scale and offset tags then do not replace them.
    gsd_m
        Ground sample distance, m per px.
    image_size
        (rows, cols) in px to which whole images are resized as network input; such a model has no
        tiles.
    channels
        Legend code of each network channel, in the network's order. Multiclass and multilabel: every code of
        the legend once. Binary: ``(1,)`` with legend codes 0 and 1.
    ignore_code
        Label code of pixels that training ignored; never written.
    thresholds
        For a binary or multilabel task, one per channel: the class is present where its probability is above it;
        0.5 by default.
    min_regions
        For a binary or multilabel task, one per channel: the minimum size, in px of the image's own grid, of a
        connected region of the class (`engine.small_regions`); smaller ones are removed. 0, which keeps all, by
        default.
    content
        (row, col, height, width) in px of the part of a picture that the training labels covered; absent if they
        covered whole pictures. Tables of run lengths show this part.
    temperature
        Divides the logits, so that probabilities say how often the model is right; of a multilabel model one for each
        channel. Absent: 1.
    calibration
        What the temperature changed on the pixels that it was fitted to; absent if it was not fitted.
    quantization
        Measurements for computing in int8; absent if the model was not quantized.
    beginning
        The pretrained weights that its training began with, their source and licence; absent if it
        began with random weights, or if they are not known.

    Raises
    ------
    ModelError
        If a field is invalid, or the fields do not fit together; in one line that names the key and what was
        expected.
    """

    model_config = _KEPT

    format: Annotated[int, Field(ge=1, strict=True)] = FORMAT
    name: Words
    created_by: Words
    architecture: Plain
    encoder: Plain
    decoder_options: dict[str, JsonValue] = {}
    task: Task = "multiclass"
    # GDAL's limit.
    bands: Annotated[tuple[Band, ...], Field(min_length=1, max_length=65_535)]
    dtype: Dtype
    value_range: tuple[Finite, Finite]
    scale: tuple[Finite, ...]
    offset: tuple[Finite, ...]
    mean: tuple[Finite, ...]
    std: tuple[Positive, ...]
    units: Literal["stored"] | None = None
    gsd_m: Positive | None = None
    tile: TilePlan
    image_size: tuple[Edge, Edge] | None = None
    legend: Annotated[tuple[LegendClass, ...], Field(min_length=1)]
    channels: Annotated[tuple[Code, ...], Field(min_length=1)]
    ignore_code: LabelCode | None = None
    thresholds: tuple[Share, ...] | None = None
    min_regions: tuple[FewestPixels, ...] | None = None
    content: tuple[FewestPixels, FewestPixels, Extent, Extent] | None = None
    temperature: Temperature | tuple[Temperature, ...] | None = None
    calibration: Calibration | None = None
    quantization: Quantization | None = None
    beginning: Beginning | None = None
    training: dict[str, JsonValue] | None = None
    weights_sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""

    def __init__(self, /, **fields: Any) -> None:
        """Build and check a card; pydantic's errors become one line in a ModelError."""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ModelError(f"card: {one_line(error)}") from error
        except LegendError as error:
            raise error.into(ModelError, "card: legend") from error

    @model_validator(mode="before")
    @classmethod
    def _of_older_cards(cls, fields: Any) -> Any:
        """Convert the fields of old cards: move `content`, and drop int8 measurements from before the int8 graph."""
        if not isinstance(fields, dict):
            return fields
        found = fields.get("quantization")
        if isinstance(found, dict) and "ranges" in found:
            fields = {key: value for key, value in fields.items() if key != "quantization"}
        if "content" not in fields and (content := _content_of_training(fields.get("training"))) is not None:
            fields = {**fields, "content": content}
        return fields

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        bands = len(self.bands)
        names = self.band_names
        if len(set(names)) != bands:
            raise ValueError(f"bands repeat a name: {', '.join(names)}")
        for key in ("scale", "offset", "mean", "std"):
            if len(getattr(self, key)) != bands:
                raise ValueError(
                    f"{key} has {plural(len(getattr(self, key)), 'number')}, expected one for each of "
                    f"{plural(bands, 'band')}"
                )
        if 0 in self.scale:
            raise ValueError("scale is 0, expected a number other than 0")
        gains, biases = self.normalisation()
        if not all(abs(number) <= _LARGEST_FLOAT32 for number in (*gains, *biases)):
            raise ValueError("scale, offset, mean and std give network inputs that are too large for float32")
        _check_options(self.decoder_options)
        if not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range is {list(self.value_range)}, expected the smaller number first")
        try:
            self.classes.require_bytes()
        except LegendError as error:
            raise ValueError(str(error)) from error
        codes = sorted(self.channels)
        expected = [1] if self.task == "binary" else list(self.classes.codes)
        if codes != expected or (self.task == "binary" and self.classes.codes != (0, 1)):
            raise ValueError(
                f"channels {codes} do not match the legend codes {list(self.classes.codes)} "
                f"for task {self.task}"
            )
        for key in ("thresholds", "min_regions"):
            numbers = getattr(self, key)
            if numbers is not None and self.task == "multiclass":
                raise ValueError(f"{key} belong to binary and multilabel tasks, the task is multiclass")
            if numbers is not None and len(numbers) != len(self.channels):
                raise ValueError(f"{key} has {plural(len(numbers), 'number')}, expected {len(self.channels)}")
        if isinstance(self.temperature, tuple):
            if self.task != "multilabel":
                raise ValueError(f"temperature is a list, expected one number for task {self.task}")
            if len(self.temperature) != len(self.channels):
                raise ValueError(
                    f"temperature has {plural(len(self.temperature), 'number')}, expected {len(self.channels)}"
                )
        return self

    @property
    def classes(self) -> Legend:
        """Legend of the classes."""
        return Legend(classes=self.legend)

    @property
    def scored(self) -> tuple[int, ...]:
        """Codes of the classes that scores are of, in their order; 0 and 1 for a binary task."""
        return (0, 1) if self.task == "binary" else self.channels

    @property
    def divisor(self) -> float | tuple[float, ...]:
        """What the logits are divided by: `temperature`, or 1."""
        return 1.0 if self.temperature is None else self.temperature

    @property
    def region_sizes(self) -> tuple[int, ...]:
        """`min_regions` in the order of a result's layers (ascending codes); empty if all are 0."""
        if self.min_regions is None or not any(self.min_regions):
            return ()
        return tuple(size for _, size in sorted(zip(self.channels, self.min_regions, strict=True)))

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in the network's order."""
        return tuple(band.name for band in self.bands)

    @property
    def has_units(self) -> bool:
        """Whether `mean` and `std` are in units given by a scale, not in stored values."""
        return self.units is None and (set(self.scale) != {1.0} or set(self.offset) != {0.0})

    def normalisation(
        self, scale: Sequence[float] | None = None, offset: Sequence[float] | None = None
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return gain and bias per band: network input = ``stored * gain + bias``.

        Both training and prediction use it, with the `scale` and `offset` that
        `models.scaling` finds for a scene; the card's own by default.
        """
        scale, offset = scale or self.scale, offset or self.offset
        gain = tuple(s / d for s, d in zip(scale, self.std, strict=True))
        bias = tuple((o - m) / d for o, m, d in zip(offset, self.mean, self.std, strict=True))
        return gain, bias

    def changed(self, **fields: Any) -> Card:
        """Return a checked copy with some fields changed."""
        return Card(**{**self.fields(), **fields})

    def relabelled(self, legend: Legend | None) -> Card:
        """Return the card with the names and colours that a legend gives to its codes (`Legend.relabelled`).

        Raises
        ------
        LegendError
        """
        return self if legend is None else self.changed(legend=self.classes.relabelled(legend).classes)

    def fields(self) -> dict[str, Any]:
        """Return the card as plain JSON values, without absent keys."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_json(self) -> str:
        """Return the card as compact JSON; equal cards give equal text."""
        return json.dumps(self.fields(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: Path | str = "card") -> Card:
        """Read a card from JSON text.

        Raises
        ------
        ModelError
            If the text is not JSON, has a newer format than this geoseg knows, or its fields do not fit together.
        """
        try:
            fields = read_json(text)
        except ValueError as error:
            raise ModelError(f"{source}: the card is not readable JSON ({error})") from error
        if not isinstance(fields, dict):
            raise ModelError(f"{source}: the card is a {type(fields).__name__}, expected a JSON object")
        version = fields.get("format")
        if isinstance(version, int | float) and version > FORMAT:
            raise ModelError(
                f"{source}: card format {version} is newer than {FORMAT}, the newest this geoseg reads; "
                "update geoseg"
            )
        if version is None:
            raise ModelError(f"{source}: the card has no format number, expected {FORMAT}")
        try:
            return cls(**fields)
        except ModelError as error:
            raise error.into(ModelError, source) from error


def _content_of_training(training: object) -> list[int] | None:
    """Return the `content` of an old card, which stored it in the configuration of its training."""
    found = training
    for key in ("config", "data", "labels", "content"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, list | tuple) or len(found) != 4 or not all(type(n) is int for n in found):
        return None
    return list(found) if min(found[:2]) >= 0 and min(found[2:]) >= 1 else None


def _check_options(options: Mapping[str, JsonValue]) -> None:
    """Raise ValueError for values that no decoder accepts; building the network checks the others."""
    way = options.get("decoder_interpolation", "nearest")
    if way not in _INTERPOLATIONS:
        raise ValueError(
            f"decoder_options.decoder_interpolation is {shown(str(way))}, expected one of "
            f"{', '.join(_INTERPOLATIONS)}"
        )
    if not 0 < _number(options.get("upsampling", 1)) <= _MOST_UPSAMPLING:
        raise ValueError(
            f"decoder_options.upsampling is {shown(str(options['upsampling']))}, expected 1 to 64"
        )
    for key, value in options.items():
        listed = value if isinstance(value, list) else [value]
        for each in listed:
            if isinstance(each, list):
                raise ValueError(f"decoder_options.{key} holds a list in a list, expected a flat one")
            if isinstance(each, int | float) and not abs(each) <= _MOST_FEATURES:
                raise ValueError(
                    f"decoder_options.{key} is {each:g}, expected a number up to {_MOST_FEATURES}: a layer "
                    "with that many "
                    "input and output features has 150 GB of weights"
                )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
