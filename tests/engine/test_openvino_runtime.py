"""Loading OpenVINO leaves the thread that asks for it as it was, so that Ctrl-C still ends work and not the process."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.engine.conversion import converted
from geoseg.engine.openvino_runtime import core
from geoseg.engine.quantized import Compute, Demand, quantized

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO has a signal stack on Linux alone")


class SignalStack(ctypes.Structure):
    """Linux's stack_t."""

    _fields_ = [("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def signal_stack() -> tuple[int | None, int, int]:
    """Place, flags and size of the stack on which this thread runs signal handlers."""
    found = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.place, found.flags, found.size


def images(count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    generator = np.random.default_rng(1)
    return [generator.normal(size=(1, 3, 32, 32)).astype(np.float32) for _ in range(count)]


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(each, 8, 3, padding=1) for each in (3, *[8] * 10)]
    return nn.Sequential(*layers, nn.Conv2d(8, 2, 1)).eval()


def test_what_computes_is_loaded_elsewhere() -> None:
    before = signal_stack()
    loaded = core.__wrapped__()
    assert signal_stack() == before
    del loaded
    assert signal_stack() == before


def measure(score: Callable[[int], float]) -> int:
    """Measure a network that is too bad in int8, whose layers are tried one by one; return how often it was scored."""
    calls = 0

    def scored(_: Compute, places: Sequence[int]) -> float:
        nonlocal calls
        calls += 1
        return score(calls)

    with suppress(KeyboardInterrupt):
        quantized(
            converted(network(), (3, 32, 32)),
            images(2),
            Demand(score=scored, places=(0, 1), max_drop=0.1),
        )
    return calls


@pytest.mark.long
def test_measuring_keeps_the_signal_stack() -> None:
    """It loads OpenVINO more than once, and unloads it out of order."""
    before = signal_stack()
    assert measure(lambda call: 1.0 if call == 1 else 0.0) > 5
    assert signal_stack() == before


def test_a_measurement_ends_when_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr("geoseg.engine.quantized.Event", lambda: stop)

    def interrupted(call: int) -> float:
        if call == 1:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert stop.wait(timeout=60)
        return 1.0 if call == 1 else 0.0

    assert measure(interrupted) < 4  # more than 5 else
