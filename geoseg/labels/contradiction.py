"""Codes that mean other classes in one file than in another: a comparison or a training would take them for the same.

Only a contradiction counts, where a file gives the name of one class to the code of another. Names that are merely
different are no reason to stop: they may be of another language, or of classes that were merged on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from geoseg.errors import DataError
from geoseg.labels.label import UNKNOWN, LabelValue, Meanings, plain

Names = Mapping[int, str]
"""Names by code."""
Means = Callable[[int], int | None]
"""Returns the class that a code means, None or UNKNOWN if it means none."""

RECODE: Final = "write one of them anew with the codes of the other (docs/legends.md says how)"
"""What to do about two files whose codes contradict each other."""


def _itself(code: int) -> int:
    return code


def contradiction(own: Names, other: Names, whose: str, means: Means = _itself) -> str | None:
    """Say how the names of codes contradict those of others; None if they do not.

    A code contradicts if the others know its name, ignoring case, and only for another class. Names that either gives
    to several classes say nothing.

    Parameters
    ----------
    own : mapping of int to str
        Names by code, as one file gives them.
    other : mapping of int to str
        Names by code that are expected.
    whose : str
        Whose the expected names are, in the message.
    means : callable, optional
        Class that a code means; each its own by default.
    """
    mine, theirs = _classes(own, means), _classes(other, means)
    for code, name in own.items():
        known, meant = theirs.get(plain(name), {}), means(code)
        if meant in (None, UNKNOWN) or len(mine[plain(name)]) != 1 or len(known) != 1 or meant in known:
            continue
        (there,) = known.values()
        instead = f", where {code} is {other[code]}" if code in other else ""
        return f"its {code} is {name}, which is {there} in {whose}{instead}"
    return None


def _classes(names: Names, means: Means) -> dict[LabelValue, dict[int, int]]:
    """Return for each name the classes that its codes mean, each with the first of these codes."""
    found: dict[LabelValue, dict[int, int]] = {}
    for code, name in names.items():
        meant = means(code)
        if meant is not None and meant != UNKNOWN:
            found.setdefault(plain(name), {}).setdefault(meant, code)
    return found


def refuse_contradiction(path: object, own: Names, meanings: Meanings, *, drawn: bool = False) -> None:
    """Refuse labels whose own names contradict the classes that their numbers are taken for.

    Parameters
    ----------
    path : path-like
        The file.
    own : mapping of int to str
        Names that it gives its label values.
    meanings : Meanings
        Meaning of the label values; without `Expected` names nothing is refused.
    drawn : bool
        Whether these are polygons, which can be read by their names.

    Raises
    ------
    DataError
        Naming the first such code.
    """
    expected = meanings.expected
    if expected is None:
        return
    named = {
        int(value): expected.names[code]
        for value, code in meanings.code_of.items()
        if code in expected.names and (isinstance(value, int) or value.lstrip("-").isdecimal())
    }
    unsaid = {value: name for value, name in own.items() if meanings.code(value) not in expected.given}
    if found := contradiction(unsaid, named, expected.whose, meanings.code):
        raise DataError(f"{path}: {found}", expected.by_name if drawn else expected.remedy)


class FileNames:
    """Names that the files of one data set give to their codes, to find files that contradict each other.

    Parameters
    ----------
    means : callable, optional
        Class that a code means; each its own by default.
    """

    def __init__(self, means: Means = _itself) -> None:
        self._means = means
        self._files: dict[tuple[tuple[int, str], ...], str] = {}

    def add(self, path: object, own: Names) -> str | None:
        """Add the names of a file, unless they contradict those of one before; then say how."""
        key = tuple(sorted(own.items()))
        if not own or key in self._files:
            return None
        for names, where in self._files.items():
            if found := contradiction(own, dict(names), where, self._means):
                return found
        self._files[key] = str(path)
        return None
