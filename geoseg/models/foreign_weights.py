"""Weights that other programs have written, read without running anything in them.

A ``.pt``, ``.pth`` or ``.ckpt`` file is a pickle, which can hold code. It is read by torch's reader of weights,
which knows tensors, plain numbers, texts and containers and refuses everything else; there is no way round it.
"""

from __future__ import annotations

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
from geoseg.models.card import CARD_KEY, read_header
from geoseg.models.one_line import first_line
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
    """Tensors of a network and what was written beside them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        By name, without what wrappers put before it (``module.``, ``model.``, ...).
    settings : mapping
        What the file says of its network, in the words of the program that wrote it.
    lightning : bool
        Whether it is a checkpoint of Lightning.
    """

    tensors: Mapping[str, torch.Tensor]
    settings: Mapping[str, Any]
    lightning: bool = False


def read_weights(path: Path) -> ForeignWeights:
    """Read a file of weights, or a folder that ``save_pretrained`` made.

    Raises
    ------
    ModelError
        If it cannot be read, holds more than weights and plain values, or no weights.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if start.startswith(_PICKLES):
        return _unwrapped(path, _load_pickle(path))
    return ForeignWeights(tensors=_plain(path, _load_safetensors(path)), settings={})


def _read_folder(folder: Path) -> ForeignWeights:
    config = folder / "config.json"
    try:
        if config.stat().st_size > _LONGEST_CONFIG:
            raise ModelError(
                f"{config}: is larger than {_LONGEST_CONFIG} bytes, expected the settings of a network"
            )
        settings = read_json(config.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: has no config.json, expected a folder that save_pretrained made"
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
            f"{path}: is no file of weights, expected .safetensors, a .pt, .pth or .ckpt file of torch, or a folder "
            "of save_pretrained"
        ) from error
    if isinstance(metadata, Mapping) and CARD_KEY in metadata:
        raise ModelError(
            f"{path}: is a geoseg model file already; use it as it is, or begin with it (model.start)"
        )
    try:
        tensors: Mapping[str, Any] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: its weights cannot be read ({first_line(error)})") from error
    return tensors


def _load_pickle(path: Path) -> object:
    """Read what torch has saved; anything but weights and plain values is refused, nothing of it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles, which are then read or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        held = _foreign_objects(path)
        what = f" ({', '.join(held[:3])}{', ...' if len(held) > 3 else ''})" if held else ""
        raise ModelError(
            f"{path}: holds Python objects{what}, which could run code and are never loaded; where it was made, save "
            "its weights alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    # A damaged archive ends in whatever the reader stumbles over.
    except Exception as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{path}: is a compiled TorchScript program, expected weights; where it was made, save them: "
                "torch.save(model.state_dict(), 'weights.pth')"
            ) from error
        raise ModelError(f"{path}: is damaged or no checkpoint of torch ({first_line(error)})") from error


def _foreign_objects(path: Path) -> list[str]:
    """Names of the classes and functions that a checkpoint asks for; found by reading, not by loading."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # only to say more in a refusal
        return []


def _unwrapped(path: Path, content: object) -> ForeignWeights:
    """Find the weights in what a training program has saved around them."""
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
            f"{path}: holds no weights, expected tensors by name or these under {', '.join(_WRAPPERS)}"
        )
    return ForeignWeights(tensors=_plain(path, content), settings={})


def _is_state(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()
    )


def _plain(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the network's tensors under their bare names."""
    bare: dict[str, torch.Tensor] = {}
    for name, tensor in _of_the_network(tensors):
        if name in bare:
            raise ModelError(f"{path}: holds more than one network ({name} is there twice), expected one")
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
