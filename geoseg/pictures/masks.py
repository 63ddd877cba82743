"""Write masks of pictures as PNG files into a folder, with a record of finished ones."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.engine.cutting import Picture
from geoseg.engine.pictures import Shown
from geoseg.engine.small_regions import without_small
from geoseg.errors import (
    ELSEWHERE,
    REPLACE,
    Message,
    OptionError,
    OutputError,
    OutputExistsError,
    ResumeError,
)
from geoseg.grid.legend import NODATA, Legend
from geoseg.inference.fingerprint import work_fingerprint
from geoseg.inference.predict import Writing
from geoseg.models.card import Card
from geoseg.pictures.files import signatures
from geoseg.pictures.terms import PictureJob
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.lock import locked
from geoseg.storage.output import check_local
from geoseg.storage.printable import listed

HISTORY = ".geoseg"
"""Folder among the masks that records how each was made."""
_COMPRESSION = 6
_NOT_IN_NAMES = re.compile(r"[^\w+-]+")


class Masks:
    """Sink of `run_pictures` that writes ``NAME.png``, or ``NAME.CLASS.png`` for each class of a multilabel
    model.

    Laws: a mask is the old complete file or the new complete one at every instant; a mask recorded as done
    is not made again as long as its picture, the model and the options do not change.

    Parameters
    ----------
    folder : Path
        Folder of the masks.
    card : Card
        The model's card.
    journal : Journal
        Record of finished masks.
    pictures : mapping of str to Path
        All pictures by name.
    """

    def __init__(self, folder: Path, card: Card, journal: Journal, pictures: Mapping[str, Path]) -> None:
        self.journal, self.shown = journal, Shown()
        self._card = card
        self._outputs = mask_names(folder, pictures, card)
        self._signatures = signatures(pictures)
        self._palettes = _palettes(card)
        done: dict[str, list[int]] = {}
        for entry in journal.entries:
            done.update(entry.get("done", {}))
        finished = {
            name
            for name, signature in self._signatures.items()
            if signature
            and done.get(name) == signature
            and all(path.exists() for path in self._outputs[name])
        }
        self._begun = {name for entry in journal.entries for name in entry.get("begun", [])}
        self.todo = {name: path for name, path in pictures.items() if name not in finished}
        self.skipped = len(finished)

    @property
    def settings(self) -> dict[str, Any] | None:
        """Settings of an interrupted run; pictures added later get their own."""
        entry = self.journal.last("settings") if self._begun & set(self.todo) else None
        return None if entry is None else dict(entry["settings"])

    def begin(self, *, overwrite: bool) -> None:
        """Record what will be written, so that a resumed run may replace its own files.

        Raises
        ------
        OutputExistsError
            If other masks exist.
        """
        new = [name for name in self.todo if name not in self._begun]
        there = [path.name for name in new for path in self._outputs[name] if path.exists()]
        if there and not overwrite:
            raise OutputExistsError(
                f"{self._outputs[new[0]][0].parent}: already has {listed(there)}", REPLACE
            )
        if new:
            self.journal.append({"begun": new})

    def check(self, name: str, shape: tuple[int, int]) -> None:
        """Accept every picture."""

    def make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> list[int]:
        """Write the masks of a picture; return the picture's signature."""
        codes = large_regions(self._card, codes)
        layers = codes if codes.ndim == 3 else codes[None]
        for path, layer, palette in zip(self._outputs[picture.name], layers, self._palettes, strict=True):
            write_bytes(path, encode_png(layer, palette))
        return self._signatures[picture.name]

    def keep(self, made: Mapping[str, Any]) -> None:
        """Record pictures as done."""
        self.journal.append({"done": dict(made)})

    def fail(self, name: str, reason: str) -> None:
        """Do nothing: a failed picture gets no mask."""


