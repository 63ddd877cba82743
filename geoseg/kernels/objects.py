"""Compilation of kernels to object files: by numba, with its runtime removed, written by LLVM."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from geoseg.kernels.machine import target_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALLOCATES: Final = re.compile(r"@(NRT_Allocate|NRT_Reallocate|NRT_MemInfo_(?:new|alloc|varsize)\w*)")
_DECLARED: Final = re.compile(r"^declare ([^@\n]*)@([\w.]+)\(([^\n]*)\)[^\n]*$", re.MULTILINE)
_COUNTING: Final = re.compile(
    r"^define [^\n]*@(NRT_(?:inc|dec)ref)\([^\n]*\{\n.*?^\}", re.MULTILINE | re.DOTALL
)
_RUNTIME: Final = ("NRT_", "numba_", "Py")
"""Prefixes of the functions of numba and Python that kernels call to count references and to raise errors."""


def object_of(kernel: Any, returned: tuple[int, bool], symbol: str, arguments: tuple[Any, ...]) -> bytes:
    """Compile a kernel for the types of given arguments and return its object file.

    The file is empty if the code needs symbols that LLVM cannot resolve.

    Parameters
    ----------
    kernel : dispatcher of numba
        Kernel to compile.
    returned : (int, bool)
        How many numbers it returns, and whether as a tuple.
    symbol : str
        Name of the entry point in the object file. It takes the address of the packed arguments twice (read as
        integers and as floats) and writes the returned numbers behind them.
    arguments : tuple
        Arguments of the types to compile for.

    Raises
    ------
    AssertionError
        If the kernel allocates memory, which only numba's runtime could do.
    """
    signature = types.void(types.CPointer(types.int64), types.CPointer(types.float64))
    made = numba.cfunc(signature, nopython=True, error_model="numpy")(_entry(kernel, returned, arguments))
    text = made.inspect_llvm()
    name = f"{kernel.py_func.__module__}.{kernel.py_func.__name__}"
    assert not (found := _ALLOCATES.search(text)), f"{name} allocates: {found and found[1]}"
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


def _entry(kernel: Any, returned: tuple[int, bool], arguments: tuple[Any, ...]) -> Any:
    """Generate the function that unpacks a kernel's arguments from words and calls it."""
    numbers, as_tuple = returned
    names: dict[str, Any] = {
        "carray": numba.carray,
        "pointer": _pointer,
        "np": np,
        "kernel": kernel,
    }
    place = count()
    given = ", ".join(_expression(each, place, names) for each in arguments)
    words = next(place)
    lines = [f"w = carray(whole, {words + numbers})", f"f = carray(floats, {words + numbers})"]
    lines += [f"found = kernel({given})"]
    lines += [f"w[{words + i}] = found{f'[{i}]' if as_tuple else ''}" for i in range(numbers)]
    source = "def entry(whole, floats):\n" + "".join(f"    {line}\n" for line in lines)
    exec(source, names)  # noqa: S102  numba compiles only functions with source
    return names["entry"]


def _expression(value: Any, place: Iterator[int], names: dict[str, Any]) -> str:
    """Generate the expression that rebuilds an argument from words, in the order of `geoseg.kernels.kernel`."""
    if isinstance(value, np.ndarray):
        address, shape = next(place), [f"w[{next(place)}], " for _ in range(value.ndim)]
        return f"carray(pointer(w[{address}]), ({''.join(shape)}), np.dtype('{value.dtype.str}'))"
    if isinstance(value, tuple):
        inner = "".join(f"{_expression(each, place, names)}, " for each in value)
        made = f"tuple_{len(names)}"  # two types of one name are two
        names[made] = type(value)
        return f"{made}({inner})"
    if isinstance(value, bool | np.bool_):
        return f"w[{next(place)}] != 0"
    return f"{'f' if isinstance(value, float | np.floating) else 'w'}[{next(place)}]"


def _without_runtime(text: str) -> str:
    """Remove calls into numba's runtime and Python from LLVM code: kernels neither allocate nor raise.

    Reference counts concern memory that numba owns, of which kernels have none. Code that would raise an error is
    unreachable; it becomes a trap.
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
