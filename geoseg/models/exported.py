"""Exported models: a network as a graph that OpenVINO reads, with its card, which predicts without torch.

``OUT.xml`` is OpenVINO's own format, with the numbers in ``OUT.bin`` beside it (`geoseg.models.ir_file`); ``OUT.onnx``
is one file that other programs read, too (`geoseg.models.onnx_file`). Both keep the card among their notes, and a
digest of all that they hold. Nothing in them is run but OpenVINO's own operations.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from pydantic import BaseModel, ValidationError

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.models import ir_file, onnx_file
from geoseg.models.card import CARD_KEY, Card, Edge, WeightPrecision
from geoseg.models.export_notes import ABOUT_KEY
from geoseg.models.one_line import one_line
from geoseg.storage.durable import write_bytes
from geoseg.storage.output import claim

if TYPE_CHECKING:
    import openvino

ExportPrecision = Literal["fp32", "int8"]


class About(BaseModel):
    """What an exported graph is for.

    Parameters
    ----------
    precision : str
        ``fp32``, which is computed in bf16, too, or ``int8``.
    shape : tuple of int
        (rows, cols) of the images that it was exported for.
    multiple : int, optional
        Images of other shapes, whose edges are multiples of it, in px, get what the network would say of them; without
        it the graph is for `shape` alone.
    weights : str
        What its numbers are stored in.
    """

    precision: ExportPrecision
    shape: tuple[Edge, Edge]
    multiple: Edge | None = None
    weights: WeightPrecision = "fp32"


@dataclass(frozen=True)
class ExportedNetwork:
    """A network as a graph that needs no torch, and never becomes a module of it.

    Parameters
    ----------
    path : Path
        The file, for messages.
    card : Card
    about : About
    files : GraphBytes
    """

    path: Path
    card: Card
    about: About
    files: GraphBytes

    @property
    def digest(self) -> str:
        """Digest of the graph; of one in int8, of the weights that it was measured with."""
        measured = self.card.quantization
        return self.files.sha256 if measured is None else measured.weights_sha256

    @property
    def precisions(self) -> str:
        """What it can be computed in."""
        return "int8" if self.about.precision == "int8" else "fp32 or bf16"

    def build(self) -> NoReturn:
        """Refuse: the module that the graph was made of is not in the files.

        Raises
        ------
        ModelError
        """
        raise ModelError(
            f"{self.path}: an exported model only predicts, on a CPU with precision {self.precisions}; for everything "
            "else take the .safetensors that it was made of"
        )

    def check_shape(self, shape: tuple[int, int]) -> None:
        """Refuse images that the graph is not for.

        Raises
        ------
        OptionError
        """
        rows, cols = self.about.shape
        if shape == (rows, cols):
            return
        if self.about.multiple is None:
            raise OptionError(
                f"{self.path}: is for tiles of {rows} x {cols} px alone, found {shape[0]} x {shape[1]}; leave the "
                "tile size out, or export the model for that one"
            )
        step = self.about.multiple
        if any(edge % step for edge in shape):
            raise OptionError(
                f"{self.path}: tiles of {shape[0]} x {shape[1]} px do not suit it, expected multiples of {step}: use "
                f"{' x '.join(str(-(-edge // step) * step) for edge in shape)}"
            )

    def graph(self, shape: tuple[int, int]) -> openvino.Model:
        """Read the graph for images of (rows, cols).

        Raises
        ------
        OptionError, ModelError
            If it is not for them, or OpenVINO cannot read it.
        """
        from geoseg.engine.openvino_network import reshaped

        self.check_shape(shape)
        try:
            graph = reshaped(self.files.graph(), shape)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from error
        found = [list(each.shape) for each in (*graph.inputs, *graph.outputs)]
        if found != [[1, len(self.card.bands), *shape], [1, len(self.card.channels), *shape]]:
            raise ModelError(f"{self.path}: its graph does not fit its card; export the model again")
        return graph


def is_onnx(path: Path) -> bool:
    """Whether a name is that of an ONNX file."""
    return path.suffix.lower() == ".onnx"


def is_exported(path: Path) -> bool:
    """Whether a name is that of an exported model."""
    return is_onnx(path) or path.suffix.lower() == ".xml"


def read_exported_card(path: Path) -> Card:
    """Read the card of an exported model.

    Raises
    ------
    ModelError
        If the file cannot be read, or is none that geoseg exported.
    """
    notes = onnx_file.read_notes(path) if is_onnx(path) else ir_file.read_notes(path)
    return Card.from_json(notes[CARD_KEY], path)


def read_exported(path: Path) -> ExportedNetwork:
    """Read an exported model, and verify it.

    Raises
    ------
    ModelError
        If it is none, or not as it was written.
    """
    notes, files = onnx_file.read(path) if is_onnx(path) else ir_file.read(path)
    card = Card.from_json(notes[CARD_KEY], path)
    try:
        about = About.model_validate_json(notes[ABOUT_KEY])
    except ValidationError as error:
        raise ModelError(f"{path}: {ABOUT_KEY}: {one_line(error)}") from error
    measured = card.quantization
    if (measured is not None) != (about.precision == "int8"):
        raise ModelError(
            f"{path}: its card and its graph are of different precisions; export the model again"
        )
    if measured is not None:  # of the graph as it lies here, its card in it
        card = card.changed(quantization=measured.model_copy(update={"graph_sha256": files.sha256}))
    return ExportedNetwork(path, card, about, files)


def write_exported(
    path: Path, graph: openvino.Model | bytes, card: Card, about: About, *, overwrite: bool
) -> None:
    """Write a graph and its card, verify them by reading them back, and give the files their names.

    Parameters
    ----------
    path : Path
        Name of the ``.xml``, whose ``.bin`` goes beside it, or of the ``.onnx``.
    graph : openvino.Model, or bytes of an ONNX file
    card : Card
    about : About
    overwrite : bool
        Whether files may be replaced.

    Raises
    ------
    OutputError, OutputExistsError
        The previous files are untouched then. A kill between the two renames of an ``.xml`` and its ``.bin`` leaves a
        pair that is refused.
    """
    notes = {CARD_KEY: card.to_json(), ABOUT_KEY: about.model_dump_json()}
    with ExitStack() as stack:
        first = stack.enter_context(claim(path, overwrite=overwrite))
        product = first.scratch / f"product{path.suffix}"
        if isinstance(graph, bytes):
            write_bytes(product, onnx_file.with_notes(graph, notes))
        else:
            second = stack.enter_context(claim(path.with_suffix(ir_file.NUMBERS), overwrite=overwrite))
            try:
                ir_file.write(product, graph, notes, about.weights)
            except OutputError as error:
                raise OutputError(f"{path}: {error}") from error
        try:
            found = read_exported(product)
            found.graph(found.about.shape)
        except ModelError as error:
            raise OutputError(
                f"{path}: what was read back is not what was written ({error}); the disk may be faulty"
            ) from error
        if not isinstance(graph, bytes):
            second.commit(product.with_suffix(ir_file.NUMBERS))
        first.commit(product)


def check_export_name(
    path: Path, precision: ExportPrecision = "fp32", weights: WeightPrecision = "fp32"
) -> None:
    """Refuse a name that no exported model is written under, or what it does not go with.

    Raises
    ------
    OutputError, OptionError
    """
    if path.suffix not in (".xml", ".onnx"):
        raise OutputError(
            f"{path}: an exported model's name ends in .xml (OpenVINO's format; a .bin goes beside it) or .onnx"
        )
    if precision == "int8" and is_onnx(path):
        raise OutputError(
            f"{path}: an .onnx is exported in fp32 alone; for int8 give a name that ends in .xml"
        )
    if weights == "fp16" and is_onnx(path):
        raise OutputError(
            f"{path}: an .onnx is exported in fp32 alone; for fp16 weights give a name that ends in .xml"
        )
    if weights == "fp16" and precision == "int8":
        raise OptionError("the weights of a model in int8 are smaller than fp16 already; leave fp16 out")
