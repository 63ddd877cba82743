"""Weights as a file holds them: read, hashed and converted to tensors; only the last needs torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from geoseg.errors import ModelError
from geoseg.models.one_line import first_line

if TYPE_CHECKING:
    import torch

    from geoseg.models.card import WeightPrecision

_DTYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "U64": "uint64",
    "I32": "int32",
    "U32": "uint32",
    "I16": "int16",
    "U16": "uint16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
"""torch's names for the types of safetensors."""


class StoredTensor(NamedTuple):
    """A tensor as a file holds it.

    Parameters
    ----------
    dtype : str
        torch's name of the type: ``float32``, ``bfloat16``.
    shape : tuple of int
        Size of each dimension.
    data : bytearray or memoryview
        Values, little-endian, in row-major order.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytearray | memoryview


def read_weights(path: Path) -> dict[str, StoredTensor]:
    """Read the tensors of a safetensors file by name.

    Raises
    ------
    ModelError
        If the file is damaged, or holds a type that torch does not know.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        return {
            name: StoredTensor(_DTYPES[each["dtype"]], tuple(each["shape"]), each["data"])
            for name, each in found
        }
    except KeyError as error:
        raise ModelError(f"{path}: its weights cannot be read (their type {error} is not known)") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: its weights cannot be read ({first_line(error)})") from error


def as_stored(tensors: Mapping[str, torch.Tensor]) -> dict[str, StoredTensor]:
    """Convert torch tensors to the form in which a file holds them; memory is shared if they are dense and on
    the CPU.
    """
    import torch

    found = {}
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        # A view as bytes works for every dtype, also for those numpy does not know; a scalar has no view.
        data = dense.reshape(-1).view(torch.uint8).numpy().data
        found[name] = StoredTensor(str(dense.dtype).removeprefix("torch."), tuple(dense.shape), data)
    return found


def stored_copy(name: str, tensor: torch.Tensor, precision: WeightPrecision) -> torch.Tensor:
    """Copy a tensor as a file will hold it: dense, on the CPU, not shared.

    Parameters
    ----------
    name : str
        Name of the tensor, for messages.
    tensor : Tensor
        Weights of a network.
    precision : str
        ``fp16`` halves the bytes of floats of two or more dimensions; the others stay as they are.

    Raises
    ------
    ModelError
        If a number is not finite, or too large for float16.
    """
    import torch

    copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if copy.is_floating_point() and not bool(torch.isfinite(copy).all()):
        raise ModelError(f"weights {name!r} hold NaN or infinity; the training that made them went wrong")
    if precision == "fp16" and copy.is_floating_point() and copy.ndim > 1:
        copy = copy.half()
        if not bool(torch.isfinite(copy).all()):
            raise ModelError(f"weights {name!r} are too large for fp16 (65504); store them as fp32")
    return copy


def as_tensors(weights: Mapping[str, StoredTensor]) -> dict[str, torch.Tensor]:
    """Convert stored weights to torch tensors that share their memory."""
    import torch

    found = {}
    for name, (kind, shape, data) in weights.items():
        dtype = getattr(torch, kind)
        empty = not len(data)  # torch.frombuffer refuses empty buffers
        flat = torch.empty(0, dtype=dtype) if empty else torch.frombuffer(data, dtype=dtype)
        found[name] = flat.reshape(shape)
    return found


def digest_of(weights: Mapping[str, StoredTensor]) -> str:
    """Return the digest of tensors: name, dtype, shape and bytes of each, in order of names."""
    found = hashlib.sha256()
    for name in sorted(weights):
        dtype, shape, data = weights[name]
        found.update(f"{name} torch.{dtype} {shape}\n".encode())
        found.update(data)
    return found.hexdigest()


def widened(weights: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return weights as a network computes with them: 16-bit floats become float32, with equal values."""
    return {name: _widened(each) for name, each in weights.items()}


def _widened(weights: StoredTensor) -> StoredTensor:
    if weights.dtype == "float16":
        numbers = np.frombuffer(weights.data, dtype=np.float16).astype(np.float32)
    elif weights.dtype == "bfloat16":  # the upper half of a float32
        numbers = (np.frombuffer(weights.data, dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        return weights
    return StoredTensor("float32", weights.shape, numbers.view(np.uint8).data)
