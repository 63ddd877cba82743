"""Lazy substitutes for slow modules that other libraries import but rarely use.

Some libraries import modules at their top that few callers need and that take long to load. A stand-in takes the
place of such a module and gives way to the real one as soon as an attribute is used that it does not have.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """Substitute of a module that loads the real one when an unknown attribute is used.

    Attributes that are set on it are answered without loading.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import system of every module
            raise AttributeError(name)
        _leave(self.__name__)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def standing_in(*modules: StandIn) -> Iterator[None]:
    """Register stand-ins in ``sys.modules`` for the length of a ``with`` block.

    Modules that are already loaded are left in place.
    """
    missing = [module for module in modules if module.__name__ not in sys.modules]
    sys.modules.update({module.__name__: module for module in missing})
    try:
        yield
    finally:
        for module in missing:
            _leave(module.__name__)


def _leave(name: str) -> None:
    """Remove the stand-ins of a package from ``sys.modules``, so that the real modules can load."""
    package = name.split(".")[0]
    for each, module in list(sys.modules.items()):
        if isinstance(module, StandIn) and each.split(".")[0] == package:
            del sys.modules[each]
