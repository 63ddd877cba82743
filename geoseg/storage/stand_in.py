"""Modules that are stood in for while another one is imported, which wants them although it hardly uses them.

Some libraries import at their top what few of their callers need, and that takes longer than all else. A stand-in
answers in place of such a module, and gives way to the real one as soon as somebody wants more than it has.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """A module that is not loaded before anybody wants something of it.

    What it is given as attributes it answers itself.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of any module
            raise AttributeError(name)
        _leave(self.__name__)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def standing_in(*modules: StandIn) -> Iterator[None]:
    """Put these modules' stand-ins where Python looks for imported modules, for the length of a ``with`` block.

    Modules that are loaded already are left in place.
    """
    missing = [module for module in modules if module.__name__ not in sys.modules]
    sys.modules.update({module.__name__: module for module in missing})
    try:
        yield
    finally:
        for module in missing:
            _leave(module.__name__)


def _leave(name: str) -> None:
    """Take the stand-ins of a package out of the way of the real one."""
    package = name.split(".")[0]
    for each, module in list(sys.modules.items()):
        if isinstance(module, StandIn) and each.split(".")[0] == package:
            del sys.modules[each]
