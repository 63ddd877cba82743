"""Compiled reads and writes of numbers at any byte of a buffer, for kernels that process WKB."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _store(kind: types.Type) -> Any:
    """Make a compiled function that stores a number at any byte of a buffer."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store(_typing: Any, _buffer: Any, _at: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            buffer, at, value = arguments
            data = context.make_array(signature.args[0])(context, builder, buffer).data
            value = context.cast(builder, value, signature.args[2], kind)
            target = builder.bitcast(builder.gep(data, [at]), value.type.as_pointer())
            builder.store(value, target, align=1)
            return context.get_dummy_value()

        return types.void(types.Array(types.uint8, 1, "C"), types.int64, _value), generate

    return store


@intrinsic  # type: ignore[untyped-decorator]
def load_double(_typing: Any, _buffer: Any, _at: Any) -> Any:
    """Read a float64 at any byte of a buffer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        buffer, at = arguments
        data = context.make_array(signature.args[0])(context, builder, buffer).data
        kind = context.get_value_type(types.float64)
        return builder.load(builder.bitcast(builder.gep(data, [at]), kind.as_pointer()), align=1)

    return types.float64(types.Array(types.uint8, 1, "C"), types.int64), generate


store_double = _store(types.float64)
store_count = _store(types.uint32)
