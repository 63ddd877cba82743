"""The card of a model file, or of an exported model, read without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.card import CARD_KEY, Card
from geoseg.models.exported import is_exported, read_exported_card
from geoseg.storage.foreign_text import read_json
from geoseg.storage.printable import shown

_EXPECTED = "expected a .safetensors that geoseg wrote (geoseg train, geoseg model new, geoseg model import)"
_IMPORT = "make a model file of it with `geoseg model import`"
_LENGTH_BYTES = 8
_LONGEST_HEADER = 16 * 2**20


def read_card(path: Path | str) -> Card:
    """Read the card of a model file or an exported model, without reading its weights.

    Raises
    ------
    ModelError
        If the file cannot be read, is not a model file, or holds no card of a format that this geoseg knows.
    """
    path = Path(path)
    if is_exported(path):
        return read_exported_card(path)
    metadata = read_header(path).get("__metadata__")
    text = metadata.get(CARD_KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(text, str):
        raise ModelError(f"{path}: holds weights but no card (bands, classes, normalisation); {_IMPORT}")
    return Card.from_json(text, path)


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header of a safetensors file: 8 bytes of length (little-endian), then the JSON."""
    refusal = f"{path}: is not a geoseg model file"
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(_LONGEST_HEADER, size - _LENGTH_BYTES):
                if _looks_pickled(path):
                    raise ModelError(f"{refusal} but a torch checkpoint; {_IMPORT}")
                raise ModelError(f"{refusal}, or is cut off or damaged; {_EXPECTED}")
            header = read_json(file.read(length))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{refusal}, or is damaged: its header is not JSON; {_EXPECTED}") from error
    if not isinstance(header, dict):
        raise ModelError(
            f"{refusal}: its header is a {type(header).__name__}, not a JSON object; {_EXPECTED}"
        )
    for name, entry in header.items():
        if name != "__metadata__" and not _is_tensor(entry):
            raise ModelError(
                f"{path}: its header entry of the weights {shown(name)} is damaged, expected dtype, shape and "
                "data_offsets; fetch it again"
            )
    return header


def _is_tensor(entry: object) -> bool:
    """Return whether an entry of a header gives the dtype, shape and offsets of a tensor."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    lists = entry.get("shape"), entry.get("data_offsets")
    return all(
        isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
        for numbers in lists
    )


def _looks_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(2)
    return start in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")
