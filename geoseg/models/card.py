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

from geoseg.errors import LegendError, ModelError, OptionError
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
_EXPECTED = "expected a .safetensors that geoseg wrote (geoseg train, geoseg model new, geoseg model import)"
_IMPORT = "make a model file of it with `geoseg model import`"
_LENGTH_BYTES = 8
_LARGEST_FLOAT32: Final = 3.4028234663852886e38
_MOST_FEATURES: Final = 65_536
_MOST_UPSAMPLING: Final = 64
"""Times; encoders divide an edge by 32, or 64."""
_INTERPOLATIONS: Final = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
_LONGEST_HEADER = 16 * 2**20

WeightPrecision = Literal["fp32", "fp16"]
"""What the numbers of a network are stored in."""
Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Edge = Annotated[int, Field(ge=1, le=LARGEST_EDGE, strict=True)]
# No image has more pixels; the code of a label fits the 32 bits of a raster, with or without a sign.
Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
LabelCode = Annotated[int, Field(ge=-(2**31), lt=2**32, strict=True)]
# Colder or hotter, every probability is 0 and 1, or all alike, in float32.
Temperature = Annotated[float, Field(ge=1e-6, le=1e6)]
# A line in a terminal, or the attribute of a layer.
Words = Annotated[str, StringConstraints(max_length=1000)]
Code = Annotated[int, Field(ge=0, lt=NODATA, strict=True)]
# No colon: timm takes "hf-hub:..." and "local-dir:..." as places to load from; a card must not choose those.
Plain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+-]+$")]
_KEPT = ConfigDict(frozen=True, extra="allow")


class Band(BaseModel):
    """One band the network takes: its name and, where known, its centre wavelength in nm."""

    model_config = _KEPT

    name: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    wavelength_nm: Positive | None = None


class TilePlan(BaseModel):
    """Tile edge and overlap in px that the model was made for."""

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
    """What ``geoseg model quantize`` measured, for computing in int8.

    Attributes
    ----------
    weights_sha256
        Of the weights that it belongs to, as the network computes with them.
    graph_sha256
        Of the graph that computes in int8, which the model file holds.
    tiles
        How many tiles it was measured on.
    changed
        Share of their pixels that have another class than in fp32.
    mean_iou, mean_iou_fp32
        Mean intersection over union of the classes with labels, on these tiles, in int8 and in fp32; None where no
        labels were given.
    fp32_layers
        How many layers with weights are computed in fp32 all the same: small ones of squeeze and excitation, and those
        in which int8 lost too much.
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
        """Say what int8 costs, in a line."""
        said = f"measured on {self.tiles} tiles; {self.changed:.2%} of their pixels have another class than in fp32"
        if self.mean_iou is not None and self.mean_iou_fp32 is not None:
            said += f"; mean IoU {self.mean_iou:.4f}, in fp32 {self.mean_iou_fp32:.4f}"
        return said + (f"; {self.fp32_layers} layers in fp32" if self.fp32_layers else "")


class Card(BaseModel):
    """What a model file says about itself; immutable, with unknown keys kept.

    Network input, per band: ``(x * scale + offset - mean) / std``, invalid pixels 0 afterwards. `scale` and
    `offset` take stored numbers to the units of `mean` and `std`; a scene's own tagged ones replace them where
    the card has units (`models.scaling`).

    Attributes
    ----------
    value_range
        Smallest and largest stored number (before scale and offset) the model was made for.
    units
        ``stored`` where `scale` and `offset` are how a network was fed and no units, as of imported weights: a
        scene's tags do not replace them.
    gsd_m
        Ground sample distance, m per px.
    image_size
        (rows, cols) in px that whole images are resized to before the network sees them; such a model has no
        tiles.
    channels
        Legend code of each network channel, in the network's order. Multiclass and multilabel: every code of
        the legend once. Binary: ``(1,)`` with legend codes 0 and 1.
    ignore_code
        Label code that training left out; never written.
    thresholds
        Of a binary or multilabel task, for each channel: the class is there where its probability is above;
        0.5 by default.
    min_regions
        Of a binary or multilabel task, for each channel: the fewest px, of the image's own grid, that a
        connected region of the class must have to be there (`engine.small_regions`); 0, all of them, by
        default. For whole pictures only: of scenes that are streamed, ``vectorize --min-area`` takes small
        polygons away.
    temperature
        Divides the logits.
    quantization
        What computing in int8 needs; absent where it was never measured.
    beginning
        The pretrained weights that its training began with, where they came from and their licence; absent where it
        began with random ones, or nothing says it.

    Raises
    ------
    ModelError
        One line that names the key and what was expected.
    """

    model_config = _KEPT

    format: Annotated[int, Field(ge=1, strict=True)] = FORMAT
    name: Words
    created_by: Words
    architecture: Plain
    encoder: Plain
    decoder_options: dict[str, JsonValue] = {}
    task: Task = "multiclass"
    # GDAL itself opens no file of more.
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
    min_regions: tuple[Count, ...] | None = None
    temperature: Temperature | None = None
    quantization: Quantization | None = None
    beginning: Beginning | None = None
    training: dict[str, JsonValue] | None = None
    weights_sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""

    def __init__(self, /, **fields: Any) -> None:
        """Build and check a card; pydantic's report becomes one ModelError line."""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ModelError(f"card: {one_line(error)}") from error
        except LegendError as error:
            raise ModelError(f"card: legend: {error}") from error

    @model_validator(mode="before")
    @classmethod
    def _without_ranges(cls, fields: Any) -> Any:
        """Leave out what was measured for int8 before model files held the graph itself."""
        found = fields.get("quantization") if isinstance(fields, dict) else None
        if isinstance(found, dict) and "ranges" in found:
            return {key: value for key, value in fields.items() if key != "quantization"}
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
                    f"{key} has {len(getattr(self, key))} numbers, expected one for each of {bands} bands"
                )
        if 0 in self.scale:
            raise ValueError("scale is 0, expected another number")
        gains, biases = self.normalisation()
        if not all(abs(number) <= _LARGEST_FLOAT32 for number in (*gains, *biases)):
            raise ValueError(
                "scale, offset, mean and std give the network numbers that float32 does not hold"
            )
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
                f"channels {codes} and legend codes {list(self.classes.codes)} do not go together "
                f"for task {self.task}"
            )
        for key in ("thresholds", "min_regions"):
            numbers = getattr(self, key)
            if numbers is not None and self.task == "multiclass":
                raise ValueError(f"{key} belong to binary and multilabel tasks, the task is multiclass")
            if numbers is not None and len(numbers) != len(self.channels):
                raise ValueError(f"{key} has {len(numbers)} numbers, expected {len(self.channels)}")
        return self

    @property
    def classes(self) -> Legend:
        """The legend."""
        return Legend(classes=self.legend)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in the network's order."""
        return tuple(band.name for band in self.bands)

    @property
    def has_units(self) -> bool:
        """Whether `mean` and `std` are in units that a scale gave, and not in stored numbers."""
        return self.units is None and (set(self.scale) != {1.0} or set(self.offset) != {0.0})

    def normalisation(
        self, scale: Sequence[float] | None = None, offset: Sequence[float] | None = None
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Gain and bias per band: network input = ``stored * gain + bias``.

        Training and prediction both take their numbers from here, with the `scale` and `offset` that
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
        """Return the card with the names and colours that a legend gives its codes (`Legend.relabelled`).

        Raises
        ------
        LegendError
        """
        return self if legend is None else self.changed(legend=self.classes.relabelled(legend).classes)

    def fields(self) -> dict[str, Any]:
        """Return the card as plain JSON values, absent keys left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_json(self) -> str:
        """Return the card as compact JSON; equal cards give equal text."""
        return json.dumps(self.fields(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: Path | str = "card") -> Card:
        """Read a card from its JSON text.

        Raises
        ------
        ModelError
            If the text is not JSON, is newer than this geoseg, or does not fit together.
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
            raise ModelError(f"{source}: {error}") from error


def _check_options(options: Mapping[str, JsonValue]) -> None:
    """Refuse values that no decoder has; whether a network can be made of the others, building it shows."""
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
                    f"decoder_options.{key} is {each:g}, expected a number up to {_MOST_FEATURES}: a layer from and "
                    "to so many features has 150 GB"
                )


