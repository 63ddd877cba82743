"""What training asks of labels, in whatever form people have them: the class of every pixel of an image.

Labels are read as a class map is: legend codes as bytes, 255 where nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import NODATA, trimmed
from geoseg.grid.window import Window

UNKNOWN: Final = NODATA
"""Code of a pixel that no label speaks of; it never counts."""

Codes = npt.NDArray[np.uint8]
LabelValue = int | str
"""What a form of labels calls a class: a raster's code, an attribute's value, a name, a colour."""


class Labels(Protocol):
    """Reference classes of one image, on the pixels of that image.

    Laws: reading a window equals cutting it out of the whole; labels are pickled and shared between threads
    and processes freely.
    """

    @property
    def path(self) -> str:
        """What messages call them."""

    @property
    def layered(self) -> bool:
        """Whether classes may overlap, so that each has a layer of its own."""

    def read(self, window: Window) -> Codes:
        """Read a window of the image, which may stick out of it.

        Returns
        -------
        ndarray of uint8
            (row, col) legend codes; or, where `layered`, (class, row, col) with 1 where the class is and 0
            where it is not, classes in ascending order of their codes. UNKNOWN where no label speaks, and
            outside of the image.

        Raises
        ------
        DataError
            Naming the file and what is wrong in it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Meanings:
    """What the values in labels mean.

    Parameters
    ----------
    codes : tuple of int
        Legend codes, ascending: the order of the layers.
    code_of : mapping of int or str to int
        Legend code of each label value; UNKNOWN for values that mean "unknown". Names are compared without
        case and outer blanks, colours are written ``#rrggbb``.
    unlabelled : int
        What pixels are that no label covers: UNKNOWN, or the legend code of the background.
    remedy : str
        What to do about values that have no meaning, in the words of whoever said what they mean.
    """

    codes: tuple[int, ...]
    code_of: Mapping[LabelValue, int]
    unlabelled: int = UNKNOWN
    remedy: str = "name them in data.classes or data.ignore"

    def code(self, value: object) -> int | None:
        """Legend code of a value as a file has it (2, 2.0, "2", "Forest "), None where it has no meaning."""
        for candidate in _readings(value):
            found = self.code_of.get(candidate)
            if found is not None:
                return found
        return None

    @property
    def words(self) -> str:
        """The values, for messages."""
        return listed(self.code_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClass:
    """A class that a file of labels itself speaks of.

    Parameters
    ----------
    value : int or str
        What the file calls it: a code, an attribute's value, the name of a layer.
    name : str
    color : str or None
        ``#rrggbb``, where the file gives one.
    """

    value: LabelValue
    name: str
    color: str | None


def one_hot(codes: Codes, order: Sequence[int]) -> Codes:
    """Turn codes (row, col) into layers (class, row, col) of 0 and 1 in `order`; UNKNOWN in all where it was."""
    layers: Codes = (codes == np.asarray(order, dtype=np.uint8)[:, None, None]).astype(np.uint8)
    unknown = codes == UNKNOWN
    if unknown.any():
        layers[:, unknown] = UNKNOWN
    return layers


def translated(codes: npt.NDArray[np.uint8], table: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Look every byte up in a table of 256; `bytes.translate` takes a tenth of the time of an index array."""
    looked_up = codes.tobytes().translate(table.astype(np.uint8).tobytes())
    return np.frombuffer(bytearray(looked_up), dtype=np.uint8).reshape(codes.shape)


def on_image(window: Window, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(row, col): which pixels of a window lie on an image of `shape`."""
    rows, cols = np.arange(window.row, window.row_stop), np.arange(window.col, window.col_stop)
    on_row, on_col = (rows >= 0) & (rows < shape[0]), (cols >= 0) & (cols < shape[1])
    on_both: npt.NDArray[np.bool_] = on_row[:, None] & on_col
    return on_both


def finished(
    read: Codes, labelled: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_], meanings: Meanings
) -> Codes:
    """Set what is not labelled (row, col), and what is not inside of the image, and return `read`."""
    if not labelled.all():
        read[..., ~labelled] = meanings.unlabelled
    if not inside.all():
        read[..., ~inside] = UNKNOWN
    return read


def plain(value: LabelValue) -> LabelValue:
    """Return a label value as `Meanings` compares it."""
    return trimmed(value).casefold() if isinstance(value, str) else value


def listed(values: Iterable[object]) -> str:
    """Name some values, for messages."""
    words = [str(value) for value in values]
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")


def _readings(value: object) -> Iterable[LabelValue]:
    """Yield the ways to read a value: as a number where it is one, then as a name."""
    if isinstance(value, str):
        yield plain(value)
        if trimmed(value).lstrip("-").isdecimal():
            yield int(trimmed(value))
    elif isinstance(value, bool | np.bool_):
        yield int(value)
    elif isinstance(value, int | float | np.integer | np.floating):
        if float(value).is_integer():
            yield int(value)
            yield str(int(value))
        else:  # levels such as 1.5 are classes called so
            yield str(value)
