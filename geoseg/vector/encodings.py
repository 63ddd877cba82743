"""In what encoding the text of a vector file is: Shapefiles often do not say it, and names come out garbled."""

from __future__ import annotations

import codecs
import logging
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.errors import DataError, OptionError
from geoseg.raster.file_kinds import SHAPEFILE, FileKind
from geoseg.raster.labels import listed

_log = logging.getLogger(__name__)

_LARGEST: Final = 2**24
"""Bytes of a table that are looked at."""
_LATIN: Final = "ISO-8859-1"
"""What GDAL takes where a Shapefile says nothing."""
_GUESSES: Final = ("cp949", "gbk", "cp932", "big5", "cp1251")


def encoding_of(path: Path, kind: FileKind, given: str | None) -> str | None:
    """Return the encoding in which a vector file is to be read; None where the file says it.

    A Shapefile has it in a file ``.cpg``, or as the code page of its table; of one that says nothing, what is valid
    UTF-8 is UTF-8, and for anything else there is a line that shows how its text may be read.

    Parameters
    ----------
    path : Path
    kind : FileKind
        Its format.
    given : str or None
        What a person says.

    Raises
    ------
    OptionError
        If there is no such encoding, or the format has one of its own.
    DataError
        If the table of a Shapefile is missing.
    """
    if given is not None:
        try:
            name = codecs.lookup(given).name
        except LookupError as error:
            raise OptionError(
                f"encoding {given!r} is not known, expected one like utf-8, cp949, gbk, cp1251"
            ) from error
        if kind != SHAPEFILE:
            raise OptionError(
                f"{path}: only the text of Shapefiles has an encoding to choose; leave --encoding out"
            )
        return name.upper().replace("_", "-").replace("ISO8859", "ISO-8859")  # as GDAL knows it
    return _undeclared(path) if kind == SHAPEFILE else None


def suspicious(names: Iterable[str]) -> list[str]:
    """Return the names that look as if they had been read in a wrong encoding."""
    return [name for name in names if _garbled(name)]


def warn_of_garbled(where: str, names: Iterable[str]) -> None:
    """Log a line about names that look garbled."""
    found = suspicious(names)
    if found:
        _log.warning(
            "%s: %s look like text that was read in a wrong encoding; of a Shapefile --encoding says the right one, "
            "elsewhere correct them in the file, or pass a legend",
            where,
            listed(map(repr, found)),
        )


def _undeclared(path: Path) -> str | None:
    """Return the encoding of a Shapefile that says none; None where it does, or has only ASCII."""
    beside = {each.suffix.lower(): each for each in path.parent.glob(f"{_escaped(path.stem)}.*")}
    if ".cpg" in beside or ".dbf" not in beside:
        return None
    try:
        with beside[".dbf"].open("rb") as file:
            table = file.read(_LARGEST)
    except OSError as error:
        raise DataError(f"{beside['.dbf']}: cannot be read ({error.strerror}); check the path") from error
    words = _words(table)
    if table[29:30] != b"\0" or not words:
        return None
    if all(_reads(word, "utf-8") for word in words):
        return "utf-8"
    readings = [f"{_shown(words, _LATIN)} ({_LATIN}, which is taken)"]
    readings += [
        f"{_shown(words, guess)} ({guess})" for guess in _GUESSES if all(_reads(w, guess) for w in words)
    ]
    _log.warning(
        "%s: nothing says in what encoding its text is (no .cpg file, no code page); it may be %s; pass --encoding",
        path,
        " or ".join(readings[:4]),
    )
    return _LATIN


def _words(table: bytes) -> list[bytes]:
    """Return the different names of fields and texts in a dBase table that are not ASCII."""
    head, size = (int.from_bytes(table[at : at + 2], "little") for at in (8, 10))
    fields = [table[at : at + 32] for at in range(32, max(head - 31, 32), 32)]
    words = {field[:11].split(b"\0")[0]: None for field in fields}
    count = max(len(table) - head, 0) // size if size else 0
    rows = np.frombuffer(table, np.uint8, count * size, head).reshape(count, size) if count else None
    start = 1
    for field in fields:
        stop = start + field[16]
        if field[11:12] == b"C" and rows is not None:
            cells = rows[:, start:stop]
            words |= {cell.tobytes().strip(b" \0"): None for cell in cells[(cells > 127).any(axis=1)]}
        start = stop
    return [word for word in words if not word.isascii()]


def _escaped(stem: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", stem)


def _reads(word: bytes, encoding: str) -> str | None:
    """Return a word in an encoding, None where it is none that people write."""
    try:
        text = word.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if all(unicodedata.category(sign)[0] != "C" for sign in text) else None


def _shown(words: Iterable[bytes], encoding: str) -> str:
    texts = [word.decode(encoding, errors="replace") for word in list(words)[:3]]
    return listed("".join(sign if sign.isprintable() else "?" for sign in text) for text in texts)


def _garbled(name: str) -> bool:
    """Whether a name has signs that no language has, or such as bytes of another encoding make."""
    if any(sign == "\ufffd" or "\x80" <= sign <= "\x9f" for sign in name):
        return True
    try:
        stored = name.encode(_LATIN)
    except UnicodeEncodeError:
        return False
    if stored.isascii():
        return False
    try:
        stored.decode("utf-8")
        return True
    except UnicodeDecodeError:
        pairs = re.findall(r"[\xa1-\xff]{2}", name)
        return any(not pair.isalpha() for pair in pairs)