@contextmanager
def masks(work: PictureJob, pictures: Mapping[str, Path], folder: Path, writing: Writing) -> Iterator[Masks]:
    """Lock a folder while masks are written into it.

    Parameters
    ----------
    work : Work
        The model and the options.
    pictures : mapping of str to Path
        Pictures by name.
    folder : Path
        Folder of the masks; created if missing.
    writing : Writing
        How existing masks are replaced; with `fresh`, finished ones are made again.

    Raises
    ------
    OutputError, OutputExistsError, OutputBusyError
    """
    check_local(folder)
    for path in pictures.values():
        if path.parent.resolve() == folder.resolve():
            raise OptionError(f"{folder}: holds the pictures, and masks need another folder", ELSEWHERE)
    mask_names(folder, pictures, work.card)
    history = folder / HISTORY
    try:
        history.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})", ELSEWHERE) from error
    with locked(history / "lock", folder):
        if writing.fresh:
            (history / JOURNAL).unlink(missing_ok=True)
        sink = Masks(folder, work.card, _journal(history, work, writing), pictures)
        sink.begin(overwrite=writing.overwrite)
        yield sink


def _journal(history: Path, work: PictureJob, writing: Writing) -> Journal:
    """Open the record of a folder; start a new one if it belongs to another model or options and may be
    replaced.
    """
    fingerprint = work_fingerprint(work.card, work.model, work.cutting.tiling, work.options)
    fingerprint |= {"command": "predict pictures"}
    try:
        return Journal(history, fingerprint, what="the record of masks")
    except ResumeError as error:
        if not writing.overwrite:
            raise OutputExistsError(error.problem, Message("{}, or {}", ELSEWHERE, REPLACE)) from None
    (history / JOURNAL).unlink()
    return Journal(history, fingerprint)


def mask_names(folder: Path, pictures: Mapping[str, Path], card: Card) -> dict[str, list[Path]]:
    """Return the mask files of each picture.

    Raises
    ------
    OptionError
        If two files would have the same name.
    """
    endings = [".png"]
    if card.task == "multilabel":
        endings = [f".{_NOT_IN_NAMES.sub('_', name)}.png" for name in card.classes.names]
    owners: dict[str, str] = {}
    found = {}
    for name in pictures:
        files = [Path(name).stem + ending for ending in endings]
        for file in files:
            if file in owners:
                raise OptionError(f"{owners[file]} and {name} would both have a mask {file}; rename one")
            owners[file] = name
        found[name] = [folder / file for file in files]
    return found


def large_regions(card: Card, codes: npt.NDArray[np.uint8], share: float = 1.0) -> npt.NDArray[np.uint8]:
    """Remove the regions that are smaller than the card's minimum.

    Parameters
    ----------
    card : Card
        The model's card.
    codes : ndarray of uint8, (row, col), of a multilabel task (layer, row, col)
        Class codes.
    share : float
        Pixels of `codes` per pixel of the image's own grid.
    """
    if not card.region_sizes:
        return codes
    layers = codes if codes.ndim == 3 else codes[None]
    # Minimum sizes are scaled by `share`. Rounded first: 3 * (1 / 3) may be a little more than 1.
    sizes = [int(np.ceil(np.round(size * share, 9))) for size in card.region_sizes]
    kept = without_small(layers == 1, sizes)
    return np.where((layers == 1) & ~kept, np.uint8(0), layers).reshape(codes.shape)


def _palettes(card: Card) -> list[bytes]:
    """Return the colour table of each mask of a picture: 256 times red, green, blue."""
    legend: Legend = card.classes
    if card.task == "multilabel":
        return [_palette({1: each.rgb}) for each in legend.classes]
    return [_palette({each.code: each.rgb for each in legend.classes})]


def _palette(colors: Mapping[int, tuple[int, int, int]]) -> bytes:
    table = np.zeros((256, 3), dtype=np.uint8)
    for code, color in colors.items():
        table[code] = color
    return table.tobytes()


def encode_png(codes: npt.NDArray[np.uint8], palette: bytes) -> bytes:
    """Encode codes as a PNG with a colour table in which no data is transparent.

    Parameters
    ----------
    codes : ndarray of uint8, shape (row, col)
        Class codes.
    palette : bytes
        Colours of all 256 codes: with fewer, Pillow would store fewer bits.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(codes))
    image.putpalette(palette)
    file = io.BytesIO()
    opaque = b"\xff" * NODATA + b"\0"
    image.save(file, "png", transparency=opaque, compress_level=_COMPRESSION)
    return file.getvalue()
