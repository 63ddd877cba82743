"""A network with its card, and the one file that holds both."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import segmentation_models_pytorch as smp
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.grid.legend import Legend
from geoseg.learning.card import CARD_KEY, Card, read_card
from geoseg.storage.output import claim

WeightPrecision = Literal["fp32", "fp16"]
_OPTION_PREFIXES = ("decoder_", "psp_", "encoder_depth", "encoder_output_stride", "upsampling")
_LARGEST: Mapping[str, tuple[float, float]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}


class Model:
    """A segmentation network and the card that says how to use it.

    Parameters
    ----------
    card : Card
        Everything prediction needs besides the scene.
    network : torch.nn.Module
        Maps float32 (N, band, row, col) to logits (N, channel, row, col).
    """

    def __init__(self, card: Card, network: torch.nn.Module) -> None:
        self.card = card
        self.network = network

    @classmethod
    def new(
        cls,
        *,
        architecture: str,
        encoder: str,
        bands: Sequence[str],
        legend: Legend,
        encoder_weights: str | None = None,
        dtype: str = "uint8",
        value_range: tuple[float, float] | None = None,
        gsd_m: float | None = None,
        tile_size: int = 512,
        overlap: int | None = None,
        decoder_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
    ) -> Model:
        """Make an untrained model of any pair that segmentation-models-pytorch accepts.

        Normalisation: `scale` and `offset` map `value_range` to 0..1; `mean` and `std` are the encoder's own
        where pretrained weights are loaded and the bands are red, green and blue, else 0.5 and 0.25.

        Law: equal arguments give equal weights (on one torch build).

        Parameters
        ----------
        architecture, encoder : str
            As segmentation-models-pytorch names them: ``Unet``, ``resnet34``, ``tu-mobilenetv3_small_100``.
        bands : sequence of str
            Names of the bands, in the network's order.
        legend : Legend
            Classes with codes 0 to 254; network channel i is its i-th class.
        encoder_weights : str, optional
            Name of pretrained weights, such as ``imagenet``; they are fetched from the network.
        dtype : str
            Type of the stored numbers.
        value_range : (float, float), optional
            Smallest and largest stored number; the whole range of an integer `dtype`, 0..1 of a float.
        gsd_m : float, optional
            Ground sample distance, m per px.
        tile_size, overlap : int
            Default tile, px; the overlap is a quarter of the size where it is not given.
        decoder_options : mapping, optional
            More arguments of the architecture, such as ``decoder_channels``.
        name : str, optional
            The model's name.
        seed : int
            Of the random weights.

        Raises
        ------
        ModelError
            If the pair is refused, or the pretrained weights cannot be had.
        """
        low, high = value_range or _LARGEST.get(dtype, (0.0, 1.0))
        span = high - low or 1.0
        options = dict(decoder_options or {})
        legend.require_bytes()
        network = build(architecture, encoder, len(bands), len(legend.codes), encoder_weights, options, seed)
        mean, std = _statistics(encoder, encoder_weights, bands)
        card = Card(
            name=name or f"{type(network).__name__} {encoder}",
            created_by=created_by(),
            architecture=type(network).__name__,
            encoder=encoder,
            decoder_options=options,
            bands=[{"name": band} for band in bands],
            dtype=dtype,
            value_range=(low, high),
            scale=[1 / span] * len(bands),
            offset=[-low / span] * len(bands),
            mean=mean,
            std=std,
            gsd_m=gsd_m,
            tile={"size": tile_size, "overlap": tile_size // 4 if overlap is None else overlap},
            legend=legend.classes,
            channels=legend.codes,
        )
        model = cls(card, network.eval())
        model.check_tile_size(tile_size)
        return model

    @classmethod
    def open(cls, path: Path | str) -> Model:
        """Read a model file; nothing in it is executed and nothing is fetched from a network.

        Law: ``Model.open(p)`` gives the logits of the weights as they are stored in `p`.

        Raises
        ------
        ModelError
            If the file is no model file, was changed since it was written, or weights and card do not fit.
        """
        path = Path(path)
        card = read_card(path)
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(f"{path}: its weights cannot be read ({_first_line(error)})") from error
        found = weights_sha256(tensors)
        if found != card.weights_sha256:
            raise ModelError(
                f"{path}: its weights are not the ones that its card names (sha256 {found[:12]}, expected "
                f"{card.weights_sha256[:12] or 'none'}); the file is damaged or was changed, fetch it again"
            )
        try:
            network = build_for(card)
            _require_names(tensors, network)
            network.load_state_dict(tensors, strict=True)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        except RuntimeError as error:
            raise ModelError(f"{path}: its weights do not fit its card ({_first_line(error)})") from error
        return cls(card, network.eval())

    def save(self, path: Path | str, *, weights: WeightPrecision = "fp32", overwrite: bool = False) -> Card:
        """Write the model file, verify it by reading it back, and give it its name in one step.

        With ``fp16`` the arrays of two or more dimensions are halved in size; biases and the numbers of
        normalisation layers, few but sensitive, stay fp32, and integers stay integers.

        Returns
        -------
        Card
            The card as written, with `weights_sha256` and the version that wrote it.

        Raises
        ------
        OutputError, OutputExistsError, ModelError
            The previous file is untouched then.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise OutputError(f"{path}: a model file's name ends in .safetensors")
        tensors = {name: _stored(name, tensor, weights) for name, tensor in self.network.state_dict().items()}
        card = self.card.changed(weights_sha256=weights_sha256(tensors), created_by=created_by())
        with claim(path, overwrite=overwrite) as output:
            part = output.scratch / "model.safetensors"
            try:
                save_file(tensors, part, metadata={CARD_KEY: card.to_json()})
            except (SafetensorError, OSError) as error:
                raise OutputError(f"{path}: cannot be written ({_first_line(error)})") from error
            if read_card(part) != card or weights_sha256(load_file(part)) != card.weights_sha256:
                raise OutputError(
                    f"{path}: what was read back is not what was written; the disk may be faulty"
                )
            output.commit(part)
        return card

    @property
    def stride_multiple(self) -> int:
        """Edges of the network's input must be a multiple of this many px."""
        if not getattr(self.network, "requires_divisible_input_shape", False):
            return 1
        stride: Any = self.network.encoder
        return int(stride.output_stride)

    def check_tile_size(self, size: int) -> None:
        """Refuse a tile size that the network cannot take, naming the next one that it can.

        Raises
        ------
        OptionError
        """
        step = self.stride_multiple
        if size % step:
            raise OptionError(
                f"tile size {size} does not suit {self.card.architecture} {self.card.encoder}, "
                f"expected a multiple of {step}: use {-(-size // step) * step}"
            )

    def __repr__(self) -> str:
        """Show the card, a line a subject."""
        card = self.card
        weights = sum(p.numel() for p in self.network.parameters())
        gsd = f", {card.gsd_m:g} m per px" if card.gsd_m else ""
        low, high = card.value_range
        lines = [
            f"Model {card.name!r} ({card.created_by}, format {card.format})",
            f"  network  {card.architecture} {card.encoder}, {weights:,} weights, {card.task}",
            f"  bands    {', '.join(card.band_names)}: {card.dtype} from {low:g} to {high:g}{gsd}",
            f"  tile     {card.tile.size} px, overlap {card.tile.overlap} px",
            *(f"  class    {c.code:>3} {c.color} {c.name}" for c in card.legend),
        ]
        if card.weights_sha256:
            lines.append(f"  sha256   {card.weights_sha256}")
        return "\n".join(lines)


