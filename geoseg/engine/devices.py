"""The devices of this machine, found without importing torch where it could not use any.

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
    """Return how many CPU threads a network takes: torch's number, which is known without torch, too.

    That is what OMP_NUM_THREADS says, else the cores that this process may use. A core with two hardware threads
    counts once, as torch counts it: equal runs are equal work whether or not torch has been imported.
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
    """Name the core that a CPU of Linux is a hardware thread of; itself, where the system does not tell."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


@cache
def _driver_is_there() -> bool:
    """Whether this machine has a driver of GPUs that torch computes on; without one no GPU can be used."""
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
    """Whether there is a torch; it is not imported for the answer."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    return importlib.util.find_spec("torch") is not None


def _torch() -> Any:
    """Return torch where it may find a GPU, else None: importing it takes longer than many a prediction."""
    if not _is_installed() or ("torch" not in sys.modules and not _driver_is_there()):
        return None
    import torch

    return torch


def gpu_names() -> list[str]:
    """Names of the GPUs that CUDA finds."""
    torch = _torch()
    return [] if torch is None else [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def why_no_gpu() -> str | None:
    """One line on why no GPU is used, or None where one is."""
    if _has_cuda() or _has_mps():
        return None
    if not _is_installed():
        return _NOT_INSTALLED
    torch = _torch()
    if torch is None:
        return "there is no driver of a GPU that torch computes on"
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
    """Return the device that ``auto`` means here, or the asked one.

    Raises
    ------
    OptionError
        If the asked one is not there.
    """
    if asked == "auto":
        return "cuda" if _has_cuda() else "mps" if _has_mps() else "cpu"
    if asked == "cuda" and not _has_cuda():
        raise OptionError(f"device cuda cannot be used: {why_no_gpu()}; choose cpu")
    if asked == "mps" and not _has_mps():
        why = "this is no Apple GPU" if _is_installed() else _NOT_INSTALLED
        raise OptionError(f"device mps cannot be used: {why}; choose cpu")
    return asked


def check_devices(device: str, count: int) -> None:
    """Raise OptionError if there are not so many of a kind; processes on the CPU share its cores."""
    there = {"cuda": len(gpu_names()), "cpu": count}.get(device, 1)
    if count > there:
        raise OptionError(
            f"devices is {count}, but of {device} this machine has {there}; ask for {there} at most"
        )


def choose_precision(asked: str, device: str) -> str:
    """Return the precision that ``auto`` means on a device, or the asked one."""
    if asked != "auto":
        return asked
    if device == "cuda":
        return "bf16" if _torch().cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "cpu":
        from geoseg.engine.openvino_network import computes_bf16

        return "bf16" if computes_bf16() else "fp32"
    return "fp32"
