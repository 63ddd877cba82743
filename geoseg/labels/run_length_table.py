"""CSV tables of run lengths, as on Kaggle.

A table is indexed once; its run lengths, which may exceed the memory, remain in the file.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.errors import DataError, Message, plural
from geoseg.labels.rle import Edges, parse
from geoseg.storage.printable import listed

_log = logging.getLogger(__name__)
Signature = tuple[int, int]

_BOTH: Final = ("imagelabel", "imageidclassid")
_IMAGE: Final = ("imageid", "image")
_CLASS: Final = ("classid", "class", "label")
_RUNS: Final = ("encodedpixels", "rle")
_ABSENT: Final = ("", "nan", "-1", "null", "none")
_SUFFIX: Final = re.compile(r"\.(jpe?g|png|tiff?|jp2|j2k|bmp|gif|webp|dcm|npy)$", re.IGNORECASE)
_IMAGE_CLASS: Final = re.compile(
    r"(.*\.(?:jpe?g|png|tiff?|jp2|j2k|bmp|gif|webp|dcm|npy))_(.+)", re.IGNORECASE
)
_FORMULA: Final = re.compile(r"'*[=+\-@]")
"""Text that spreadsheets take for a formula, also with the ``'`` that prevents it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Position of a table row in the file: its line, first byte and length in bytes."""

    line: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLengthTable:
    """Index of a table of run lengths.

    Parameters
    ----------
    path : str
        The CSV file.
    signature : (int, int)
        Size and modification time in ns of the indexed file.
    rows : mapping of str to mapping of (str or None) to tuple of Row
        Rows by image name, then by class, which is None in tables without classes.
    classes : tuple of (str or None)
        Classes of all images.
    stems : mapping of str to tuple of str
        Image names by their names without suffix.
    runs_at : int
        Column of the run lengths, from 0.
    guarded : bool
        Whether names are protected from being read as formulas, as by `table_text`.
    """

    path: str
    signature: Signature
    rows: Mapping[str, Mapping[str | None, tuple[Row, ...]]]
    classes: tuple[str | None, ...]
    stems: Mapping[str, tuple[str, ...]]
    runs_at: int
    guarded: bool

    def name_of(self, image: str) -> str:
        """Return the table's name of an image; missing or different suffixes are ignored.

        Raises
        ------
        DataError
            If the table does not name the image, or its name is ambiguous.
        """
        if image in self.rows:
            return image
        found = self.stems.get(stem(image), ())
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{self.path}: names {listed(found)}, expected one image for {image}")
        raise DataError(
            f"{self.path}: does not name the image {image}, expected one of {listed(self.rows)}; an image without "
            "any class needs a row with empty run lengths"
        )

    def runs(self, image: str, shape: tuple[int, int]) -> dict[str | None, Edges]:
        """Return starts and stops of the runs of each class of an image, on a mask of `shape` (rows, cols).

        Rows of one class are united.

        Raises
        ------
        DataError
            If run lengths are wrong or rows contradict each other; the message names the line.
        """
        if _signature(self.path) != self.signature:
            raise DataError(f"{self.path}: changed while it was in use; start again when it is complete")
        found = {}
        with Path(self.path).open("rb") as file:
            for name, rows in self.rows[image].items():
                parts = []
                for row in rows:
                    file.seek(row.offset)
                    text = _fields(file.read(row.length))[self.runs_at]
                    try:
                        parts.append(parse("" if _absent(text) else text, shape))
                    except DataError as error:
                        raise error.into(DataError, f"{self.path}, line {row.line}") from error
                filled = [row.line for row, part in zip(rows, parts, strict=True) if part.size]
                if filled and len(filled) < len(rows):
                    empty = next(row.line for row, part in zip(rows, parts, strict=True) if not part.size)
                    raise DataError(
                        f"{self.path}, line {empty}: says that {_words(image, name)} is absent, but line {filled[0]} "
                        "says where it is present; keep one of them"
                    )
                found[name] = _united(parts)
        return found


def read_table(path: str | os.PathLike[str]) -> RunLengthTable:
    """Index a table of run lengths; the index is cached until the file changes.

    The columns are ``Image_Label,EncodedPixels`` (``NAME.jpg_Class``), ``ImageId,EncodedPixels`` (one class) or
    ``ImageId,ClassId,EncodedPixels``; other columns are ignored.

    Raises
    ------
    DataError
        If the file is not such a table.
    """
    typed = os.fspath(path)
    return _indexed(typed, _signature(typed))


