"""Tell what kind of weights a name refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGED: Final = "packaged"
PACKAGED_ENCODER: Final = "tu-tf_efficientnet_lite0"
"""Encoder whose weights are part of geoseg."""
NONE: Final = "none"
"""Requests random weights."""
IMAGENET: Final = "imagenet"
SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_TORCHGEO: Final = "_Weights."


def is_file(name: str | Path) -> bool:
    """Return whether weights are given as a file; everything else is a name."""
    return isinstance(name, Path) or name.lower().endswith(SUFFIXES)


def is_of_torchgeo(name: str | Path) -> bool:
    """Return whether a name is one of torchgeo's, such as ``ResNet50_Weights.SENTINEL2_ALL_MOCO``."""
    return not is_file(name) and _TORCHGEO in str(name)


def located(name: str, folder: Path) -> str | Path:
    """Resolve weights named in a file of a folder: file names are relative to that folder."""
    return folder / name if is_file(name) else name
