"""numpy arrays as Arrow columns over the same memory.

``pyarrow.array`` would do, and imports pandas at its first call, which takes longer than all polygons of a small map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Known = npt.NDArray[np.bool_]


def numbers(values: npt.NDArray[Any], known: Known | None = None) -> pa.Array:
    """Return numbers as a column.

    Parameters
    ----------
    values : (row,) array
        Of any type that numpy and Arrow share.
    known : (row,) bool, optional
        False where the column is null.
    """
    import pyarrow as pa

    buffers = [_bits(known), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def not_nan(values: npt.NDArray[np.float64]) -> pa.Array:
    """Return floats as a column that is null where they are NaN."""
    return numbers(values, ~np.isnan(values))


def texts(words: Sequence[str], index: npt.NDArray[np.integer[Any]], known: Known | None = None) -> pa.Array:
    """Return a text for each row as a column.

    Parameters
    ----------
    words : sequence of str
    index : (row,) int
        Number of each row's text among the words.
    known : (row,) bool, optional
        False where the column is null.
    """
    import pyarrow as pa

    coded = [word.encode() for word in words]
    if known is not None:
        coded, index = [*coded, b""], np.where(known, index, len(coded))
    lengths = np.array([len(word) for word in coded], np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths[index])])
    data = b"".join([coded[i] for i in index.tolist()])
    buffers = [_bits(known), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(index), buffers)


def _bits(known: Known | None) -> pa.Buffer | None:
    """Arrow's bitmap of what is not null; none where nothing is."""
    import pyarrow as pa

    return None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
