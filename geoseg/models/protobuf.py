"""Read and write Protocol Buffers messages field by field, without a package for them.

A message is a sequence of fields, each a key (its number and wire type) and a value, which may itself be a message:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

MOST_FIELDS: Final = 10**6
"""Maximum number of fields; a network with hundreds of layers has some ten thousand."""
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
"""Wire types: a number of variable length, 8 or 4 bytes, or bytes preceded by their length."""

Field = tuple[int, int, int, int]
"""Number and wire type of a field, and where its value begins and ends."""


class DamagedError(ValueError):
    """Bytes that cannot be parsed as fields."""


def fields(data: memoryview) -> Iterator[Field]:
    """Yield the fields of a message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        begin, end = _extent(data, key & 7, at, len(data))
        yield key >> 3, key & 7, begin, end
        at = end


def fields_of(file: BinaryIO, size: int) -> Iterator[Field]:
    """Yield the fields of a file; the caller may read a value, and must leave the file where the next field
    begins.
    """
    for _ in range(MOST_FIELDS):
        if (at := file.tell()) >= size:
            return
        head = memoryview(file.read(20))  # a key and a length have 10 bytes each at most
        key, after = varint(head, 0)
        begin, end = _extent(head, key & 7, after, size - at)
        yield key >> 3, key & 7, at + begin, at + end
    raise DamagedError(f"has more than {MOST_FIELDS} parts")


def _extent(data: memoryview, way: int, at: int, size: int) -> tuple[int, int]:
    """Return where the value of a field begins and ends, given the position after its key."""
    begin = end = at
    if way == BYTES:
        length, begin = varint(data, at)
        end = begin + length
    elif way == VARINT:
        _, end = varint(data, at)
    elif way in (EIGHT, FOUR):
        end = at + (8 if way == EIGHT else 4)
    else:
        raise DamagedError("it is not a valid Protocol Buffers message")
    if end > size:
        raise DamagedError("it is cut off")
    return begin, end


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read a variable-length integer (7 bits per byte, low bits first) and return it with its end."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise DamagedError("it is cut off")


def of_bytes(number: int, value: bytes) -> bytes:
    """Encode a field that holds bytes."""
    return bytes([number << 3 | BYTES]) + _as_varint(len(value)) + value


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
