"""OpenVINO, imported without the converter of models that comes with it.

``import openvino`` imports that converter for one function, which geoseg does not call: it takes longer than all the
rest of OpenVINO, and reports its use to its makers over the internet. So it is stood in for; what asks for it gets the
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

__all__ = ["core", "openvino", "with_signal_stack_kept"]


def with_signal_stack_kept(work: Callable[[], Found], stop: Event | None = None) -> Found:
    """Call a function in a thread that ends with it, and return what it returns.

    OpenVINO's part for CPUs gives the thread that loads it another stack for signal handlers, and unmaps that one when
    it is unloaded. It puts the previous stack back only where it is unloaded by the same thread, last in, first out.
    Else the next signal that Python handles, Ctrl-C or the end of a child process, ends the process by SIGSEGV.

    Parameters
    ----------
    work : callable
        What loads that part.
    stop : threading.Event, optional
        Set when this thread is interrupted, which then waits until `work` has seen it and ends.
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
    """Return what reads and compiles graphs, one for the whole process, with the part for CPUs loaded."""

    def loaded() -> openvino.Core:
        made = openvino.Core()
        made.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return made

    return with_signal_stack_kept(loaded)
