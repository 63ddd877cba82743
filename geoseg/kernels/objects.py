"""Kernels to object files: compiled by numba, freed of numba's own runtime, written by LLVM."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from geoseg.kernels.kernel import target_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geoseg.kernels.kernel import Kernel

_ALLOCATES: Final = re.compile(r"@(NRT_Allocate|NRT_Reallocate|NRT_MemInfo_(?:new|alloc|varsize)\w*)")
_DECLARED: Final = re.compile(r"^declare ([^@\n]*)@([\w.]+)\(([^\n]*)\)[^\n]*$", re.MULTILINE)
_COUNTING: Final = re.compile(
    r"^define [^\n]*@(NRT_(?:inc|dec)ref)\([^\n]*\{\n.*?^\}", re.MULTILINE | re.DOTALL
)
_RUNTIME: Final = ("NRT_", "numba_", "Py")
"""How the names of numba's and Python's functions begin, which kernels call to count references and to raise."""


def object_of(kernel: Kernel[Any, Any], symbol: str, arguments: tuple[Any, ...], words: int) -> bytes:
    """Compile a kernel for arguments like some; return the object file, empty where it needs what LLVM has not.

    Parameters
    ----------
    kernel : Kernel
    symbol : str
        Of its entry in the object file, which takes the address of the arguments' words twice (as whole numbers and
        as floats) and writes what the kernel returns behind them.
    arguments : tuple
    words : int

    Raises
    ------
    AssertionError
        If the kernel allocates memory, which only numba's runtime could do.
    """
    signature = types.void(types.CPointer(types.int64), types.CPointer(types.float64))
    made = numba.cfunc(signature, nopython=True, error_model="numpy")(_entry(kernel, arguments, words))
    text = made.inspect_llvm()
    assert not (found := _ALLOCATES.search(text)), f"{kernel.name} allocates: {found and found[1]}"
    module = llvm.parse_assembly(_without_runtime(text))
    for each in [*module.functions, *module.global_variables]:
        if each.name == made.native_name:
            each.name = symbol
        elif not each.is_declaration:
            each.linkage = "internal"
    machine = target_machine()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    needed = [f.name for f in [*module.functions, *module.global_variables] if f.is_declaration]
    if any(not each.startswith("llvm.") and llvm.address_of_symbol(each) is None for each in needed):
        return b""
    code: bytes = machine.emit_object(module)
    return code


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_typing: Any, _address: Any) -> Any:
    """Return an address as a pointer."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


def _entry(kernel: Kernel[Any, Any], arguments: tuple[Any, ...], words: int) -> Any:
    """Write the function that takes a kernel's arguments out of their words."""
    numbers, as_tuple = kernel.returned
    names: dict[str, Any] = {
        "carray": numba.carray,
        "pointer": _pointer,
        "np": np,
        "kernel": kernel.dispatcher,
    }
    place = count()
    given = ", ".join(_expression(each, place, names) for each in arguments)
    lines = [f"w = carray(whole, {words + numbers})", f"f = carray(floats, {words + numbers})"]
    lines += [f"found = kernel({given})"]
    lines += [f"w[{words + i}] = found{f'[{i}]' if as_tuple else ''}" for i in range(numbers)]
    source = "def entry(whole, floats):\n" + "".join(f"    {line}\n" for line in lines)
    exec(source, names)  # noqa: S102  numba compiles functions only, and each has a source
    return names["entry"]


def _expression(value: Any, place: Iterator[int], names: dict[str, Any]) -> str:
    """Write how an argument is made of words, in the order of `geoseg.kernels.kernel`."""
    if isinstance(value, np.ndarray):
        address, shape = next(place), [f"w[{next(place)}], " for _ in range(value.ndim)]
        return f"carray(pointer(w[{address}]), ({''.join(shape)}), np.dtype('{value.dtype.str}'))"
    if isinstance(value, tuple):
        inner = "".join(f"{_expression(each, place, names)}, " for each in value)
        if not hasattr(value, "_fields"):
            return f"({inner})"
        names[type(value).__name__] = type(value)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, bool | np.bool_):
        return f"w[{next(place)}] != 0"
    return f"{'f' if isinstance(value, float | np.floating) else 'w'}[{next(place)}]"


def _without_runtime(text: str) -> str:
    """Take numba's runtime and Python out of a module: kernels neither allocate nor raise.

    References are counted of memory that numba owns, and kernels have none. What raises is for errors that cannot be;
    it stops the process.
    """

    def stopping(found: re.Match[str]) -> str:
        returned, name, taken = found.groups()
        if not name.startswith(_RUNTIME):
            return found[0]
        returned = returned.removeprefix("noalias ")
        return f"define internal {returned}@{name}({taken}) {{\n  call void @llvm.trap()\n  unreachable\n}}"

    text = _COUNTING.sub(r"define internal void @\1(ptr %0) {\n  ret void\n}", text)
    trap = "" if "declare void @llvm.trap()" in text else "\ndeclare void @llvm.trap()\n"
    return _DECLARED.sub(stopping, text) + trap
