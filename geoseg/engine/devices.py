"""Find the devices of this machine, importing torch only where it might use one.

Importing torch takes longer than many a prediction on the CPU, which OpenVINO computes. A GPU can only be there where
its driver is, so torch is asked for one where there is a driver, or where it has been imported anyway.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from geoseg.errors import OptionError

_NOT_INSTALLED = "GPUs need the package torch, which is not installed (pip install torch)"


def cpu_threads() -> int:
    """Return the number of CPU threads of a network: the same as torch's, also without importing torch.

    That is what OMP_NUM_THREADS says, else the cores that this process may use. A core with two hardware threads
    counts once, as torch counts it, so that results do not depend on whether torch has been imported.
    """
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if not hasattr(os, "sched_getaffinity"):
        import psutil

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return len({_core_of(cpu) for cpu in os.sched_getaffinity(0)})


def _core_of(cpu: int) -> str:
    """Return a key of the physical core of a Linux CPU; the CPU's own number where the system does not tell."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


@cache
def _driver_is_there() -> bool:
    """Return whether this machine has a GPU driver that torch could use."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if any(Path(name).exists() for name in ("/proc/driver/nvidia", "/dev/kfd")):  # CUDA, ROCm
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _is_installed() -> bool:
    """Return whether torch is installed, without importing it."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    return importlib.util.find_spec("torch") is not None


def _torch() -> Any:
    """Return the module torch if it may find a GPU, else None: importing it takes longer than many predictions."""
    if not _is_installed() or ("torch" not in sys.modules and not _driver_is_there()):
        return None
    import torch

    return torch


def gpu_names() -> list[str]:
    """Return the names of the GPUs that CUDA finds."""
    torch = _torch()
    return [] if torch is None else [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def why_no_gpu() -> str | None:
    """Return one line on why no GPU is used, or None if one is."""
    if _has_cuda() or _has_mps():
        return None
    if not _is_installed():
        return _NOT_INSTALLED
    torch = _torch()
    if torch is None:
        return "no driver was found for a GPU that torch supports"
    if torch.version.cuda is None:
        return "this build of torch has no CUDA support"
    return "torch finds no usable CUDA device (no GPU, or its driver is missing or too old)"


def _has_cuda() -> bool:
    torch = _torch()
    return torch is not None and bool(torch.cuda.is_available())


def _has_mps() -> bool:
    torch = _torch()
    return torch is not None and bool(torch.backends.mps.is_available())


def choose_device(asked: str) -> str:
    """Return the requested device, or the best one of this machine for ``auto``.

    Raises
    ------
    OptionError
        If the requested device cannot be used.
    """
    if asked == "auto":
        return "cuda" if _has_cuda() else "mps" if _has_mps() else "cpu"
    if asked == "cuda" and not _has_cuda():
        raise OptionError(f"device cuda cannot be used: {why_no_gpu()}; choose cpu")
    if asked == "mps" and not _has_mps():
        why = "this is not an Apple GPU" if _is_installed() else _NOT_INSTALLED
        raise OptionError(f"device mps cannot be used: {why}; choose cpu")
    return asked


def check_devices(device: str, count: int) -> None:
    """Raise OptionError if the machine has fewer than `count` devices; on the CPU, processes share its cores."""
    there = {"cuda": len(gpu_names()), "cpu": count}.get(device, 1)
    if count > there:
        raise OptionError(
            f"devices is {count}, but of {device} this machine has {there}; ask for {there} at most"
        )


def choose_precision(asked: str, device: str) -> str:
    """Return the requested precision, or the one that ``auto`` means on a device."""
    if asked != "auto":
        return asked
    if device == "cuda":
        return "bf16" if _torch().cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "cpu":
        from geoseg.engine.openvino_runtime import computes_bf16

        return "bf16" if computes_bf16() else "fp32"
    return "fp32"
