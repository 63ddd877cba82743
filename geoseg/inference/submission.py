"""What a model finds in pictures as a table of run lengths, as competitions ask for it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from geoseg.engine.cutting import Picture
from geoseg.engine.pictures import Predicted
from geoseg.engine.resized import resize_planes, resize_valid
from geoseg.errors import OptionError, OutputError, OutputExistsError
from geoseg.grid.window import Window
from geoseg.inference.fingerprint import work_fingerprint
from geoseg.inference.masks import large_regions
from geoseg.inference.picture_files import signatures
from geoseg.inference.picture_terms import Work
from geoseg.inference.predict import Writing
from geoseg.inference.sheet import Sheet, plan_sheet
from geoseg.inference.summary import run_file
from geoseg.models.card import Card
from geoseg.raster.rle import encode
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.output import Claim, claim, scratch_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Form of a table of run lengths.

    Parameters
    ----------
    size : (int, int), optional
        (rows, cols) of its masks; by default those of each picture's content.
    content : (int, int, int, int), optional
        (row, col, height, width) in px of the pictures: the part that the masks show, without the bars around
        it. By default what the labels of the model's training covered, which is all where they do not say.
    like : path, optional
        A sample of the table: its columns, and its rows in their order. By default ``Image_Label`` and
        ``EncodedPixels``, of a binary model ``ImageId`` and ``EncodedPixels``; pictures in the order of their
        names, and of each the classes in that of theirs.
    """

    size: tuple[int, int] | None = None
    content: tuple[int, int, int, int] | None = None
    like: Path | str | None = None


def content_of(card: Card) -> tuple[int, int, int, int] | None:
    """(row, col, height, width) of the images that the labels of a model's training covered, where it says so."""
    found: Any = card.training
    for key in ("config", "data", "labels", "content"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, list | tuple) or len(found) != 4 or not all(type(n) is int for n in found):
        return None
    row, col, height, width = found
    return row, col, height, width


