"""Where training computes, and with how many bits."""

from __future__ import annotations

from typing import Literal

import torch

from geoseg.errors import ConfigError

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16"]


def choose_device(wanted: str) -> Device:
    """Return the device that `auto` means here, or the wanted one.

    Raises
    ------
    ConfigError
        If the wanted one is not there.
    """
    there: dict[str, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted != "auto" and not there[wanted]:
        raise ConfigError(
            f"train.device is {wanted}, and torch {torch.__version__} finds none here; use auto"
        )
    for device in ("cuda", "mps", "cpu"):
        if there[device] and wanted in ("auto", device):
            return device
    raise AssertionError("there is always a CPU")


def choose_precision(wanted: str, device: Device) -> Precision:
    """Return bf16 where `auto` finds hardware for it (CPUs with AVX512-BF16 or AMX, GPUs since Ampere)."""
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "fp32"
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch has no public name for it yet.
        fast = device == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bf16" if fast else "fp32"
