"""Read and write the metadata of ONNX files, and check what else they hold, without the package onnx.

An ONNX file is one message of Protocol Buffers (`protobuf`). Metadata are fields at its end, and the last of them
is a digest of all before it. A file may refer to other files for its weights, anywhere on the disk: such a file
is refused before any other code reads it, unless another program wrote it and they lie in the same folder. Field
numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, plural
from geoseg.models.export_notes import DIGEST_KEY, require_notes
from geoseg.models.protobuf import BYTES, MOST_FIELDS, DamagedError, fields, fields_of, of_bytes
from geoseg.storage.printable import shown

MOST: Final = 2**31 - 1
"""Maximum size of a file in bytes, a limit of Protocol Buffers."""
_LONGEST_NOTE: Final = 2**26

_NOTE: Final = 14
_MODEL: Final = frozenset((1, 2, 3, 4, 5, 6, 7, 8, _NOTE))
"""Fields of a whole file; others hold functions and training, which exported networks do not have."""
_INNER: Final = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Messages that may hold tensors, by the number of their field."""
_EXTERNAL, _ELSEWHERE = 13, 14
"""Fields of a tensor: the location of external data, and whether its data is external."""
_DEEPEST: Final = 16


def read_notes(path: Path) -> dict[str, str]:
    """Read the metadata of a file, skipping the network.

    Raises
    ------
    ModelError
        If the file cannot be read, or is none that geoseg exported.
    """
    return require_notes(
        path, all_notes(path), "; make a model file of another one with `geoseg model import`"
    )


def all_notes(path: Path) -> dict[str, str]:
    """Read the metadata of any ONNX file, skipping the network.

    Raises
    ------
    ModelError
        If the file cannot be read, or is not an ONNX file.
    """
    notes: dict[str, str] = {}
    try:
        size = _size(path)
        with path.open("rb") as file:
            for number, way, begin, end in fields_of(file, size):
                if (number, way) == (_NOTE, BYTES) and end - begin <= _LONGEST_NOTE:
                    file.seek(begin)
                    notes.update([entry(memoryview(file.read(end - begin)))])
                file.seek(end)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: is not an ONNX file, or is damaged ({error}); export it again") from error
    return notes


def read(path: Path) -> tuple[dict[str, str], GraphBytes]:
    """Read a file and its metadata, and verify that it is unchanged and needs no other file.

    Raises
    ------
    ModelError
    """
    notes = read_notes(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    seal = _field(DIGEST_KEY, notes[DIGEST_KEY])
    found = hashlib.sha256(memoryview(data)[: -len(seal)]).hexdigest()
    if not data.endswith(seal) or notes[DIGEST_KEY] != found:
        raise ModelError(
            f"{path}: is not as it was exported, it is damaged or was changed: export the model again"
        )
    try:
        check(data)
    except DamagedError as error:
        raise ModelError(f"{path}: {error}; not opened, export the model again") from error
    return notes, GraphBytes(data, b"")


def with_notes(network: bytes, notes: Mapping[str, str]) -> bytes:
    """Return an ONNX file with metadata and the digest of the whole added at the end."""
    whole = network + b"".join(_field(key, value) for key, value in notes.items())
    return whole + _field(DIGEST_KEY, hashlib.sha256(whole).hexdigest())


def _size(path: Path) -> int:
    size = path.stat().st_size
    if size > MOST:
        raise DamagedError(f"it has {plural(size, 'byte')}, expected {MOST:,} at most")
    return size


def check(data: bytes, folder: Path | None = None) -> None:
    """Raise DamagedError for content that a network does not need, and for external data.

    Parameters
    ----------
    data : bytes
        Content of a whole file.
    folder : Path, optional
        Folder in which external data may lie; none is allowed by default.

    Raises
    ------
    DamagedError
    """
    _check(memoryview(data), "model", 0, iter(range(MOST_FIELDS)), folder)


def beside(folder: Path, location: str) -> Path:
    """Return the file with a given name in a folder, or raise DamagedError; links may not lead elsewhere.

    Raises
    ------
    DamagedError
    """
    try:
        found = (folder / location).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise DamagedError(f"its weights are in a file that cannot be found ({error})") from error
    if found.parent != folder.resolve() or not found.is_file():
        raise DamagedError(f"its weights are in {shown(location)}, expected a file in the same folder")
    return found


def _check(data: memoryview, kind: str, depth: int, budget: Iterator[int], folder: Path | None) -> None:
    if depth > _DEEPEST:
        raise DamagedError("holds messages that are nested too deeply")
    inner = _INNER[kind]
    for number, way, begin, end in fields(data):
        if next(budget, None) is None:
            raise DamagedError(f"has more than {MOST_FIELDS} parts")
        if kind == "model" and number not in _MODEL:
            raise DamagedError(f"holds more than a network (field {number})")
        if kind == "tensor" and number in (_EXTERNAL, _ELSEWHERE) and folder is None:
            raise DamagedError("its weights are in another file, expected all in this one")
        if kind == "tensor" and number == _EXTERNAL and folder is not None:
            key, text = entry(data[begin:end])
            if key == "location":
                beside(folder, text)
        if way == BYTES and number in inner:
            _check(data[begin:end], inner[number], depth + 1, budget, folder)


def entry(data: memoryview) -> tuple[str, str]:
    """Read a metadata entry: field 1 is the key, field 2 the text."""
    parts = {number: data[begin:end] for number, way, begin, end in fields(data) if way == BYTES}
    return str(parts.get(1, b""), "utf-8"), str(parts.get(2, b""), "utf-8")


def _field(key: str, text: str) -> bytes:
    """Encode a metadata entry as a field of a file."""
    parts = b"".join(of_bytes(number, part.encode()) for number, part in ((1, key), (2, text)))
    return of_bytes(_NOTE, parts)