def table_text(rows: Iterable[Sequence[str]], *, guard: bool = True) -> str:
    """Write rows as CSV.

    Law: `read_table` reads what was written.

    Parameters
    ----------
    rows : iterable of sequence of str
        Cells of each row: names first, run lengths last.
    guard : bool
        Whether names that begin with ``=``, ``+``, ``-`` or ``@`` get a leading ``'``, because a spreadsheet would
        run them as formulas. `read_table` removes it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for *names, runs in rows:
        writer.writerow([*(f"'{name}" if guard and _FORMULA.match(name) else name for name in names), runs])
    return text.getvalue()


def tell_guarded(names: Iterable[str]) -> None:
    """Log which of the names `table_text` writes with a leading ``'``."""
    found = [name for name in names if _FORMULA.match(name)]
    if found:
        _log.warning(
            "%s: written with ' before it, or a spreadsheet would run it as a formula; geoseg reads it without, and "
            "%s",
            listed(found),
            Message("takes names as a sample table ({sample}) has them"),
        )


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def image_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the images in a table, in its order.

    Raises
    ------
    DataError
        If the file is not such a table.
    """
    return tuple(read_table(path).rows)


def _signature(path: str) -> Signature:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)
def _indexed(path: str, signature: Signature) -> RunLengthTable:
    rows: dict[str, dict[str | None, list[Row]]] = {}
    guarded = False
    try:
        with Path(path).open("rb") as file:
            head = file.readline(10_000)
            image_at, class_at, runs_at = _columns(path, _fields(head.removeprefix(b"\xef\xbb\xbf")))
            offset, width = len(head), 1 + max(image_at, class_at or 0, runs_at)
            for line, text in enumerate(file, start=2):
                place = Row(line, offset, len(text))
                offset += len(text)
                if not text.strip():
                    continue
                fields = _fields(text)
                if len(fields) < width:
                    raise DataError(
                        f"{path}, line {line}: has {plural(len(fields), 'column')}, expected {width} or more"
                    )
                plain = [_unguarded(field.strip()) for field in fields]
                guarded = guarded or any(plain[at] != fields[at].strip() for at in (image_at, class_at or 0))
                image, name = _named(path, line, plain, image_at, class_at)
                rows.setdefault(image, {}).setdefault(name, []).append(place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if not rows:
        raise DataError(f"{path}: has no rows, expected run lengths of images")
    stems: dict[str, tuple[str, ...]] = {}
    for image in rows:
        stems[stem(image)] = (*stems.get(stem(image), ()), image)
    return RunLengthTable(
        path=path,
        signature=signature,
        rows={image: {name: tuple(each) for name, each in found.items()} for image, found in rows.items()},
        classes=tuple(dict.fromkeys(name for found in rows.values() for name in found)),
        stems=stems,
        runs_at=runs_at,
        guarded=guarded,
    )


def _columns(path: str, head: list[str]) -> tuple[int, int | None, int]:
    """Return the indices of the columns of image, class (None if missing; as image if both are in one) and runs."""
    names = [name.strip().casefold().replace("_", "") for name in head]

    def place(of: tuple[str, ...]) -> int | None:
        return next((names.index(name) for name in of if name in names), None)

    both, image, runs = place(_BOTH), place(_IMAGE), place(_RUNS)
    if runs is not None and both is not None:
        return both, both, runs
    if runs is not None and image is not None:
        return image, place(_CLASS), runs
    raise DataError(
        f"{path}: its first line holds {','.join(head)[:100] or 'nothing'!s}, expected Image_Label,EncodedPixels or "
        "ImageId,EncodedPixels or ImageId,ClassId,EncodedPixels"
    )


def _named(
    path: str, line: int, fields: list[str], image_at: int, class_at: int | None
) -> tuple[str, str | None]:
    """Return the image and the class of a row."""
    image, name = fields[image_at], None
    if class_at == image_at:
        match = _IMAGE_CLASS.fullmatch(image)
        image, _, name = match.group(1, 0, 2) if match else image.rpartition("_")
        if not image:
            raise DataError(f"{path}, line {line}: holds {name[:100]!r}, expected IMAGE_CLASS")
    elif class_at is not None:
        name = fields[class_at]
    if not image or name == "":
        raise DataError(f"{path}, line {line}: names no {'class' if image else 'image'}")
    return image, name


def stem(image: str) -> str:
    """Return the name of an image without its suffix."""
    return _SUFFIX.sub("", image)


def _fields(line: bytes) -> list[str]:
    """Split a line into columns; run lengths contain no line breaks, so every line is a row."""
    csv.field_size_limit(2**31 - 1)
    return next(csv.reader([line.decode()], strict=True), [])


def _absent(text: str) -> bool:
    return text.strip().casefold() in _ABSENT


def _words(image: str, name: str | None) -> str:
    return image if name is None else f"{name} in {image}"


def _united(parts: list[Edges]) -> Edges:
    """Merge runs that may overlap."""
    if len(parts) == 1:
        return parts[0]
    starts, stops = (np.concatenate([part[i::2] for part in parts]) for i in (0, 1))
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], np.maximum.accumulate(stops[order])
    first = np.concatenate([[True], starts[1:] > stops[:-1]]) if starts.size else np.empty(0, dtype=bool)
    last = np.concatenate([first[1:], [True]]) if starts.size else first
    return np.stack([starts[first], stops[last]], axis=1).ravel()
