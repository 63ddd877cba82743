"""Files in OpenVINO's own format: ``OUT.xml`` with operations and metadata, ``OUT.bin`` beside it with the
weights.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OutputError
from geoseg.models.card import WeightPrecision
from geoseg.models.export_notes import DIGEST_KEY, require_notes
from geoseg.models.one_line import first_line

if TYPE_CHECKING:
    import openvino

NUMBERS: Final = ".bin"
_DIGEST: Final = re.compile(rb'<geoseg_sha256 value="([0-9a-f]{64})" ?/>')
_MOST: Final = 2**26
"""Maximum size of the XML in bytes; networks with hundreds of layers have less than a million."""


def read_notes(path: Path) -> dict[str, str]:
    """Read the metadata of an XML file.

    Raises
    ------
    ModelError
        If the file cannot be read, or is none that geoseg exported.
    """
    return _notes(path, _operations(path))


def read(path: Path) -> tuple[dict[str, str], GraphBytes]:
    """Read both files and the metadata, and verify that they are unchanged.

    Raises
    ------
    ModelError
    """
    xml, numbers = _operations(path), path.with_suffix(NUMBERS)
    notes = _notes(path, xml)
    try:
        weights = numbers.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{numbers}: cannot be read ({error.strerror}); an exported model is two files, {path.name} and "
            f"{numbers.name} beside it"
        ) from error
    found, asked = _digest(_DIGEST.sub(b"", xml), weights), notes[DIGEST_KEY]
    if found != asked:
        raise ModelError(
            f"{path}: it and {numbers.name} are not as they were exported (sha256 {found[:12]}, expected "
            f"{asked[:12]}); one is damaged, or of another export: export the model again"
        )
    return notes, GraphBytes(xml, weights)


def write(path: Path, graph: openvino.Model, notes: Mapping[str, str], weights: WeightPrecision) -> None:
    """Write both files.

    Parameters
    ----------
    path : Path
        Path of the ``.xml``.
    graph : openvino.Model
        The graph.
    notes : mapping of str to str
        Metadata by key.
    weights : str
        What its numbers are stored in.

    Raises
    ------
    OutputError
    """
    from geoseg.engine.openvino_runtime import openvino

    graph = graph.clone()
    for key, text in notes.items():
        graph.set_rt_info(text, key)
    try:
        openvino.save_model(graph, path, compress_to_fp16=weights == "fp16")
        path.write_bytes(_sealed(path.read_bytes(), path.with_suffix(NUMBERS).read_bytes()))
    except (OSError, RuntimeError) as error:  # OpenVINO raises the latter for a full disk
        raise OutputError(f"cannot be written ({first_line(error)})") from error


def _operations(path: Path) -> bytes:
    """Read the XML file."""
    try:
        if path.stat().st_size > _MOST:
            raise ModelError(f"{path}: was not exported by geoseg: it is larger than {_MOST >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _notes(path: Path, xml: bytes) -> dict[str, str]:
    """Return the metadata in an XML file."""
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise ModelError(f"{path}: declares XML entities, which exported models never do; it is not opened")
    try:
        noted = ElementTree.fromstring(xml).find("rt_info")  # noqa: S314  entities are refused above
    except ElementTree.ParseError as error:
        raise ModelError(
            f"{path}: is not a model that geoseg exported, or is damaged ({error}); export it again"
        ) from error
    return require_notes(path, {each.tag: each.get("value", "") for each in (() if noted is None else noted)})


def _digest(xml: bytes, weights: bytes) -> str:
    found = hashlib.sha256(xml)
    found.update(weights)
    return found.hexdigest()


def _sealed(xml: bytes, weights: bytes) -> bytes:
    """Add the digest at the end of the metadata, which is the last element of the XML."""
    place = xml.rindex(b"</rt_info>")
    seal = f'<{DIGEST_KEY} value="{_digest(xml, weights)}" />'.encode()
    return xml[:place] + seal + xml[place:]
