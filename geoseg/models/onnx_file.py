"""ONNX files: notes beside the network, and what else may stand in one, read without any package for it.

An ONNX file is one message of Protocol Buffers: fields, each a key (its number, and how it is stored) and a value, that
may be a message again. Notes are fields at its end, and the last of them is a digest of all before it. A file may name
other files for its numbers, anywhere on the disk: one that does is refused before anything but this module reads it.
Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError
from geoseg.models.export_notes import DIGEST_KEY, require_notes

MOST: Final = 2**31 - 1
"""Bytes of a file; Protocol Buffers have no longer messages."""
_LONGEST_NOTE: Final = 2**26
_MOST_FIELDS: Final = 10**6
"""A network with hundreds of layers has some ten thousand."""
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
"""How values are stored: as a number of any length, in so many bytes, or with their length before them."""

_NOTE: Final = 14
_MODEL: Final = frozenset((1, 2, 3, 4, 5, 6, 7, 8, _NOTE))
"""Fields of a whole file; others hold functions and training, which no exported network has."""
_INNER: Final = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Messages that may hold tensors, by the number of the field that holds them."""
_EXTERNAL: Final = frozenset((13, 14))
"""Fields of a tensor: where else its numbers are, and that they are there."""
_DEEPEST: Final = 16

Field = tuple[int, int, int, int]
"""Number and way of a field, and where its value begins and ends."""


class _DamagedError(ValueError):
    """Bytes are no fields."""


def read_notes(path: Path) -> dict[str, str]:
    """Read the notes of a file; the network is skipped.

    Raises
    ------
    ModelError
        If the file cannot be read, or is none that geoseg exported.
    """
    notes: dict[str, str] = {}
    try:
        size = _size(path)
        with path.open("rb") as file:
            for number, way, begin, end in _fields_of(file, size):
                if (number, way) == (_NOTE, _BYTES) and end - begin <= _LONGEST_NOTE:
                    file.seek(begin)
                    notes.update([_note(memoryview(file.read(end - begin)))])
                file.seek(end)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: is not an ONNX file, or is damaged ({error}); export it again") from error
    return require_notes(path, notes)


def read(path: Path) -> tuple[dict[str, str], GraphBytes]:
    """Read a file and its notes, and verify that it is as it was written and needs no other one.

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
        _check(memoryview(data), "model", 0, iter(range(_MOST_FIELDS)))
    except _DamagedError as error:
        raise ModelError(f"{path}: {error}; not opened, export the model again") from error
    return notes, GraphBytes(data, b"")


def with_notes(network: bytes, notes: Mapping[str, str]) -> bytes:
    """Return an ONNX file with notes and the digest of all at its end."""
    whole = network + b"".join(_field(key, value) for key, value in notes.items())
    return whole + _field(DIGEST_KEY, hashlib.sha256(whole).hexdigest())


def _size(path: Path) -> int:
    size = path.stat().st_size
    if size > MOST:
        raise _DamagedError(f"it has {size} bytes, expected {MOST} at most")
    return size


def _check(data: memoryview, kind: str, depth: int, budget: Iterator[int]) -> None:
    """Refuse fields that no exported network has, and numbers that are elsewhere."""
    if depth > _DEEPEST:
        raise _DamagedError("holds messages in messages without end")
    inner = _INNER[kind]
    for number, way, begin, end in _fields(data):
        if next(budget, None) is None:
            raise _DamagedError(f"has more than {_MOST_FIELDS} parts")
        if kind == "model" and number not in _MODEL:
            raise _DamagedError(f"holds more than a network (field {number})")
        if kind == "tensor" and number in _EXTERNAL:
            raise _DamagedError("its weights are in another file, expected all in this one")
        if way == _BYTES and number in inner:
            _check(data[begin:end], inner[number], depth + 1, budget)


def _fields(data: memoryview) -> Iterator[Field]:
    """Go through the fields of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        begin, end = _extent(data, key & 7, at, len(data))
        yield key >> 3, key & 7, begin, end
        at = end


def _fields_of(file: BinaryIO, size: int) -> Iterator[Field]:
    """Go through the fields of a file; whoever asks leaves it where the next one begins."""
    for _ in range(_MOST_FIELDS):
        if (at := file.tell()) >= size:
            return
        head = memoryview(file.read(20))  # a key and a length have 10 bytes each at most
        key, after = _varint(head, 0)
        begin, end = _extent(head, key & 7, after, size - at)
        yield key >> 3, key & 7, at + begin, at + end
    raise _DamagedError(f"has more than {_MOST_FIELDS} parts")


def _extent(data: memoryview, way: int, at: int, size: int) -> tuple[int, int]:
    """Tell where in a message of a size the value begins and ends that stands after a key."""
    begin = end = at
    if way == _BYTES:
        length, begin = _varint(data, at)
        end = begin + length
    elif way == _VARINT:
        _, end = _varint(data, at)
    elif way in (_EIGHT, _FOUR):
        end = at + (8 if way == _EIGHT else 4)
    else:
        raise _DamagedError("it does not consist of fields")
    if end > size:
        raise _DamagedError("it is cut off")
    return begin, end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read a number, 7 bits a byte from the low ones on, and tell where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _DamagedError("it is cut off")


def _note(data: memoryview) -> tuple[str, str]:
    """Read a note: fields 1 and 2 are its key and its text."""
    parts = {number: data[begin:end] for number, way, begin, end in _fields(data) if way == _BYTES}
    return str(parts.get(1, b""), "utf-8"), str(parts.get(2, b""), "utf-8")


def _field(key: str, text: str) -> bytes:
    """Write a note as a field of a file."""
    parts = b"".join(_of_bytes(number, part.encode()) for number, part in ((1, key), (2, text)))
    return _of_bytes(_NOTE, parts)


def _of_bytes(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _as_varint(len(value)) + value


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
