"""Read weights written by other programs, without running any code in them.

A ``.pt``, ``.pth`` or ``.ckpt`` file is a pickle, which can hold code. It is read by torch's reader of weights,
which accepts tensors, plain numbers, texts and containers and refuses everything else; no option changes that.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from geoseg.errors import ModelError
from geoseg.models.card import CARD_KEY
from geoseg.models.card_file import read_header
from geoseg.models.exported import is_onnx
from geoseg.models.one_line import first_line
from geoseg.models.onnx_network import OnnxNetwork, read_onnx
from geoseg.storage.foreign_text import read_json

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "weights")
_PREFIXES: Final = ("module.", "model.", "net.", "network.", "_orig_mod.")
_NOT_OF_THE_NETWORK: Final = (
    "criterion.",
    "loss.",
    "loss_fn.",
    "train_metrics.",
    "val_metrics.",
    "test_metrics.",
)
_PICKLES: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LONGEST_CONFIG: Final = 2**20
_IN_A_FOLDER: Final = ("model.safetensors", "pytorch_model.bin", "model.pth")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForeignWeights:
    """Tensors of a network and the settings stored with them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Tensors by name, without the prefixes of wrappers (``module.``, ``model.``, ...).
    settings : mapping
        Settings of the network in the file, with the names of the program that wrote it.
    lightning : bool
        Whether it is a Lightning checkpoint.
    onnx : OnnxNetwork, optional
        The graph in the file, if it is an ONNX file.
    """

    tensors: Mapping[str, torch.Tensor]
    settings: Mapping[str, Any]
    lightning: bool = False
    onnx: OnnxNetwork | None = None


def read_weights(path: Path) -> ForeignWeights:
    """Read a file of weights, or a folder written by ``save_pretrained``.

    Raises
    ------
    ModelError
        If it cannot be read, holds other objects than weights and plain values, or holds no weights.
    """
    if path.is_dir():
        return _read_folder(path)
    if is_onnx(path):
        network = read_onnx(path)
        tensors = {name: torch.from_numpy(numbers) for name, numbers in network.tensors.items()}
        return ForeignWeights(tensors=_plain(path, tensors), settings={}, onnx=network)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if start.startswith(_PICKLES):
        return _unwrapped(path, _load_pickle(path))
    return ForeignWeights(tensors=_plain(path, _load_safetensors(path)), settings={})


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_folder(folder: Path) -> ForeignWeights:
    config = folder / "config.json"
    try:
        if config.stat().st_size > _LONGEST_CONFIG:
            raise ModelError(
                f"{config}: is larger than {_LONGEST_CONFIG} bytes, expected a small JSON file with the "
                "settings of a network"
            )
        settings = read_json(config.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: has no config.json, expected a folder written by save_pretrained"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{config}: cannot be read ({first_line(error)})") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{config}: is a {type(settings).__name__}, expected a JSON object")
    for name in _IN_A_FOLDER:
        if (folder / name).is_file():
            return ForeignWeights(tensors=read_weights(folder / name).tensors, settings=settings)
    raise ModelError(f"{folder}: has no weights, expected {' or '.join(_IN_A_FOLDER)} beside config.json")


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        metadata = read_header(path).get("__metadata__")
    except ModelError as error:
        raise ModelError(
            f"{path}: is not a file of weights, expected .safetensors, a .pt, .pth or .ckpt file of torch, "
            ".onnx, or a "
            "folder written by save_pretrained"
        ) from error
    if isinstance(metadata, Mapping) and CARD_KEY in metadata:
        raise ModelError(
            f"{path}: is already a geoseg model file; use it as it is, or start a training from it (model.start)"
        )
    try:
        tensors: Mapping[str, Any] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: its weights cannot be read ({first_line(error)})") from error
    return tensors


def _load_pickle(path: Path) -> object:
    """Read a file saved by torch; anything but weights and plain values is refused, and no code is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual pickles, which are read or refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        held = _foreign_objects(path)
        what = f" ({', '.join(held[:3])}{', ...' if len(held) > 3 else ''})" if held else ""
        raise ModelError(
            f"{path}: holds Python objects{what}, which could run code and are never loaded; in the program "
            "that made it, save "
            "only its weights: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    # A damaged archive raises errors of any type.
    except Exception as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{path}: is a compiled TorchScript program, expected weights; in the program that made it, "
                "save them: "
                "torch.save(model.state_dict(), 'weights.pth')"
            ) from error
        raise ModelError(f"{path}: is damaged or not a torch checkpoint ({first_line(error)})") from error


def _foreign_objects(path: Path) -> list[str]:
    """Return the names of the classes and functions in a checkpoint, found without loading it."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # only adds detail to an error message
        return []


def _unwrapped(path: Path, content: object) -> ForeignWeights:
    """Find the weights in the object that a training program saved."""
    if isinstance(content, Mapping) and not _is_state(content):
        for key in _WRAPPERS:
            inner = content.get(key)
            if isinstance(inner, Mapping) and _is_state(inner):
                settings = {k: v for k, v in content.items() if isinstance(v, str | int | float)}
                hyper = content.get("hyper_parameters")
                settings.update(hyper if isinstance(hyper, Mapping) else {})
                lightning = "pytorch-lightning_version" in content
                return ForeignWeights(tensors=_plain(path, inner), settings=settings, lightning=lightning)
    if not isinstance(content, Mapping) or not _is_state(content):
        raise ModelError(
            f"{path}: holds no weights, expected a mapping of names to tensors, or one under the key "
            f"{', '.join(_WRAPPERS)}"
        )
    return ForeignWeights(tensors=_plain(path, content), settings={})


def _is_state(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()
    )


def _plain(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the network's tensors under their names without prefixes."""
    bare: dict[str, torch.Tensor] = {}
    for name, tensor in _of_the_network(tensors):
        if name in bare:
            raise ModelError(f"{path}: holds more than one network ({name} occurs twice), expected one")
        bare[name] = tensor
    return bare


def _of_the_network(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        if name.startswith(_NOT_OF_THE_NETWORK):
            continue
        bare = name
        while prefix := next((p for p in _PREFIXES if bare.startswith(p)), None):
            bare = bare.removeprefix(prefix)
        yield bare, tensor
