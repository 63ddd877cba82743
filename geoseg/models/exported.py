"""Exported models: a graph that OpenVINO reads, with its card; it predicts without torch.

``OUT.xml`` is OpenVINO's own format, with the weights in ``OUT.bin`` beside it (`geoseg.models.ir_file`);
``OUT.onnx`` is one file that other programs read, too (`geoseg.models.onnx_file`). Both keep the card in their
metadata, and a digest of their content. Only OpenVINO's own operations are ever run from them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from pydantic import BaseModel, ValidationError

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import Message, ModelError, OptionError, OutputError
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
    """Precision and input shapes of an exported graph.

    Parameters
    ----------
    precision : str
        ``fp32``, which can also be computed in bf16, or ``int8``.
    shape : tuple of int
        (rows, cols) of the images that the graph was exported for.
    multiple : int, optional
        The graph is also valid for images whose edges are multiples of this many px; without
        it only for `shape`.
    weights : str
        Data type in which the weights are stored.
    """

    precision: ExportPrecision
    shape: tuple[Edge, Edge]
    multiple: Edge | None = None
    weights: WeightPrecision = "fp32"


@dataclass(frozen=True)
class ExportedNetwork:
    """A network as a graph, which needs no torch and cannot be turned back into a torch module.

    Parameters
    ----------
    path : Path
        The file, for messages.
    card : Card
        The model's card.
    about : About
        Precision and input shapes of the graph.
    files : GraphBytes
        The graph.
    """

    path: Path
    card: Card
    about: About
    files: GraphBytes

    @property
    def digest(self) -> str:
        """Digest of the graph; for an int8 graph, of the weights that it was quantized from."""
        measured = self.card.quantization
        return self.files.sha256 if measured is None else measured.weights_sha256

    @property
    def precisions(self) -> str:
        """Precisions in which the graph can be computed, in words."""
        return "int8" if self.about.precision == "int8" else "fp32 or bf16"

    def build(self) -> NoReturn:
        """Raise ModelError: the torch module cannot be rebuilt from the files.

        Raises
        ------
        ModelError
        """
        raise ModelError(
            f"{self.path}: an exported model can only predict, on a CPU with precision {self.precisions}; for "
            "everything "
            "else take the .safetensors that it was made of"
        )

    def check_shape(self, shape: tuple[int, int]) -> None:
        """Raise OptionError for an image shape that the graph does not accept.

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
            If it does not accept such images, or OpenVINO cannot read it.
        """
        from geoseg.engine.openvino_network import reshaped

        self.check_shape(shape)
        try:
            graph = reshaped(self.files.graph(), shape)
        except ModelError as error:
            raise error.into(ModelError, self.path) from error
        found = [list(each.shape) for each in (*graph.inputs, *graph.outputs)]
        if found != [[1, len(self.card.bands), *shape], [1, len(self.card.channels), *shape]]:
            raise ModelError(f"{self.path}: its graph does not fit its card; export the model again")
        return graph


def is_onnx(path: Path) -> bool:
    """Return whether a path has the suffix of an ONNX file."""
    return path.suffix.lower() == ".onnx"


def is_exported(path: Path) -> bool:
    """Return whether a path has the suffix of an exported model."""
    return is_onnx(path) or path.suffix.lower() == ".xml"


def read_exported_card(path: Path) -> Card:
    """Read the card of an exported model.

    Raises
    ------
    ModelError
        If the file cannot be read, or was not exported by geoseg.
    """
    notes = onnx_file.read_notes(path) if is_onnx(path) else ir_file.read_notes(path)
    return Card.from_json(notes[CARD_KEY], path)


def read_exported(path: Path) -> ExportedNetwork:
    """Read and verify an exported model.

    Raises
    ------
    ModelError
        If it is not an exported model, or was changed since it was written.
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
    if measured is not None:  # the digest of the graph with its metadata, as stored here
        card = card.changed(quantization=measured.model_copy(update={"graph_sha256": files.sha256}))
    return ExportedNetwork(path, card, about, files)


def write_exported(
    path: Path, graph: openvino.Model | bytes, card: Card, about: About, *, overwrite: bool
) -> None:
    """Write a graph and its card, verify them by reading them back, and rename the files into place.

    Parameters
    ----------
    path : Path
        Path of the ``.xml``, whose ``.bin`` is written beside it, or of the ``.onnx``.
    graph : openvino.Model, or bytes of an ONNX file
        The graph.
    card : Card
        The model's card.
    about : About
        Precision and input shapes of the graph.
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
                raise error.into(OutputError, path) from error
        try:
            found = read_exported(product)
            found.graph(found.about.shape)
        except ModelError as error:
            raise OutputError(
                Message("{}: the content read back differs from what was written ({})", path, error),
                "the disk may be faulty",
            ) from error
        if not isinstance(graph, bytes):
            second.commit(product.with_suffix(ir_file.NUMBERS))
        first.commit(product)


def check_export_name(
    path: Path, precision: ExportPrecision = "fp32", weights: WeightPrecision = "fp32"
) -> None:
    """Raise an error for a file name, or a combination with precision and weights, that cannot be exported.

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
