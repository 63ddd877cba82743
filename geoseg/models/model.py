"""A network with its card, and the file that holds both."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OptionError, Text, plural
from geoseg.grid.legend import Legend, Task, legend_of_channels
from geoseg.models.card import Card, WeightPrecision
from geoseg.models.exported import ExportedNetwork, ExportPrecision, is_exported, read_exported
from geoseg.models.input_scale import Factors, InputScale
from geoseg.models.model_file import StoredNetwork, check_name, read_model, write_model
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.summary import summary, summary_html
from geoseg.models.weights import as_stored, digest_of, stored_copy

if TYPE_CHECKING:
    import torch

    from geoseg.models.wrapped import Wrapped

_LARGEST: Mapping[str, tuple[float, float]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}
_BUILDING = threading.Lock()
_KNOWN = frozenset(("torch", "segmentation_models_pytorch", "timm", "torchvision", "geoseg"))
"""Packages whose layers treat every input alike, so that a trace shows all that they do."""


class Model:
    """A segmentation network and the card that tells how to use it.

    Parameters
    ----------
    card : Card
        Everything prediction needs besides the scene.
    network : torch.nn.Module
        Maps float32 (N, band, row, col) to logits (N, channel, row, col).
    notes : tuple of str or Message
        Assumptions made on import, one line each.
    int8 : GraphBytes, optional
        The network as an int8 graph, made by `geoseg.quantize`.
    """

    def __init__(
        self,
        card: Card,
        network: torch.nn.Module | StoredNetwork | ExportedNetwork,
        notes: tuple[Text, ...] = (),
        int8: GraphBytes | None = None,
    ) -> None:
        self.card = card
        self._network = network
        self.notes = notes
        self.int8 = int8
        self._settled: str | None = None

    @classmethod
    def new(
        cls,
        *,
        architecture: str,
        encoder: str,
        bands: Sequence[str],
        classes: Legend | str | Sequence[str],
        task: Task = "multiclass",
        encoder_weights: str | Path | None = None,
        dtype: str = "uint8",
        value_range: tuple[float, float] | None = None,
        gsd_m: float | None = None,
        tile_size: int = 512,
        overlap: int | None = None,
        decoder_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
    ) -> Model:
        """Make an untrained model of any architecture and encoder in segmentation-models-pytorch.

        Normalisation: `scale` and `offset` map `value_range` to 0..1; `mean` and `std` are those that the pretrained
        weights expect if the bands are red, green and blue, else 0.5 and 0.25, adjusted to the same spread for
        weights that expect another one (`Beginning.normalisation`).

        Law: equal arguments give equal weights (on one torch build).

        Parameters
        ----------
        architecture, encoder : str
            As segmentation-models-pytorch names them: ``Unet``, ``resnet34``, ``tu-mobilenetv3_small_100``.
        bands : sequence of str
            Names of the bands, in the network's order.
        classes : Legend, text or sequence of str
            The classes in the order of the network's channels: names, or as ``water,forest=#228b22``, codes 1 to n; or
            a Legend with codes 0 to 254 of its own. For a binary task, whose network has one channel: one class, or
            two of which the first is the background.
        task : str
            ``multiclass``, ``binary`` or ``multilabel`` (classes may overlap).
        encoder_weights : str or path, optional
            Pretrained weights: ``packaged``, which are part of geoseg; ``imagenet`` or a name from torchgeo,
            which are fetched; or a file (`encoder_weights.load_encoder_weights`).
        dtype : str
            Data type of the stored values.
        value_range : (float, float), optional
            Smallest and largest stored value; by default the whole range of an integer `dtype`, 0..1 for floats.
        gsd_m : float, optional
            Ground sample distance, m per px.
        tile_size, overlap : int
            Default tile size and overlap, px; the overlap is a quarter of the size by default.
        decoder_options : mapping, optional
            More arguments of the architecture, such as ``decoder_channels``.
        name : str, optional
            The model's name.
        seed : int
            Seed of the random weights.

        Raises
        ------
        ModelError
            If the combination is refused, or the pretrained weights cannot be obtained.
        LegendError
            If the classes do not suit the task.
        """
        from geoseg.models.network import build

        low, high = value_range or _LARGEST.get(dtype, (0.0, 1.0))
        span = high - low or 1.0
        options = dict(decoder_options or {})
        legend = legend_of_channels(classes, task)
        channels = (1,) if task == "binary" else legend.codes
        plan = NetworkPlan(
            architecture=architecture,
            encoder=encoder,
            bands=len(bands),
            channels=len(channels),
            options=options,
        )
        network = build(plan, seed=seed)
        beginning = None
        mean, std = (0.5,) * len(bands), (0.25,) * len(bands)
        if encoder_weights is not None:
            from geoseg.models.encoder_weights import load_encoder_weights
            from geoseg.models.first_layer import colors_of

            beginning = load_encoder_weights(network, plan, bands, encoder_weights)
            mean, std = beginning.normalisation(colors_of(bands), 1.0, mean, std)
        card = Card(
            name=name or f"{type(network).__name__} {encoder}",
            created_by=created_by(),
            architecture=type(network).__name__,
            encoder=encoder,
            decoder_options=options,
            task=task,
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
            channels=channels,
            beginning=beginning,
        )
        model = cls(card, network.eval())
        model.check_tile_size(tile_size)
        return model

    @classmethod
    def wrap(
        cls,
        module: torch.nn.Module,
        *,
        bands: Sequence[str],
        classes: Legend | str | Sequence[str],
        value_range: tuple[float, float],
        task: Task = "multiclass",
        dtype: str | None = None,
        scale: Factors | None = None,
        mean: Factors | None = None,
        std: Factors | None = None,
        gsd_m: float | None = None,
        tile_size: int = 512,
        overlap: int | None = None,
        name: str | None = None,
    ) -> Model:
        """Make a model from a network of your own, for `predict` and `segment` in this process.

        It cannot be saved: its class is code, and model files hold none. A network that
        segmentation-models-pytorch has built becomes a model file with its ``save_pretrained`` and
        `geoseg.import_model`.

        Parameters
        ----------
        module : Module
            Maps float32 (n, band, row, col) to logits (n, channel, row, col), before softmax or sigmoid; by itself,
            or as ``logits`` (transformers) or ``out`` (torchvision) of its result. Logits with fewer rows and
            columns than the input are resized bilinearly. It is put into evaluation mode.
        bands : sequence of str
            Names of the bands, in the module's order.
        classes : Legend, text or sequence of str
            The classes in the order of the module's channels: names, or as ``water,forest=#228b22``, codes 1 to n; or
            a Legend with codes of its own. For a binary task, whose module has one channel: one class, or two of
            which the first is the background.
        value_range : (float, float)
            Smallest and largest stored number of the scenes. The module is given them from 0 to 1, unless
            `scale`, `mean` and `std` say otherwise.
        task : str
            ``multiclass``, ``binary`` or ``multilabel`` (classes may overlap).
        dtype : str, optional
            Data type of the scenes; by default uint8 for the range 0 to 255, uint16 for whole numbers
            from 0 to 65535, else float32.
        scale, mean, std : float or sequence of float, optional
            What is done to stored numbers before the module sees them: ``(x * scale - mean) / std``, each one number,
            or one for each band. Without `scale` the value range becomes 0 to 1 first.
        gsd_m, tile_size, overlap, name : optional
            As `Model.new` takes them.

        Returns
        -------
        Model

        Raises
        ------
        ModelError, OptionError, LegendError
            If it is not a module, fails on a tile, or returns another number of channels than there are classes.
        """
        import torch

        from geoseg.models.wrapped import Wrapped, dtype_of

        if not isinstance(module, torch.nn.Module):
            raise ModelError(f"expected a torch.nn.Module, found {type(module).__name__}")
        if isinstance(bands, str) or not bands:
            raise OptionError(f"bands is {bands!r}, expected the names of the bands, as in ['red', 'green']")
        legend = legend_of_channels(classes, task)
        low, high = (float(number) for number in value_range)
        span, count = high - low or 1.0, len(bands)
        scales, means, stds = InputScale(scale=scale, mean=mean, std=std).for_bands(count)
        card = Card(
            name=name or type(module).__name__,
            created_by=created_by(),
            architecture=re.sub(r"[^A-Za-z0-9_.+-]", "_", type(module).__name__),
            encoder="wrapped",
            task=task,
            bands=[{"name": band} for band in bands],
            dtype=dtype or dtype_of(low, high),
            value_range=(low, high),
            units="stored",
            scale=[1 / span] * count if scales is None else scales,
            offset=[-low / span if scales is None else 0.0] * count,
            mean=means,
            std=stds,
            gsd_m=gsd_m,
            tile={"size": tile_size, "overlap": tile_size // 4 if overlap is None else overlap},
            legend=legend.classes,
            channels=(1,) if task == "binary" else legend.codes,
        )
        wrapped = Wrapped(module, count, len(card.channels))
        wrapped.try_out(tile_size)
        return cls(card, wrapped.eval())

    @property
    def wrapped(self) -> bool:
        """Whether the network is the user's own code, which no model file can hold."""
        return self.own_network is not None

    @property
    def own_network(self) -> Wrapped | None:
        """The network if it is the user's own code, which no model file can hold, else None."""
        if isinstance(self._network, StoredNetwork | ExportedNetwork):
            return None
        from geoseg.models.wrapped import Wrapped

        return self._network if isinstance(self._network, Wrapped) else None

    @property
    def traceable(self) -> bool:
        """Whether a trace shows all that the network does: layers of the user's own code may depend on values."""
        if isinstance(self._network, StoredNetwork | ExportedNetwork):
            return True
        return not self.wrapped and all(
            type(layer).__module__.partition(".")[0] in _KNOWN for layer in self._network.modules()
        )

    @property
    def network(self) -> torch.nn.Module:
        """Maps float32 (N, band, row, col) to logits (N, channel, row, col); built at the first access.

        Raises
        ------
        ModelError
            If a file was opened without building it, and weights and card do not match; always for an exported model.
        """
        with _BUILDING:
            if isinstance(self._network, StoredNetwork | ExportedNetwork):
                self._network = self._network.build()
            return self._network

    @property
    def exported(self) -> ExportedNetwork | None:
        """The graph of an exported model, which predicts and has no `network`; else None."""
        return self._network if isinstance(self._network, ExportedNetwork) else None

    @property
    def digest(self) -> str:
        """Digest of the network's current weights; for a file it is computed without building the network."""
        held = self._network
        if isinstance(held, StoredNetwork | ExportedNetwork):
            return held.digest
        return self._settled or weights_sha256(held.state_dict())

    def settled(self) -> Model:
        """Return the model for a run, in which its weights do not change: their digest is computed once."""
        if isinstance(self._network, StoredNetwork | ExportedNetwork):
            return self
        model = Model(self.card, self._network, self.notes, self.int8)
        model._settled = self.digest
        return model

    @property
    def stored_digest(self) -> str:
        """Digest by which the card of a model file names its weights, which may be stored as float16."""
        return self.card.weights_sha256 if isinstance(self._network, StoredNetwork) else self.digest

    @classmethod
    def open(cls, path: Path | str, *, build: bool = True) -> Model:
        """Read a model file; no code in it is run and nothing is downloaded.

        Law: ``Model.open(p)`` gives the logits of the weights as they are stored in `p`.

        Parameters
        ----------
        path : path
            A ``.safetensors``, or the ``.xml`` or ``.onnx`` of an exported model, which can only predict.
        build : bool
            Whether to build the network now. Otherwise it is built when `network` is first accessed, which needs
            torch: a prediction whose converted network is cached (`geoseg.models.graphs`) never does.

        Raises
        ------
        ModelError
            If the file is not a model file, was changed since it was written, or weights and card do not match.
        """
        path = Path(path)
        if is_exported(path):
            exported = read_exported(path)
            if build:
                exported.graph(exported.about.shape)
            int8 = exported.files if exported.about.precision == "int8" else None
            return cls(exported.card, exported, int8=int8)
        card, weights, int8 = read_model(path)
        model = cls(card, StoredNetwork(path, card, weights), int8=int8)
        if build:
            _ = model.network
        return model

    def save(self, path: Path | str, *, weights: WeightPrecision = "fp32", overwrite: bool = False) -> Card:
        """Write the model file, verify it by reading it back, and rename it into place.

        With ``fp16`` arrays of two or more dimensions are halved in size; biases and the values of
        normalisation layers, few but sensitive, stay fp32, and integers stay integers.

        Returns
        -------
        Card
            The card as written, with `weights_sha256` and the version that wrote it.

        Raises
        ------
        OutputError, OutputExistsError, ModelError
            The previous file is then untouched.
        """
        path = Path(path)
        check_name(path)
        if (own := self.own_network) is not None:
            raise ModelError(
                f"{path}: a network of your own ({type(own.module).__name__}) cannot be saved, since model "
                "files hold no code; keep its weights with torch.save and wrap it again, or, where "
                "segmentation-models-pytorch built it, use its save_pretrained and geoseg.import_model"
            )
        tensors = {
            name: stored_copy(name, tensor, weights) for name, tensor in self.network.state_dict().items()
        }
        card = self.card.changed(weights_sha256=weights_sha256(tensors), created_by=created_by())
        if self.int8 is None:  # the card may come from the model that a training started from
            card = card.changed(quantization=None)
        write_model(path, card, as_stored(tensors), self.int8, overwrite=overwrite)
        return card

    def export(
        self,
        path: Path | str,
        *,
        tile_size: int | None = None,
        precision: ExportPrecision = "fp32",
        weights: WeightPrecision = "fp32",
        overwrite: bool = False,
    ) -> Card:
        """Write the network as a graph with its card, to predict where torch is not installed.

        Law: a prediction on a CPU with an ``.xml`` has the same bytes as with the model, in the same precision
        and with tiles of that size; with an ``.onnx``, in fp32, the same class wherever the two best
        probabilities differ by more than 1e-4.

        Parameters
        ----------
        path : path
            ``OUT.xml`` in OpenVINO's format; its weights go into ``OUT.bin`` beside it, and the two belong
            together. Or ``OUT.onnx``, one file that other programs read, too: float32 ``image`` (1, band, row,
            col), normalised as the card says, becomes ``logits`` (1, channel, row, col). `predict` and
            `Model.open` accept either.
        tile_size : int, optional
            Tile size of the graph, px; the card's by default. Other sizes also work if the graph
            gives the network's results for them.
        precision : str
            ``fp32``, which can also be computed in bf16; or ``int8``, for a model made by `geoseg.quantize`
            (``.xml``).
        weights : str
            ``fp16`` stores the weights of an ``.xml`` as float16, in half the bytes; the computation is the same.
        overwrite : bool
            Whether files may be replaced.

        Returns
        -------
        Card
            The card as written.

        Raises
        ------
        OutputError, OutputExistsError, OptionError
            The previous files are then untouched. OptionError also if an ``.onnx`` is requested without the
            package onnx.
        ModelError
            If OpenVINO cannot compute the network, it is one of your own, or it holds no int8 graph.
        """
        from geoseg.models.export import export

        return export(
            self, Path(path), tile_size=tile_size, precision=precision, weights=weights, overwrite=overwrite
        )

    @property
    def stride_multiple(self) -> int:
        """Px of which the edges of the network's input must be multiples."""
        if not getattr(self.network, "requires_divisible_input_shape", False):
            return 1
        stride: Any = self.network.encoder
        return int(stride.output_stride)

    def check_tile_size(self, size: int) -> None:
        """Raise OptionError for a tile size that the network cannot take, naming the next one that it can.

        Raises
        ------
        OptionError
        """
        if (own := self.own_network) is not None:
            if size != self.card.tile.size:  # the card's size was tried in `wrap`
                own.try_out(size)
            return
        if isinstance(self._network, ExportedNetwork):
            whole = self.card.image_size  # which are checked together
            self._network.check_shape(whole if whole is not None and size in whole else (size, size))
            return
        if isinstance(self._network, StoredNetwork) and self._is_kept(size):
            return
        step = self.stride_multiple
        if size % step:
            raise OptionError(
                f"tile size {size} does not suit {self.card.architecture} {self.card.encoder}, "
                f"expected a multiple of {step}: use {-(-size // step) * step}"
            )

    def _is_kept(self, size: int) -> bool:
        """Return whether the converted network for such tiles or images is cached: it was run then."""
        from geoseg.models.graphs import is_kept

        whole = self.card.image_size
        return is_kept(self, (size, size)) or (whole is not None and size in whole and is_kept(self, whole))

    def _repr_html_(self) -> str:
        """Show the card in a notebook, the classes as a table with their colours."""
        return summary_html(self.card, self._size())

    def __repr__(self) -> str:
        """Describe the card, one line per subject."""
        return summary(self.card, self._size())

    def _size(self) -> str:
        """Say how many weights the network has, or what an exported one was made for."""
        if (exported := self.exported) is not None:
            rows, cols = exported.about.shape
            return f"exported for {rows} x {cols} px in {exported.precisions}"
        return plural(sum(p.numel() for p in self.network.parameters()), "weight")


def weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the digest of a network's tensors: name, dtype, shape and bytes of each, in order of names."""
    return digest_of(as_stored(tensors))


def created_by() -> str:
    """Return name and version of the program, for a card."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"geoseg {version('geoseg')}"
    except PackageNotFoundError:
        return "geoseg"
