"""The interface of labels in all forms: the class of every pixel of an image.

Labels are read like a class map: legend codes in uint8, with 255 for unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.errors import Text
from geoseg.grid.legend import NODATA, trimmed
from geoseg.grid.window import Window
from geoseg.storage.printable import listed

UNKNOWN: Final = NODATA
"""Code of a pixel without a known label; it never counts."""

Codes = npt.NDArray[np.uint8]
LabelValue = int | str
"""Representation of a class in a form of labels: a code, an attribute value, a name, a colour."""


class Labels(Protocol):
    """Reference classes of an image, on the pixels of that image.

    Laws: reading a window equals that part of reading the whole; labels can be pickled and shared freely between
    threads and processes.
    """

    @property
    def path(self) -> str:
        """Name used in messages."""

    @property
    def layered(self) -> bool:
        """Whether classes may overlap, so that each has its own layer."""

    def read(self, window: Window) -> Codes:
        """Read a window of the image, which may extend beyond it.

        Returns
        -------
        ndarray of uint8
            Legend codes (row, col); or, if `layered`, (class, row, col) with 1 where the class is present, else 0,
            in ascending order of the codes. UNKNOWN where no label is known, and outside the image.

        Raises
        ------
        DataError
            If the labels are wrong; the message names the file and the problem.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Names of the classes that label values are taken for, which files must not contradict.

    Parameters
    ----------
    whose : str
        Whose the names are, in messages.
    names : mapping of int to str
        Names by legend code.
    given : frozenset of int
        Legend codes whose label values a person gave: what files call these values does not count.
    remedy : str
        Advice in messages about rasters that contradict them.
    by_name : str
        Advice in messages about polygons that contradict them, which have names of their own to go by.
    """

    whose: str
    names: Mapping[int, str]
    given: frozenset[int] = frozenset()
    remedy: Text
    by_name: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meanings:
    """Meaning of the label values.

    Parameters
    ----------
    codes : tuple of int
        Legend codes, ascending: the order of the layers.
    code_of : mapping of int or str to int
        Legend code of each label value; UNKNOWN for values that mean "unknown". Names are compared ignoring case and
        outer blanks, colours are written ``#rrggbb``.
    unlabelled : int
        Code of pixels that no label covers: UNKNOWN, or the legend code of the background.
    remedy : str
        Advice in messages about values without a meaning.
    expected : Expected, optional
        Names of the classes, if files that contradict them are refused.
    """

    codes: tuple[int, ...]
    code_of: Mapping[LabelValue, int]
    unlabelled: int = UNKNOWN
    remedy: Text = "name them in data.classes or data.ignore"
    expected: Expected | None = None

    def code(self, value: object) -> int | None:
        """Return the legend code of a value as files have it (2, 2.0, "2", "Forest "); None if it has no meaning."""
        for candidate in _readings(value):
            found = self.code_of.get(candidate)
            if found is not None:
                return found
        return None

    @property
    def words(self) -> str:
        """The known values, for messages."""
        return listed(self.code_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundClass:
    """A class found in a label file.

    Parameters
    ----------
    value : int or str
        Its value in the file: a code, an attribute value, the name of a layer.
    name : str
        Name of the class.
    color : str or None
        Colour, ``#rrggbb``, if the file has one.
    held : bool
        Whether something in the file has this class, and not only its legend.
    """

    value: LabelValue
    name: str
    color: str | None
    held: bool = True


def one_hot(codes: Codes, order: Sequence[int]) -> Codes:
    """Convert codes (row, col) to layers (class, row, col) of 0 and 1 in `order`, keeping UNKNOWN in all layers."""
    layers: Codes = (codes == np.asarray(order, dtype=np.uint8)[:, None, None]).astype(np.uint8)
    unknown = codes == UNKNOWN
    if unknown.any():
        layers[:, unknown] = UNKNOWN
    return layers


def translated(codes: npt.NDArray[np.uint8], table: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Look up every byte in a table of 256, with `bytes.translate`, which is ten times as fast as indexing."""
    looked_up = codes.tobytes().translate(table.astype(np.uint8).tobytes())
    return np.frombuffer(bytearray(looked_up), dtype=np.uint8).reshape(codes.shape)


def on_image(window: Window, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Tell which pixels (row, col) of a window lie on an image of `shape`."""
    rows, cols = np.arange(window.row, window.row_stop), np.arange(window.col, window.col_stop)
    on_row, on_col = (rows >= 0) & (rows < shape[0]), (cols >= 0) & (cols < shape[1])
    on_both: npt.NDArray[np.bool_] = on_row[:, None] & on_col
    return on_both


def finished(
    read: Codes, labelled: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_], meanings: Meanings
) -> Codes:
    """Set the pixels without a label (row, col) and those outside the image, and return `read`."""
    if not labelled.all():
        read[..., ~labelled] = meanings.unlabelled
    if not inside.all():
        read[..., ~inside] = UNKNOWN
    return read


def plain(value: LabelValue) -> LabelValue:
    """Normalise a label value for comparison in `Meanings`."""
    return trimmed(value).casefold() if isinstance(value, str) else value


def _readings(value: object) -> Iterable[LabelValue]:
    """Yield the interpretations of a value: as a number if it is one, then as a name."""
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
        else:  # a level such as 1.5 is the name of a class
            yield str(value)
