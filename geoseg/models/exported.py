"""Exported models: a network as a graph of OpenVINO, with its card, which predicts without torch.

``OUT.xml`` holds the operations and, among the notes that OpenVINO keeps with a graph (``rt_info``), the card;
``OUT.bin`` beside it holds the numbers. A digest of both stands in the notes. OpenVINO reads such files, and nothing in
them is run but its own operations.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn
from xml.etree import ElementTree

from pydantic import BaseModel, ValidationError

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.models.card import CARD_KEY, Card, Edge
from geoseg.models.one_line import first_line, one_line
from geoseg.storage.output import claim

if TYPE_CHECKING:
    import openvino

ExportPrecision = Literal["fp32", "int8"]
_NUMBERS: Final = ".bin"
_ABOUT_KEY: Final = "geoseg_export"
_DIGEST_KEY: Final = "geoseg_sha256"
_DIGEST: Final = re.compile(rb'<geoseg_sha256 value="([0-9a-f]{64})" ?/>')
_MOST: Final = 2**26
"""Bytes of the XML; those of networks with hundreds of layers have less than a million."""


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
    """

    precision: ExportPrecision
    shape: tuple[Edge, Edge]
    multiple: Edge | None = None


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


def is_exported(path: Path) -> bool:
    """Whether a name is that of an exported model."""
    return path.suffix.lower() == ".xml"


def read_exported_card(path: Path) -> Card:
    """Read the card of an exported model.

    Raises
    ------
    ModelError
        If the file cannot be read, or is none that geoseg exported.
    """
    return Card.from_json(_notes(path, _operations(path))[CARD_KEY], path)


def read_exported(path: Path) -> ExportedNetwork:
    """Read an exported model, and verify it.

    Raises
    ------
    ModelError
        If it is none, or not as it was written.
    """
    xml, numbers = _operations(path), path.with_suffix(_NUMBERS)
    notes = _notes(path, xml)
    try:
        weights = numbers.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{numbers}: cannot be read ({error.strerror}); an exported model is two files, {path.name} and "
            f"{numbers.name} beside it"
        ) from error
    found, asked = _digest(_DIGEST.sub(b"", xml), weights), notes[_DIGEST_KEY]
    if found != asked:
        raise ModelError(
            f"{path}: it and {numbers.name} are not as they were exported (sha256 {found[:12]}, expected "
            f"{asked[:12]}); one is damaged, or of another export: export the model again"
        )
    files, card = GraphBytes(xml, weights), Card.from_json(notes[CARD_KEY], path)
    try:
        about = About.model_validate_json(notes[_ABOUT_KEY])
    except ValidationError as error:
        raise ModelError(f"{path}: {_ABOUT_KEY}: {one_line(error)}") from error
    measured = card.quantization
    if (measured is not None) != (about.precision == "int8"):
        raise ModelError(
            f"{path}: its card and its graph are of different precisions; export the model again"
        )
    if measured is not None:  # of the graph as it lies here, its card in it
        card = card.changed(quantization=measured.model_copy(update={"graph_sha256": files.sha256}))
    return ExportedNetwork(path, card, about, files)


def write_exported(path: Path, graph: openvino.Model, card: Card, about: About, *, overwrite: bool) -> None:
    """Write a graph and its card, verify both files by reading them back, and give them their names.

    Parameters
    ----------
    path : Path
        Name of the ``.xml``; the ``.bin`` goes beside it.
    graph : openvino.Model
    card : Card
    about : About
    overwrite : bool
        Whether files may be replaced.

    Raises
    ------
    OutputError, OutputExistsError
        The previous files are untouched then. A kill between the two renames leaves a pair that is refused.
    """
    from geoseg.engine.openvino_runtime import openvino

    graph = graph.clone()
    graph.set_rt_info(card.to_json(), CARD_KEY)
    graph.set_rt_info(about.model_dump_json(), _ABOUT_KEY)
    numbers = path.with_suffix(_NUMBERS)
    with claim(path, overwrite=overwrite) as first, claim(numbers, overwrite=overwrite) as second:
        xml, weights = first.scratch / "product.xml", first.scratch / "product.bin"
        try:
            # Not compressed to half floats: the map would be another one.
            openvino.save_model(graph, xml, compress_to_fp16=False)
        except RuntimeError as error:  # what OpenVINO says of a full disk
            raise OutputError(f"{path}: cannot be written ({first_line(error)})") from error
        xml.write_bytes(_sealed(xml.read_bytes(), weights.read_bytes()))
        try:
            found = read_exported(xml)
            found.graph(found.about.shape)
        except ModelError as error:
            raise OutputError(
                f"{path}: what was read back is not what was written ({error}); the disk may be faulty"
            ) from error
        second.commit(weights)
        first.commit(xml)


def check_export_name(path: Path) -> None:
    """Refuse a name that no exported model is written under.

    Raises
    ------
    OutputError
    """
    if path.suffix != ".xml":
        raise OutputError(
            f"{path}: an exported model's name ends in .xml (OpenVINO's format; a .bin goes beside it)"
        )


def _operations(path: Path) -> bytes:
    """Read the XML."""
    try:
        if path.stat().st_size > _MOST:
            raise ModelError(
                f"{path}: is not a model that geoseg exported, it has more than {_MOST >> 20} MB"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _notes(path: Path, xml: bytes) -> dict[str, str]:
    """Find what geoseg noted in an XML file."""
    refusal = f"{path}: is not a model that geoseg exported, or is damaged"
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise ModelError(f"{path}: declares XML entities, which it does not need; not opened")
    try:
        noted = ElementTree.fromstring(xml).find("rt_info")  # noqa: S314  entities are refused above
    except ElementTree.ParseError as error:
        raise ModelError(f"{refusal} ({error}); export it again") from error
    keys = (CARD_KEY, _ABOUT_KEY, _DIGEST_KEY)
    found = {} if noted is None else {key: noted.find(key) for key in keys}
    notes = {key: element.get("value", "") for key, element in found.items() if element is not None}
    if len(notes) != len(keys):
        raise ModelError(f"{refusal}: it holds no card; expected what `geoseg model export` wrote")
    return notes


def _digest(xml: bytes, weights: bytes) -> str:
    found = hashlib.sha256(xml)
    found.update(weights)
    return found.hexdigest()


def _sealed(xml: bytes, weights: bytes) -> bytes:
    """Add the digest to the notes, which are the last of the XML."""
    place = xml.rindex(b"</rt_info>")
    seal = f'<{_DIGEST_KEY} value="{_digest(xml, weights)}" />'.encode()
    return xml[:place] + seal + xml[place:]
