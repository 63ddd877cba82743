"""Masks of pictures as PNG files in a folder, which remembers what is done."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from geoseg.engine.cutting import Picture
from geoseg.engine.pictures import Predicted
from geoseg.engine.small_regions import without_small
from geoseg.errors import OptionError, OutputError, OutputExistsError, ResumeError
from geoseg.grid.legend import NODATA, Legend
from geoseg.inference.fingerprint import work_fingerprint
from geoseg.inference.picture_files import signatures
from geoseg.inference.picture_terms import Work
from geoseg.inference.predict import Writing
from geoseg.models.card import Card
from geoseg.raster.labels import listed
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.lock import locked
from geoseg.storage.output import check_local

HISTORY = ".geoseg"
"""Folder among the masks that says what made which of them."""
_COMPRESSION = 6
_NOT_IN_NAMES = re.compile(r"[^\w+-]+")


class Masks:
    """Sink of `run_pictures`: ``NAME.png``, of a multilabel model ``NAME.CLASS.png`` for each class.

    Laws: a mask is the old complete file or the new complete one at every instant; one that is recorded as done
    is not made again as long as its picture, the model and the options stay what they were.

    Parameters
    ----------
    folder : Path
    card : Card
    journal : Journal
    pictures : mapping of str to Path
        All of them.
    """

    def __init__(self, folder: Path, card: Card, journal: Journal, pictures: Mapping[str, Path]) -> None:
        self.journal = journal
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
        """Settings of a run that was cut off; pictures that came later get their own."""
        entry = self.journal.last("settings") if self._begun & set(self.todo) else None
        return None if entry is None else dict(entry["settings"])

    def begin(self, *, overwrite: bool) -> None:
        """Record what is to be written: what a kill leaves there is this run's own to replace.

        Raises
        ------
        OutputExistsError
            If another run's, or anybody's, masks are there.
        """
        new = [name for name in self.todo if name not in self._begun]
        there = [path.name for name in new for path in self._outputs[name] if path.exists()]
        if there and not overwrite:
            raise OutputExistsError(
                f"{self._outputs[new[0]][0].parent}: already has {listed(there)}; pass --overwrite to replace them"
            )
        if new:
            self.journal.append({"begun": new})

    def check(self, name: str, shape: tuple[int, int]) -> None:
        """Every picture can be written."""

    def planes(self, predicted: Predicted) -> tuple[Tensor, Tensor]:
        """Probabilities as they are."""
        return predicted.probabilities, predicted.valid

    def make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> list[int]:
        """Write the files of a picture; return the picture's signature."""
        codes = large_regions(self._card, codes)
        layers = codes if codes.ndim == 3 else codes[None]
        for path, layer, palette in zip(self._outputs[picture.name], layers, self._palettes, strict=True):
            write_bytes(path, encode_png(layer, palette))
        return self._signatures[picture.name]

    def keep(self, made: Mapping[str, Any]) -> None:
        """Record the pictures as done."""
        self.journal.append({"done": dict(made)})

    def fail(self, name: str, reason: str) -> None:
        """Nothing is written of it."""


@contextmanager
def masks(work: Work, pictures: Mapping[str, Path], folder: Path, writing: Writing) -> Iterator[Masks]:
    """Hold a folder while masks are written into it.

    Parameters
    ----------
    work : Work
    pictures : mapping of str to Path
    folder : Path
        Made where it is missing.
    writing : Writing
        `fresh`: masks that are done are made again.

    Raises
    ------
    OutputError, OutputExistsError, OutputBusyError
    """
    check_local(folder)
    for path in pictures.values():
        if path.parent.resolve() == folder.resolve():
            raise OptionError(f"{folder}: holds the pictures; choose another folder for the masks with -o")
    mask_names(folder, pictures, work.card)
    history = folder / HISTORY
    try:
        history.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another with -o") from error
    with locked(history / "lock", folder):
        if writing.fresh:
            (history / JOURNAL).unlink(missing_ok=True)
        sink = Masks(folder, work.card, _journal(history, work, writing), pictures)
        sink.begin(overwrite=writing.overwrite)
        yield sink


def _journal(history: Path, work: Work, writing: Writing) -> Journal:
    """Open the record of a folder; that of another model or of other options is begun anew where it may be."""
    fingerprint = work_fingerprint(work.card, work.model, work.cutting.tiling, work.options)
    fingerprint |= {"command": "predict pictures"}
    try:
        return Journal(history, fingerprint)
    except ResumeError as error:
        if not writing.overwrite:
            reason = (
                str(error).partition("; run the first")[0].replace("unfinished work", "the record of masks")
            )
            raise OutputExistsError(f"{reason}; choose another folder, or pass --overwrite") from None
    (history / JOURNAL).unlink()
    return Journal(history, fingerprint)


def mask_names(folder: Path, pictures: Mapping[str, Path], card: Card) -> dict[str, list[Path]]:
    """Files of each picture.

    Raises
    ------
    OptionError
        If two of them would be the same.
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
    """Take away the regions that the card calls too small.

    Parameters
    ----------
    card : Card
    codes : ndarray of uint8, (row, col), of a multilabel task (layer, row, col)
    share : float
        Pixels of these codes that one pixel of the image's own grid has become.
    """
    if card.min_regions is None:
        return codes
    layers = codes if codes.ndim == 3 else codes[None]
    order = sorted(range(len(card.channels)), key=lambda i: card.channels[i])
    # A region of n px here covers n / share px there. Rounded first: 3 * (1 / 3) may be a little more than 1.
    sizes = [int(np.ceil(np.round(card.min_regions[i] * share, 9))) for i in order]
    kept = without_small(layers == 1, sizes)
    return np.where((layers == 1) & ~kept, np.uint8(0), layers).reshape(codes.shape)


def _palettes(card: Card) -> list[bytes]:
    """Colour table of each file of a picture: 256 times red, green, blue."""
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
    """Return codes as a PNG with a colour table; no data is transparent.

    Parameters
    ----------
    codes : ndarray of uint8, shape (row, col)
    palette : bytes
        Of all 256 codes: with fewer, they would be stored in fewer bits.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(codes))
    image.putpalette(palette)
    file = io.BytesIO()
    opaque = b"\xff" * NODATA + b"\0"
    image.save(file, "png", transparency=opaque, compress_level=_COMPRESSION)
    return file.getvalue()