def build_for(card: Card) -> torch.nn.Module:
    """Build the network that a card describes, with random weights and without any download."""
    return build(
        card.architecture, card.encoder, len(card.bands), len(card.channels), None, card.decoder_options, 0
    )


def build(
    architecture: str,
    encoder: str,
    bands: int,
    channels: int,
    encoder_weights: str | None,
    options: Mapping[str, Any],
    seed: int,
) -> torch.nn.Module:
    """Build a network; torch's own random state is left as it was.

    Raises
    ------
    ModelError
        segmentation-models-pytorch's refusal in one line.
    """
    odd = [key for key in options if not key.startswith(_OPTION_PREFIXES)]
    if odd:
        raise ModelError(
            f"decoder option {odd[0]!r} is not one of geoseg's, expected {', '.join(_OPTION_PREFIXES)}"
        )
    if ":" in encoder:
        raise ModelError(f"encoder {encoder!r} names a place to load from, expected a plain name")
    with torch.random.fork_rng(devices=[]), _quiet_hub():
        torch.manual_seed(seed)
        try:
            network: torch.nn.Module = smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=_weights_name(encoder, encoder_weights),
                in_channels=bands,
                classes=channels,
                **options,
            )
        # Encoders come from many authors and refuse with every kind of exception there is.
        except Exception as error:
            raise ModelError(_refusal(architecture, encoder, encoder_weights, error)) from error
    return network


def weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of tensors: of each in the order of their names, name, type, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # A view as bytes works for every dtype, also for those numpy does not know; a scalar has no view.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _require_names(tensors: Mapping[str, torch.Tensor], network: torch.nn.Module) -> None:
    """Refuse missing and additional tensors; torch's own strictness lets counters of BatchNorm be absent."""
    expected = set(network.state_dict())
    odd = sorted(expected ^ set(tensors))
    if odd:
        words = "is missing" if odd[0] in expected else "is not part of the network"
        raise ModelError(f"its weights do not fit its card: {odd[0]} {words} ({len(odd)} in all)")


def created_by() -> str:
    """Name and version of the program that writes a card."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"geoseg {version('geoseg')}"
    except PackageNotFoundError:
        return "geoseg"


def _stored(name: str, tensor: torch.Tensor, weights: WeightPrecision) -> torch.Tensor:
    """Copy a tensor as it is to be stored: dense, on the CPU, shared with no other."""
    copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if copy.is_floating_point() and not bool(torch.isfinite(copy).all()):
        raise ModelError(f"weights {name!r} hold NaN or infinity; the training that made them went wrong")
    if weights == "fp16" and copy.is_floating_point() and copy.ndim > 1:
        copy = copy.half()
        if not bool(torch.isfinite(copy).all()):
            raise ModelError(f"weights {name!r} are too large for fp16 (65504); store them as fp32")
    return copy


def _statistics(
    encoder: str, encoder_weights: str | None, bands: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Mean and std of the network's input on the 0..1 scale."""
    rgb = [band.strip().lower() for band in bands]
    if encoder_weights is None or sorted(rgb) != ["blue", "green", "red"]:
        return [0.5] * len(bands), [0.25] * len(bands)
    with _quiet_hub():
        found = smp.encoders.get_preprocessing_params(encoder, encoder_weights)
    top = float(max(found.get("input_range") or (0, 1)))
    order = ("blue", "green", "red") if found.get("input_space") == "BGR" else ("red", "green", "blue")
    at = [order.index(band) for band in rgb]
    return [found["mean"][i] / top for i in at], [found["std"][i] / top for i in at]


def _weights_name(encoder: str, encoder_weights: str | None) -> str | bool | None:
    """Name the weights as smp wants them: timm's encoders carry theirs in their name and take a mere yes."""
    return bool(encoder_weights) or None if encoder.startswith("tu-") else encoder_weights


def _refusal(architecture: str, encoder: str, encoder_weights: str | None, error: Exception) -> str:
    """Say in one line why there is no such network."""
    names = [c.__name__ for c in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    if architecture.lower() not in smp.MODEL_ARCHITECTURES_MAPPING:
        return f"architecture {architecture!r} is not known, expected one of {', '.join(names)}"
    if encoder.removeprefix("tu-") == encoder and encoder not in smp.encoders.encoders:
        return (
            f"encoder {encoder!r} is not known to segmentation-models-pytorch, expected one such as "
            "resnet34, efficientnet-b0 or, from timm, tu-mobilenetv3_small_100"
        )
    offline = isinstance(error, OSError) or "connection" in str(error).lower() or "hub" in str(error).lower()
    if encoder_weights is not None and offline:
        return (
            f"encoder weights {encoder_weights!r} of {encoder} could not be fetched ({_first_line(error)}); "
            "check the network, or leave --encoder-weights out"
        )
    reason = _first_line(error)
    return f"{architecture} with encoder {encoder} is refused by segmentation-models-pytorch: {reason}"


def _first_line(error: BaseException) -> str:
    """Return the first words of a foreign exception, short enough for one line."""
    text = " ".join(str(error).split()).strip("\"'") or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the download library's own retry messages off the terminal: the refusal says it in one line."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