class SubmissionSink:
    """Sink of `run_pictures`: parts of the table, which are put together at the end.

    Law: after a kill the parts on the disk are whole, and they are the first rows of the table.

    Parameters
    ----------
    claimed : Claim
    journal : Journal
    table : Table
    """

    def __init__(self, claimed: Claim, journal: Journal, table: Table) -> None:
        self.journal = journal
        self._claimed, self._card, self._form, self._sheet = (
            claimed, table.work.card, table.form, table.sheet,
        )  # fmt: skip
        self._fingerprint = table.fingerprint
        self._order = list(table.sheet.images)
        self._ready: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._parts: list[int] = []
        self._written = 0
        self.earlier: list[tuple[str, str]] = []
        for entry in journal.entries:
            if "part" in entry and not self._whole(entry):
                break
        self.todo = {name: table.pictures[name] for name in self._order[self._written :]}
        self.skipped = self._written - len(self.earlier)

    @property
    def settings(self) -> dict[str, Any] | None:
        """Settings of a run that was cut off."""
        entry = self.journal.last("settings")
        return None if entry is None else dict(entry["settings"])

    def check(self, name: str, shape: tuple[int, int]) -> None:
        """Raise OptionError unless the content lies in a picture."""
        if self._form.content is None:
            return
        row, col, height, width = self._form.content
        if Window(row=row, col=col, height=height, width=width).within(shape) is None or (
            row + height > shape[0] or col + width > shape[1]
        ):
            raise OptionError(
                f"{name}: the content {row},{col},{height},{width} sticks out of its {shape[0]} x {shape[1]} px; "
                "pass --content ROW,COL,HEIGHT,WIDTH"
            )

    def planes(self, predicted: Predicted) -> tuple[Tensor, Tensor]:
        """Probabilities of the content, at the size of the table's masks."""
        probabilities, valid = predicted.probabilities, predicted.valid
        there = predicted.picture.valid
        if self._form.content is not None:
            row, col, height, width = self._form.content
            inside = slice(row, row + height), slice(col, col + width)
            probabilities, valid, there = probabilities[(slice(None), *inside)], valid[inside], there[inside]
        shape = self._form.size or tuple(there.shape)
        if there.all():
            return resize_planes(probabilities, shape), valid.new_ones(shape)
        return resize_valid(probabilities, valid, shape)

    def make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> str:
        """Return the rows of a picture."""
        _, _, *shape = self._form.content or (0, 0, *picture.plan.shape)
        share = codes.shape[-2] * codes.shape[-1] / (shape[0] * shape[1])
        codes = large_regions(self._card, codes, share)
        runs = {}
        for each in self._sheet.images[picture.name][1]:
            if self._card.task == "multilabel":
                mask = codes[self._card.classes.codes.index(each.code)] == 1
            else:
                mask = codes == each.code
            runs[each.code] = encode(mask)
        return self._sheet.rows(picture.name, runs)

    def keep(self, made: Mapping[str, Any]) -> None:
        """Write the rows that no picture before them is missing for."""
        self._ready.update(made)
        self._flush()

    def fail(self, name: str, reason: str) -> None:
        """Leave its rows empty."""
        self._failed[name] = reason
        self._ready[name] = self._sheet.rows(name, {})

    def _flush(self) -> None:
        stop = self._written
        while stop < len(self._order) and self._order[stop] in self._ready:
            stop += 1
        names = self._order[self._written : stop]
        if not names:
            return
        data = "".join(self._ready.pop(name) for name in names).encode()
        number = len(self._parts)
        write_bytes(self._part(number), data)
        failed = {name: self._failed.pop(name) for name in names if name in self._failed}
        self.journal.append(
            {"part": number, "crc32": zlib.crc32(data), "pictures": len(names), "failed": failed}
        )
        self._parts.append(zlib.crc32(data))
        self._written += len(names)

    def _whole(self, entry: dict[str, Any]) -> bool:
        """Take up a part that an earlier try wrote, if it is as it was."""
        try:
            data = self._part(entry["part"]).read_bytes()
        except OSError:
            return False
        if entry["part"] != len(self._parts) or zlib.crc32(data) != entry["crc32"]:
            return False
        self._parts.append(entry["crc32"])
        self._written += entry["pictures"]
        self.earlier += entry["failed"].items()
        return True

    def _part(self, number: int) -> Path:
        return self._claimed.scratch / f"part-{number:06d}.csv"

    def finish(self) -> None:
        """Put the parts together, give the table its name, and note beside it what it was made of."""
        self._flush()
        self.journal.append({"products": True})
        finished = self._claimed.prepare()
        try:
            with finished.open("wb") as file:
                file.write(self._sheet.head.encode())
                for number, checksum in enumerate(self._parts):
                    data = self._part(number).read_bytes()
                    if zlib.crc32(data) != checksum:
                        raise OutputError(f"{self._part(number)}: changed while it was in use; run again")
                    file.write(data)
        except OSError as error:
            raise OutputError(
                f"{self._claimed.path}: cannot be written ({error.strerror}); make room and run again"
            ) from error
        self._claimed.commit(finished)
        failed = dict(entry for each in self.journal.entries for entry in each.get("failed", {}).items())
        content = {"output": self._claimed.path.name, "fingerprint": self._fingerprint, "failed": failed}
        write_bytes(run_file(self._claimed.path), (json.dumps(content, indent=1) + "\n").encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that is to be written.

    Parameters
    ----------
    output : Path
    work : Work
    form : Submission
        With its content.
    sheet : Sheet
    pictures : mapping of str to Path
    """

    output: Path
    work: Work
    form: Submission
    sheet: Sheet
    pictures: Mapping[str, Path]

    @classmethod
    def of(cls, work: Work, pictures: Mapping[str, Path], output: Path, form: Submission) -> Table:
        """Plan a table.

        Raises
        ------
        DataError
        """
        sheet = plan_sheet(pictures, work.card, form.like)
        return cls(output=output, work=work, form=form, sheet=sheet, pictures=pictures)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that it depends on, as plain JSON values."""
        work, used = self.work, {name: self.pictures[name] for name in self.sheet.images}
        found = work_fingerprint(work.card, work.model, work.cutting.tiling, work.options) | {
            "command": "predict pictures",
            "form": asdict(self.form) | {"like": None},
            "rows": zlib.crc32(repr(self.sheet).encode()),
            "pictures": zlib.crc32(repr(signatures(used)).encode()),
        }
        return dict(json.loads(json.dumps(found)))

    def finished_before(self) -> tuple[tuple[str, str], ...] | None:
        """Return the pictures that failed, and why, where the same command finished before; None elsewhere."""
        if not self.output.is_file() or (scratch_folder(self.output) / JOURNAL).exists():
            return None
        try:
            found = json.loads(run_file(self.output).read_text(encoding="utf-8"))
            same = found["fingerprint"] == self.fingerprint
            return tuple(found["failed"].items()) if same else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


@contextmanager
def submission(table: Table, writing: Writing) -> Iterator[SubmissionSink]:
    """Hold the name of a table while it is made; `SubmissionSink.finish` writes it.

    Raises
    ------
    OutputError, OutputExistsError, OutputBusyError, ResumeError
    """
    output = table.output
    with claim(output, overwrite=writing.overwrite, resumable=True, fresh=writing.fresh) as claimed:
        journal = Journal(claimed.scratch, table.fingerprint)
        # A kill may have fallen between the table's rename and the end.
        if output.exists() and not (writing.overwrite or journal.last("products")):
            raise OutputExistsError(f"{output}: already exists; pass --overwrite to replace it")
        yield SubmissionSink(claimed, journal, table)
