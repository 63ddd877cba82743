"""Import OpenVINO without its model converter.

``import openvino`` imports that converter for one function, which geoseg does not call: it takes longer than all the
rest of OpenVINO, and sends telemetry over the internet. So a stand-in takes its place; whoever asks for it gets the
real one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from threading import Event
from typing import Any, TypeVar

from geoseg.storage.stand_in import StandIn, standing_in

Found = TypeVar("Found")
_CONVERTER, _WANTED = "openvino.tools.ovc", "convert_model"


def _without_converter() -> AbstractContextManager[None]:
    """Let OpenVINO import its converter without loading it."""
    if "openvino" in sys.modules:
        return nullcontext()
    tools, converter = StandIn(_CONVERTER.rpartition(".")[0]), StandIn(_CONVERTER)
    tools.__path__ = []

    def convert_model(*given: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(_CONVERTER), _WANTED)(*given, **options)

    setattr(converter, _WANTED, convert_model)
    return standing_in(tools, converter)


with _without_converter():
    import openvino

__all__ = ["computes_bf16", "core", "openvino", "with_signal_stack_kept"]


def with_signal_stack_kept(work: Callable[[], Found], stop: Event | None = None) -> Found:
    """Call a function in a thread of its own and return its result, so that signal handling survives it.

    OpenVINO's CPU plugin gives the thread that loads it another stack for signal handlers, and unmaps it when
    it is unloaded. It puts the previous stack back only where it is unloaded by the same thread, last in, first out.
    Else the next signal that Python handles, Ctrl-C or the end of a child process, ends the process by SIGSEGV.

    Parameters
    ----------
    work : callable
        Loads the plugin.
    stop : threading.Event, optional
        Set when this thread is interrupted; this thread then waits until `work` has noticed it and returned.
    """
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(work).result()
        except KeyboardInterrupt:
            if stop is not None:
                stop.set()
            raise


@cache
def core() -> openvino.Core:
    """Return the OpenVINO core, one for the whole process, with the CPU plugin loaded."""

    def loaded() -> openvino.Core:
        made = openvino.Core()
        made.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return made

    return with_signal_stack_kept(loaded)


def computes_bf16() -> bool:
    """Return whether the CPU has bfloat16 instructions."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
