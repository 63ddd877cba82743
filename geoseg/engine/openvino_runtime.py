"""OpenVINO, imported without the converter of models that comes with it.

``import openvino`` imports that converter for one function, which geoseg does not call: it takes longer than all the
rest of OpenVINO, and reports its use to its makers over the internet. So it is stood in for; what asks for it gets the
real one.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from geoseg.storage.stand_in import StandIn, standing_in

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

__all__ = ["openvino"]
