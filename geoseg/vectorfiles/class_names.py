"""Names of the classes of polygons: codes are authoritative, and names may contradict each other.

When the code of a polygon is corrected in QGIS, its name often is not, and added polygons often have no name.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from geoseg.errors import DataError
from geoseg.grid.legend import Legend, trimmed
from geoseg.storage.printable import listed
from geoseg.vectorfiles.encodings import warn_of_garbled
from geoseg.vectorfiles.styles import ClassStyle

_log = logging.getLogger(__name__)

CODE, NAME = "class_code", "class_name"
LARGEST_CODE: Final = 2**16 - 2
"""Largest code of a class map in uint16, whose largest value is no data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """Counts of the names that polygons of each code have.

    Parameters
    ----------
    where : str
        Name of the layer for messages.
    without : int
        Number of polygons without a code.
    names : mapping of int to Counter
        Counts of the names of every code that occurs, without blank names.
    styles : mapping of int to ClassStyle
        Styles of the codes in the layer's style.
    """

    where: str
    without: int
    names: Mapping[int, Counter[str]]
    styles: Mapping[int, ClassStyle]

    @classmethod
    def of(
        cls, rows: Mapping[tuple[Any, ...], int], where: str, styles: Mapping[str, ClassStyle] | None = None
    ) -> Called:
        """Count the names of codes.

        Parameters
        ----------
        rows : mapping of (code,) or (code, name) to int
            Number of polygons with each code and name.
        where : str
            Name of the layer for messages.
        styles : mapping of str to ClassStyle, optional
            Styles by the text of the code.

        Raises
        ------
        DataError
            If a code is not valid for a class map, or no polygon has one.
        """
        names: dict[int, Counter[str]] = {}
        without = 0
        for (value, *called), count in rows.items():
            code = whole_code(value, where)
            if code is None:
                without += count
                continue
            own = names.setdefault(code, Counter())
            if called and isinstance(called[0], str) and (name := trimmed(called[0])):
                own[name] += count
        if without and not names:
            raise DataError(f"{where}: no polygon has a {CODE}, expected the codes of classes in it")
        shown = {int(text): style for text, style in (styles or {}).items() if text.lstrip("-").isdecimal()}
        return cls(where=where, without=without, names=dict(sorted(names.items())), styles=shown)

    def legend(self, given: Legend | None = None, *, tell: bool = True) -> Legend | None:
        """Return the legend of the polygons and of the style; None if there are no classes.

        The name of a class is that of `given`, else of the style, else of most of its polygons. Polygons with other
        names are logged.

        Parameters
        ----------
        given : Legend, optional
            Legend that takes precedence; its other classes are kept, too.
        tell : bool
            Whether to log contradicting names and the number of polygons without a code.
        """
        known = {} if given is None else {c.code: c for c in given.classes}
        names = {code: c.name for code, c in known.items()}
        names |= {code: style.name for code, style in self.styles.items() if style.name and code not in known}
        self._add_majorities(names)
        if not names:
            return None
        if tell:
            self._tell(names, logging.WARNING if given is None else logging.INFO)
            warn_of_garbled(self.where, (name for code, name in names.items() if code not in known))
        colors = {code: style.color for code, style in self.styles.items()}
        classes: list[tuple[int, str, str | None]] = [(c.code, c.name, c.color) for c in known.values()]
        for code in sorted(names.keys() - known.keys()):
            name = _own(names[code], code, [name for _, name, _ in classes])
            classes.append((code, name, colors.get(code) or None))
        return Legend.of(classes)

    def _add_majorities(self, names: dict[int, str]) -> None:
        """Add the majority names of the other classes; a name claimed by two goes to the class with more polygons."""
        claims = [(count, code, name) for code, own in self.names.items() for name, count in own.items()]
        taken = set(names.values())
        for _, code, name in sorted(claims, key=lambda claim: -claim[0]):
            if code not in names and name not in taken:
                names[code] = name
                taken.add(name)
        for code in {*self.names, *self.styles} - set(names):
            own = self.names.get(code)
            names[code] = own.most_common(1)[0][0] if own else f"class {code}"

    def _tell(self, names: Mapping[int, str], level: int) -> None:
        """Log which polygons have another name than their class."""
        if self.without:
            _log.warning("%s: %d polygons have no %s and are of no class", self.where, self.without, CODE)
        others = {
            code: {name: count for name, count in called.items() if name.casefold() != names[code].casefold()}
            for code, called in self.names.items()
        }
        words = [
            f"{sum(other.values())} with code {code} ({names[code]}) are called {listed(map(repr, other))}"
            for code, other in others.items()
            if other
        ]
        if words:
            _log.log(
                level, "%s: the code counts, not the name: of the polygons %s", self.where, listed(words)
            )


def whole_code(value: object, where: str) -> int | None:
    """Convert a class code as files have it (2, 2.0, "2") to an integer; return None for a missing one.

    Raises
    ------
    DataError
        If it is not a whole number that a class map can hold.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    try:
        code = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        code = -1
    if code not in range(LARGEST_CODE + 1):
        raise DataError(
            f"{where}: has a polygon with {CODE} {value}, expected whole numbers from 0 to {LARGEST_CODE}"
        )
    return int(code)


def _own(name: str, code: int, taken: Iterable[str]) -> str:
    """Make a name unique among those taken by appending the code."""
    others = set(taken)
    while name in others:
        name += f" ({code})"
    return name
