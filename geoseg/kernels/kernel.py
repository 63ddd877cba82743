"""Kernels: functions that numba compiles once, and that later processes call without numba.

numba takes a second to be imported and to find again what it compiled, more than vectorizing a small map. So the
machine code of a kernel is kept as an object file (`geoseg.kernels.cache`), which LLVM alone brings into the
process; only a process that finds none imports numba, to make it (`geoseg.kernels.objects`).

A kernel takes arrays, numbers, flags, and tuples of these, and returns nothing, a number, a flag, or a tuple of
numbers; its annotation says which. It allocates nothing and raises nothing: what it fills is passed to it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import struct
import threading
from collections.abc import Callable
from functools import cached_property, update_wrapper
from importlib import import_module
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from geoseg.kernels.cache import read_object, write_object

P = ParamSpec("P")
R = TypeVar("R")

Entry = Callable[[int, int], None]
"""Called with the address of the words of its arguments, twice: as whole numbers, and as floats."""

_log = logging.getLogger(__name__)
_lock = threading.RLock()
_engine: Any = None


class Kernel(Generic[P, R]):
    """A function that is called as machine code, from Python and from other kernels.

    Parameters
    ----------
    function : callable
        Its source.
    inline : bool
        Whether it becomes part of the kernels that call it.
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
        """Call it; of arrays of another form than before it is compiled, or found compiled."""
        assert not named, "kernels take arguments by their places"
        words: list[int] = []
        form = _flatten(arguments, words)
        if form not in self._entries:
            with _lock:
                self._entries[form] = self._entry(form, arguments, len(words))
        entry = self._entries[form]
        if entry is None:
            return cast("R", self.dispatcher(*arguments))
        packed = np.array(words + [0] * self._returned, np.int64)
        entry(packed.ctypes.data, packed.ctypes.data)
        found = packed[len(words) :].tolist()
        return cast("R", tuple(found) if self._tuple else found[0] if found else None)

    @property
    def returned(self) -> tuple[int, bool]:
        """Numbers that it returns, and whether as a tuple."""
        return self._returned, self._tuple

    @cached_property
    def dispatcher(self) -> Any:
        """The function as numba compiles it."""
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
        """What tells its code, and that of the kernels and constants that it uses, from any other."""
        code, found = self._function.__code__, hashlib.sha256()
        for part in (code.co_code.hex(), code.co_consts, code.co_names, code.co_varnames):
            found.update(repr(part).encode())
        for name in code.co_names:
            value = self._function.__globals__.get(name)
            if isinstance(value, Kernel):
                found.update(value.fingerprint.encode())
            elif isinstance(value, int | float | np.generic):
                found.update(f"{name} {value!r}".encode())
        return found.hexdigest()

    def _entry(self, form: str, arguments: tuple[Any, ...], words: int) -> Entry | None:
        """Find its machine code for arguments of a form, or make it; None where LLVM alone cannot call it."""
        key, symbol = f"{form} {self.fingerprint}", _symbol(self.name, form)
        code = read_object(self.name, key)
        if code is None:
            from geoseg.kernels.objects import object_of

            code = object_of(self, symbol, arguments, words)
            write_object(self.name, key, code)
        try:
            return _loaded(code, symbol) if code else None
        except RuntimeError as error:  # LLVM cannot link it here
            _log.debug("%s: called by numba (%s)", self.name, error)
            return None


class Part:
    """What kernels call and numba itself has to make: imported when a kernel is compiled.

    Parameters
    ----------
    module, name : str
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *_: Any) -> Any:
        """Stand for the call in the source of kernels."""
        raise TypeError(f"{self._name} is called by kernels only")

    @property
    def dispatcher(self) -> Any:
        """What numba calls."""
        return getattr(import_module(self._module), self._name)


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Make a function a kernel."""
    return Kernel(function)


def inlined(function: Callable[P, R]) -> Kernel[P, R]:
    """Make a function a kernel that becomes part of those that call it."""
    return Kernel(function, inline=True)


def _symbol(name: str, form: str) -> str:
    """Name of a kernel's code for arguments of a form in its object file."""
    return f"kernel_{hashlib.sha256(f'{name} {form}'.encode()).hexdigest()[:24]}"


def _flatten(value: Any, words: list[int]) -> str:
    """Write an argument as words of 64 bits; return what tells its type from others."""
    if isinstance(value, np.ndarray):
        if not (value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative):
            raise TypeError(
                f"kernels take contiguous arrays, found {value.dtype} with strides {value.strides}"
            )
        words.append(value.ctypes.data)
        words.extend(value.shape)
        return f"{value.dtype.str[1:]}x{value.ndim}"
    if isinstance(value, tuple):
        return f"({','.join([_flatten(each, words) for each in value])})"
    if isinstance(value, bool | np.bool_):
        words.append(int(value))
        return "?"
    if isinstance(value, int | np.integer):
        words.append(int(value))
        return "i"
    words.append(struct.unpack("q", struct.pack("d", value))[0])
    return "f"


def _loaded(code: bytes, name: str) -> Entry:
    """Bring an object file into the process."""
    global _engine
    import llvmlite.binding as llvm

    if _engine is None:
        _engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    _engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    address = _engine.get_function_address(name)
    return cast("Entry", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address))


def target_machine() -> Any:
    """LLVM for the processor of this machine."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        reloc="static" if target.name.startswith("x86") else "default",
    )
