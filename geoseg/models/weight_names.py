"""What kind of weights a name means."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGED: Final = "packaged"
PACKAGED_ENCODER: Final = "tu-tf_efficientnet_lite0"
"""Encoder whose weights are part of geoseg."""
NONE: Final = "none"
"""Asks for random weights."""
IMAGENET: Final = "imagenet"
SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_TORCHGEO: Final = "_Weights."


def is_file(name: str | Path) -> bool:
    """Whether weights are those of a file; everything else is a name."""
    return isinstance(name, Path) or name.lower().endswith(SUFFIXES)


def is_of_torchgeo(name: str | Path) -> bool:
    """Whether a name is one of torchgeo's: ``ResNet50_Weights.SENTINEL2_ALL_MOCO``."""
    return not is_file(name) and _TORCHGEO in str(name)


def located(name: str, folder: Path) -> str | Path:
    """Return weights as they are named in a file of a folder: files are seen from there."""
    return folder / name if is_file(name) else name