def read_card(path: Path | str) -> Card:
    """Read the card of a model file, or of an exported model, without reading its weights.

    Raises
    ------
    ModelError
        If the file cannot be read, is no such file, or holds no card of a format this geoseg knows.
    """
    from geoseg.models.exported import is_exported, read_exported_card

    path = Path(path)
    if is_exported(path):
        return read_exported_card(path)
    metadata = read_header(path).get("__metadata__")
    text = metadata.get(CARD_KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(text, str):
        raise ModelError(
            f"{path}: holds weights but not what they are for (bands, classes, normalisation); {_IMPORT}"
        )
    return Card.from_json(text, path)


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header of a safetensors file: 8 bytes of length (little-endian), then the JSON."""
    refusal = f"{path}: is not a geoseg model file"
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(_LONGEST_HEADER, size - _LENGTH_BYTES):
                if _looks_pickled(path):
                    raise ModelError(f"{refusal} but a checkpoint of torch; {_IMPORT}")
                raise ModelError(f"{refusal}, or is cut off or damaged; {_EXPECTED}")
            header = read_json(file.read(length))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{refusal}, or is damaged: what it begins with is not JSON; {_EXPECTED}") from error
    if not isinstance(header, dict):
        raise ModelError(
            f"{refusal}: it begins with a {type(header).__name__}, not a JSON object; {_EXPECTED}"
        )
    for name, entry in header.items():
        if name != "__metadata__" and not _is_tensor(entry):
            raise ModelError(
                f"{path}: what its header says of the weights {shown(name)} is damaged, expected dtype, shape and "
                "data_offsets; fetch it again"
            )
    return header


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _is_tensor(entry: object) -> bool:
    """Whether an entry of a header names type, shape and place of a tensor."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    lists = entry.get("shape"), entry.get("data_offsets")
    return all(
        isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
        for numbers in lists
    )


def _looks_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(2)
    return start in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")
