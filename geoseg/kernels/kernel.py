"""Kernels: functions that numba compiles once, and that later processes call without numba.

Importing numba and loading its own cache takes a second, longer than vectorizing a small map. So the machine code of
a kernel is cached as an object file (`geoseg.kernels.cache`), which LLVM alone loads into the process; numba is
imported only to compile a kernel that is not in the cache (`geoseg.kernels.objects`).

A kernel takes arrays, numbers, flags, and named tuples of these, and returns nothing, a number, a flag, or a tuple of
numbers, as annotated. It allocates no memory and raises no errors: arrays to fill are passed to it.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import threading
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from importlib import import_module
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from geoseg.kernels.cache import read_object, write_object
from geoseg.kernels.machine import Entry, loaded

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)
_lock = threading.RLock()


class Kernel(Generic[P, R]):
    """Function that runs as machine code when called from Python or from other kernels.

    Parameters
    ----------
    function : callable
        Python source of the kernel.
    inline : bool
        Whether it is inlined into the kernels that call it.
    """

    def __init__(self, function: Callable[P, R], *, inline: bool = False) -> None:
        update_wrapper(self, function)
        self._function = cast("FunctionType", function)
        self.name = f"{function.__module__}.{function.__name__}"
        self._inline = inline
        self._entries: dict[str, Entry | None] = {}
        returned = str(function.__annotations__["return"])
        self._returned = 0 if returned == "None" else returned.count(",") + 1
        self._tuple = returned.startswith("tuple[")

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Call the kernel, compiling it or loading it from the cache for arguments of new types."""
        assert not named, "kernels take arguments by their places"
        words: list[int] = []
        form = ",".join([_flatten(each, words) for each in arguments])
        if form not in self._entries:
            with _lock:
                self._entries[form] = self._entry(form, arguments)
        entry = self._entries[form]
        if entry is None:
            return cast("R", self.dispatcher(*arguments))
        packed = np.array(words + [0] * self._returned, np.int64)
        entry(packed.ctypes.data, packed.ctypes.data)
        found = packed[len(words) :].tolist()
        return cast("R", tuple(found) if self._tuple else found[0] if found else None)

    @property
    def returned(self) -> tuple[int, bool]:
        """Count of returned numbers, and whether they form a tuple."""
        return self._returned, self._tuple

    @cached_property
    def dispatcher(self) -> Any:
        """The function compiled by numba."""
        import numba

        function = self._function
        known = {name: function.__globals__.get(name) for name in function.__code__.co_names}
        called = {name: each.dispatcher for name, each in known.items() if isinstance(each, Kernel | Part)}
        plain = FunctionType(function.__code__, {**function.__globals__, **called}, function.__name__)
        plain.__module__, plain.__qualname__ = function.__module__, function.__qualname__
        options = {"inline": "always"} if self._inline else {}
        return numba.njit(nogil=True, error_model="numpy", **options)(plain)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the code, including the kernels and constants that it uses."""
        code, found = self._function.__code__, hashlib.sha256()
        for part in (code.co_code.hex(), code.co_consts, code.co_names, code.co_varnames):
            found.update(repr(part).encode())
        for name in code.co_names:
            value = self._function.__globals__.get(name)
            if isinstance(value, Kernel):
                found.update(value.fingerprint.encode())
            elif isinstance(value, int | float | np.generic):
                found.update(f"{name} {value!r}".encode())
            elif isinstance(value, type) and issubclass(value, tuple):
                found.update(f"{name} {_fields(value)}".encode())
        return found.hexdigest()

    def _entry(self, form: str, arguments: tuple[Any, ...]) -> Entry | None:
        """Load or compile the machine code for argument types; None if it can only be called through numba."""
        key, symbol = f"{form} {self.fingerprint}", _symbol(self.name, form)
        code = read_object(self.name, key)
        if code is None:
            from geoseg.kernels.objects import object_of

            code = object_of(self.dispatcher, self.returned, symbol, arguments)
            write_object(self.name, key, code)
        try:
            return loaded(code, symbol) if code else None
        except RuntimeError as error:  # LLVM cannot link it here
            _log.debug("%s: called by numba (%s)", self.name, error)
            return None


class Part:
    """Function that numba itself must compile, for use inside kernels; imported when a kernel is compiled.

    Parameters
    ----------
    module, name : str
        Where the function is defined, and its name.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *_: Any) -> Any:
        """Refuse a call from Python: only compiled kernels can make it."""
        raise TypeError(f"{self._name} is called by kernels only")

    @property
    def dispatcher(self) -> Any:
        """The function that numba compiles."""
        return getattr(import_module(self._module), self._name)


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Decorate a function to make it a kernel."""
    return Kernel(function)


def inlined(function: Callable[P, R]) -> Kernel[P, R]:
    """Decorate a function to make it a kernel that is inlined into its callers."""
    return Kernel(function, inline=True)


def _symbol(name: str, form: str) -> str:
    """Return the symbol of a kernel for argument types in its object file."""
    return f"kernel_{hashlib.sha256(f'{name} {form}'.encode()).hexdigest()[:24]}"


def _flatten(value: Any, words: list[int]) -> str:
    """Append an argument to the list of 64-bit words, and return its type as text."""
    if isinstance(value, np.ndarray):
        if not (value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative):
            raise TypeError(
                f"kernels take contiguous arrays, found {value.dtype} with strides {value.strides}"
            )
        words.append(value.ctypes.data)
        words.extend(value.shape)
        return f"{value.dtype.str[1:]}x{value.ndim}"
    if isinstance(value, tuple):
        if not (names := _fields(type(value))):
            raise TypeError(f"kernels take named tuples, found {value}")
        return f"({names}{','.join([_flatten(each, words) for each in value])})"
    if isinstance(value, bool | np.bool_):
        words.append(int(value))
        return "?"
    if isinstance(value, int | np.integer):
        words.append(int(value))
        return "i"
    words.append(struct.unpack("q", struct.pack("d", value))[0])
    return "f"


@cache
def _fields(kind: type[tuple[Any, ...]]) -> str:
    """Return the field names of a tuple type in order, as compiled code depends on the order; empty if it has none."""
    return "".join(f"{name}:" for name in getattr(kind, "_fields", ()))
