"""Networks that other programs have written as ONNX: their weights by name, and the layers that use them.

The necessary parts of the file are read here, without the package onnx. Nothing of it is run but OpenVINO's own
operations, and those only to check the imported model (`onnx_proof`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.engine.quantized import GraphBytes, read_graph
from geoseg.errors import ModelError, plural
from geoseg.models import onnx_file
from geoseg.models.card import CARD_KEY
from geoseg.models.one_line import first_line
from geoseg.models.protobuf import VARINT, DamagedError, fields, varint
from geoseg.storage.printable import shown

if TYPE_CHECKING:
    import openvino

Floats = npt.NDArray[np.float32]

_PRODUCER, _VERSION, _GRAPH = 2, 3, 7
"""Fields of a file."""
_NODE, _TENSOR, _INPUT, _OUTPUT = 1, 5, 11, 12
"""Fields of a graph."""
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
"""Fields of a tensor."""
_FLOATS: Final[Mapping[int, tuple[str, int]]] = {
    1: ("<f4", 4),
    10: ("<f2", 5),
    11: ("<f8", 10),
    16: ("<u2", 5),
}
"""Floating-point types: numpy's name of each, and the field that holds the values if they are not raw."""
_BFLOAT16: Final = 16
_PASSED_ON: Final = ("Identity", "Cast")
"""Operations whose output is their input under another name or in another type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNode:
    """An operation of a graph, with the names of its inputs and outputs."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxImage:
    """Name and shape of an input or output of a graph.

    Parameters
    ----------
    name : str
        Name of the tensor.
    fractions : bool
        Whether its type is floating point; class codes are integers.
    shape : tuple of int or str
        Sizes; variable ones are given by name, which may be empty.
    """

    name: str
    fractions: bool
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """Format the shape as Python does."""
        return f"[{', '.join(str(edge) or '?' for edge in self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxNetwork:
    """A network in an ONNX file.

    Parameters
    ----------
    producer : str
        Name and version of the program that wrote it.
    inputs, outputs : tuple of OnnxImage
        Names and shapes of the graph's inputs and outputs.
    tensors : mapping of str to ndarray of float32
        Weights by name, under each of their names if there are several.
    nodes : tuple of OnnxNode
        Operations in the order of computation.
    path : Path
        The file.
    data : bytes
        Content of the file.
    alone : bool
        Whether all its weights are in that one file.
    """

    producer: str
    inputs: tuple[OnnxImage, ...]
    outputs: tuple[OnnxImage, ...]
    tensors: Mapping[str, Floats]
    nodes: tuple[OnnxNode, ...]
    path: Path
    data: bytes
    alone: bool

    def graph(self) -> openvino.Model:
        """Read the graph with OpenVINO.

        Raises
        ------
        ModelError
            If OpenVINO cannot read it.
        """
        return GraphBytes(self.data, b"").graph() if self.alone else read_graph(self.path)


def read_onnx(path: Path) -> OnnxNetwork:
    """Read a network that another program has written; its weights may lie in files in the same folder.

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged, was exported by geoseg, or refers to files in other folders.
    """
    if CARD_KEY in onnx_file.all_notes(path):
        raise ModelError(
            f"{path}: is a model that geoseg exported: predict with it as it is; for everything else take the "
            ".safetensors that it was made of"
        )
    try:
        data = path.read_bytes()
        onnx_file.check(data, path.parent)
        return _read(path, data)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: is damaged, or is not a network ({first_line(error)})") from error


def _read(path: Path, data: bytes) -> OnnxNetwork:
    whole = memoryview(data)
    parts = _parts(whole)
    graph = _parts(parts[_GRAPH][0]) if parts.get(_GRAPH) else {}
    tensors: dict[str, Floats] = {}
    names: set[str] = set()
    alone = True
    for found in graph.get(_TENSOR, []):
        tensor = _parts(found)
        name = _text(tensor, _NAME)
        if name in names:
            raise DamagedError(f"the weights {shown(name)} are present twice")
        names.add(name)
        alone = alone and _EXTERNAL not in tensor
        kind = _number(tensor, _TYPE)
        if kind in _FLOATS:
            tensors[name] = _numbers(tensor, kind, name, path.parent)
    nodes = tuple(_node(_parts(found)) for found in graph.get(_NODE, []))
    for node in nodes:
        if node.operation in _PASSED_ON and node.inputs and node.inputs[0] in tensors:
            tensors[node.outputs[0]] = tensors[node.inputs[0]]
    images = {key: [_image(_parts(found)) for found in graph.get(key, [])] for key in (_INPUT, _OUTPUT)}
    return OnnxNetwork(
        producer=" ".join(filter(None, (_text(parts, _PRODUCER), _text(parts, _VERSION))))
        or "a program without a name",
        inputs=tuple(
            image for image in images[_INPUT] if image.name not in names
        ),  # old files list weights, too
        outputs=tuple(images[_OUTPUT]),
        tensors=tensors,
        nodes=nodes,
        path=path,
        data=data,
        alone=alone,
    )


