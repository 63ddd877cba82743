"""Text encodings of vector files: Shapefiles often do not declare theirs, which garbles names."""

from __future__ import annotations

import codecs
import logging
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.errors import DataError, Message, OptionError
from geoseg.raster.file_kinds import SHAPEFILE, FileKind
from geoseg.storage.printable import listed

_log = logging.getLogger(__name__)

_LARGEST: Final = 2**24
"""Most bytes of a table that are examined."""
_LATIN: Final = "ISO-8859-1"
"""GDAL's default for a Shapefile that declares no encoding."""
_GUESSES: Final = ("cp949", "gbk", "cp932", "big5", "cp1251")


def encoding_of(path: Path, kind: FileKind, given: str | None) -> str | None:
    """Determine the encoding with which to read a vector file; None if the file declares it.

    A Shapefile declares it in a ``.cpg`` file or as the code page of its table. If it does not, valid UTF-8 is read
    as such, and for other text a log line shows how it reads in several encodings.

    Parameters
    ----------
    path : Path
        Vector file.
    kind : FileKind
        Format of the file.
    given : str or None
        Encoding that the user states.

    Raises
    ------
    OptionError
        If there is no such encoding, or the format has a fixed one.
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
                f"{path}: only the text of Shapefiles has an encoding to choose",
                Message("leave {encoding} out"),
            )
        return name.upper().replace("_", "-").replace("ISO8859", "ISO-8859")  # as GDAL knows it
    return _undeclared(path) if kind == SHAPEFILE else None


def suspicious(names: Iterable[str]) -> list[str]:
    """Return the names that look as if they had been read with a wrong encoding."""
    return [name for name in names if _garbled(name)]


def warn_of_garbled(where: str, names: Iterable[str]) -> None:
    """Log a line about names that look garbled."""
    found = suspicious(names)
    if found:
        _log.warning(
            "%s: %s look like text that was read in a wrong encoding; %s",
            where,
            listed(map(repr, found)),
            Message(
                "of a Shapefile {encoding} says the right one, elsewhere correct them in the file, or pass a legend"
            ),
        )


def _undeclared(path: Path) -> str | None:
    """Return the encoding of a Shapefile that declares none; None if it declares one or has only ASCII."""
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
        "%s: nothing says in what encoding its text is (no .cpg file, no code page); it may be %s; %s",
        path,
        " or ".join(readings[:4]),
        Message("pass {encoding}"),
    )
    return _LATIN


def _words(table: bytes) -> list[bytes]:
    """Return the distinct field names and texts of a dBase table that are not ASCII."""
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
    """Decode a word; return None if that fails or gives control characters."""
    try:
        text = word.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if all(unicodedata.category(sign)[0] != "C" for sign in text) else None


def _shown(words: Iterable[bytes], encoding: str) -> str:
    texts = [word.decode(encoding, errors="replace") for word in list(words)[:3]]
    return listed("".join(sign if sign.isprintable() else "?" for sign in text) for text in texts)


def _garbled(name: str) -> bool:
    """Tell whether a name has characters that typically result from a wrong encoding."""
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
