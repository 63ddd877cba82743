"""Run-length encoding as on Kaggle: ``"start length start length ..."``, column-major, counted from 1.

Pixels are numbered down the first column, then down the second, and so on. An empty text means no pixel.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError

Edges = npt.NDArray[np.int64]
"""Start and stop of each run in turn, counted from 0 and ascending; equal where two runs touch."""

_NUMBERS = re.compile(r"[0-9\s]*", re.ASCII)


def encode(mask: npt.NDArray[Any]) -> str:
    """Encode the nonzero pixels of a mask as run lengths.

    Law: ``decode(encode(mask), mask.shape) == mask``.

    Parameters
    ----------
    mask : ndarray of bool or numbers, shape (row, col)
        Mask to encode.

    Raises
    ------
    DataError
        If it does not have two axes.
    """
    if mask.ndim != 2:
        raise DataError(f"a mask has the shape {mask.shape}, expected (row, col)")
    rows, cols = mask.shape
    if not mask.size:
        return ""
    inside = mask if mask.dtype == np.bool_ else mask != 0
    # A pixel is an edge if the one above differs; for the top row that is the last one of the previous column. They
    # are compared row by row, because transposing the mask would take longer than all the rest.
    edge = np.empty(mask.shape, dtype=bool)
    np.not_equal(inside[1:], inside[:-1], out=edge[1:])
    np.not_equal(inside[0, 1:], inside[-1, :-1], out=edge[0, 1:])
    edge[0, 0] = inside[0, 0]
    row, col = np.divmod(np.flatnonzero(edge), cols)
    edges = np.sort(col * rows + row)
    if inside[-1, -1]:
        edges = np.append(edges, mask.size)
    edges[1::2] -= edges[::2]
    edges[::2] += 1
    return " ".join(map(str, edges.tolist()))


def decode(text: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Decode run lengths to a mask.

    Law: ``encode(decode(text, shape))`` has the same pixels with the fewest possible runs.

    Parameters
    ----------
    text : str
        Run lengths in ascending order without overlap; runs may touch.
    shape : (int, int)
        Rows and columns of the mask.

    Returns
    -------
    ndarray of bool, shape (row, col)

    Raises
    ------
    DataError
        If the run lengths are not valid for such a mask; the message names the first wrong run.
    """
    rows, cols = shape
    return fill(parse(text, shape), 0, rows * cols).reshape(cols, rows).T


def parse(text: str, shape: tuple[int, int]) -> Edges:
    """Parse run lengths and return where runs start and stop.

    Raises
    ------
    DataError
        Under the conditions of `decode`.
    """
    text = text.strip()
    if not text:
        return np.empty(0, dtype=np.int64)
    if not _NUMBERS.fullmatch(text):
        words = text.split()
        place, word = next((i, word) for i, word in enumerate(words, 1) if not _NUMBERS.fullmatch(word))
        raise DataError(f"run lengths hold {word[:40]!r} as word {place}, expected whole numbers from 1")
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    if len(numbers) % 2:
        raise DataError(
            f"run lengths hold an odd number of values, {len(numbers)}, expected pairs of start and length"
        )
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    size = shape[0] * shape[1]
    _refuse(starts < 0, numbers, f"starts before the first pixel, which is 1 of {size}")
    _refuse(lengths < 1, numbers, "is empty, expected a length of at least 1")
    _refuse(
        (starts >= size) | (lengths > size - starts), numbers,
        f"goes beyond the last pixel, which is {size} of {shape[0]} x {shape[1]}; is the size right?",
    )  # fmt: skip
    before = np.concatenate([[0], (starts + lengths)[:-1]])
    _refuse(starts < before, numbers, "starts before the end of the one before it, expected ascending runs")
    edges = np.empty(len(numbers), dtype=np.int64)
    edges[::2], edges[1::2] = starts, starts + lengths
    return edges


def fill(edges: Edges, first: int, stop: int) -> npt.NDArray[np.bool_]:
    """Tell which of the pixels `first` to `stop` (counted from 0, column-major) lie in a run."""
    low, high = np.searchsorted(edges, first, side="right"), np.searchsorted(edges, stop, side="left")
    bounds = np.concatenate([[first], edges[low : max(low, high)], [stop]])
    inside = (np.arange(len(bounds) - 1) + low) % 2 == 1
    return np.repeat(inside, np.diff(bounds))


def _refuse(wrong: npt.NDArray[np.bool_], numbers: npt.NDArray[np.int64], reason: str) -> None:
    """Raise DataError about the first wrong run, if any."""
    if wrong.any():
        place = int(np.argmax(wrong))
        start, length = numbers[2 * place : 2 * place + 2]
        raise DataError(f"run {place + 1} (start {start}, length {length}) {reason}")