_Parts = dict[int, list[Any]]
"""Values of the fields of a message by field number: bytes or integers."""


def _parts(data: memoryview) -> _Parts:
    found: _Parts = {}
    for number, way, begin, end in fields(data):
        value = varint(data, begin)[0] if way == VARINT else data[begin:end]
        found.setdefault(number, []).append(value)
    return found


def _text(parts: _Parts, key: int) -> str:
    value = next(iter(parts.get(key, [])), b"")
    return str(value, "utf-8") if isinstance(value, memoryview) else ""


def _number(parts: _Parts, key: int) -> int:
    value = next(iter(parts.get(key, [])), 0)
    return value if isinstance(value, int) else 0


def _whole_numbers(parts: _Parts, key: int) -> Iterator[int]:
    """Yield integers that are stored one by one, or packed into bytes."""
    for value in parts.get(key, []):
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            number, at = varint(value, at)
            yield number


def _numbers(tensor: _Parts, kind: int, name: str, folder: Path) -> Floats:
    """Read the values of a tensor, wherever they are stored."""
    form, field = _FLOATS[kind]
    dims = list(_whole_numbers(tensor, _DIMS))
    size = math.prod(dims) * np.dtype(form).itemsize
    if _EXTERNAL in tensor:
        raw = _elsewhere(tensor, size, folder)
    elif _RAW in tensor:
        raw = bytes(tensor[_RAW][0])
    elif field == 5:  # float16, each stored as an integer
        raw = np.fromiter((n & 0xFFFF for n in _whole_numbers(tensor, field)), dtype="<u2").tobytes()
    else:
        raw = b"".join(bytes(value) for value in tensor.get(field, []) if not isinstance(value, int))
    if len(raw) != size:
        raise DamagedError(f"the weights {shown(name)} have {plural(len(raw), 'byte')}, expected {size}")
    found = np.frombuffer(raw, dtype=form).reshape(dims)
    if kind == _BFLOAT16:  # the upper half of a float32
        return (found.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def _elsewhere(tensor: _Parts, size: int, folder: Path) -> bytes:
    """Read the values of a tensor from the external file that it refers to."""
    where = dict(onnx_file.entry(each) for each in tensor[_EXTERNAL])
    begin = int(where.get("offset", "0"))
    if begin < 0 or int(where.get("length", size)) != size:
        raise DamagedError(f"a tensor has {where.get('length')} bytes from {begin} on, expected {size}")
    path = onnx_file.beside(folder, where.get("location", ""))
    if path.stat().st_size < begin + size:
        raise DamagedError(f"{path.name} beside it is cut off")
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(size)


def _node(parts: _Parts) -> OnnxNode:
    inputs, outputs = (tuple(str(each, "utf-8") for each in parts.get(key, [])) for key in (1, 2))
    return OnnxNode(operation=_text(parts, 4), inputs=inputs, outputs=outputs)


def _image(parts: _Parts) -> OnnxImage:
    """Read name, type and shape of an input or output."""
    kind = _inner(_inner(parts, 2), 1)
    edges = [_parts(found) for found in _inner(kind, 2).get(1, [])]
    return OnnxImage(
        name=_text(parts, 1),
        fractions=_number(kind, 1) in _FLOATS,
        shape=tuple(_number(edge, 1) or _text(edge, 2) for edge in edges),
    )


def _inner(parts: _Parts, key: int) -> _Parts:
    value = next(iter(parts.get(key, [])), None)
    return _parts(value) if isinstance(value, memoryview) else {}
