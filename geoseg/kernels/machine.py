"""The processor of this machine: its code generator, and object files loaded into the process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

Entry = Callable[[int, int], None]
"""Compiled entry point. It takes the address of the packed arguments twice, read as integers and as floats."""

_engine: Any = None


def loaded(code: bytes, name: str) -> Entry:
    """Load an object file into the process and return its entry point."""
    global _engine
    import llvmlite.binding as llvm

    if _engine is None:
        _engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    _engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    address = _engine.get_function_address(name)
    return cast("Entry", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address))


def target_machine() -> Any:
    """Return LLVM's code generator for the processor of this machine."""
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
