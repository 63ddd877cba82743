"""Write predictions for pictures as a run-length table, as competitions require."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.engine.cutting import Picture
from geoseg.engine.pictures import Shown
from geoseg.errors import REPLACE, Message, OptionError, OutputError, OutputExistsError
from geoseg.grid.window import Window
from geoseg.inference.fingerprint import work_fingerprint
from geoseg.inference.predict import Writing
from geoseg.labels.rle import encode
from geoseg.pictures.files import signatures
from geoseg.pictures.masks import large_regions
from geoseg.pictures.sheet import Sheet, plan_sheet
from geoseg.pictures.terms import PictureJob
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.output import Claim, claim, scratch_folder
from geoseg.storage.run_record import run_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Format of a run-length table.

    Parameters
    ----------
    size : (int, int), optional
        (rows, cols) of the masks; by default the size of each picture's content.
    content : (int, int, int, int), optional
        (row, col, height, width) in px of the pictures: the part that the masks show, without borders around
        it. By default the part that the labels of the model's training covered, or all.
    sample : path, optional
        A sample table, whose columns and row order are used. By default ``Image_Label`` and
        ``EncodedPixels``, for a binary model ``ImageId`` and ``EncodedPixels``; pictures sorted by
        name, and their classes by name.
    """

    size: tuple[int, int] | None = None
    content: tuple[int, int, int, int] | None = None
    sample: PathLike[str] | str | None = None

    def __post_init__(self) -> None:
        """Raise OptionError for sizes and content windows without pixels."""
        if self.size is not None and min(self.size) < 1:
            raise OptionError(f"size is {self.size[0]} x {self.size[1]} px, expected at least 1 x 1")
        if self.content is not None and (min(self.content[:2]) < 0 or min(self.content[2:]) < 1):
            raise OptionError(
                f"content is {','.join(map(str, self.content))}, expected row, column, height and width in px, the "
                "first two from 0, the others from 1"
            )


def _window(content: tuple[int, int, int, int] | None) -> Window | None:
    if content is None:
        return None
    row, col, height, width = content
    return Window(row=row, col=col, height=height, width=width)


class SubmissionSink:
    """Sink of `run_pictures` that writes parts of a table, which are joined at the end.

    Law: after a kill the parts on disk are complete, and they are the first rows of the table.

    Parameters
    ----------
    claimed : Claim
        Claim of the table's file.
    journal : Journal
        Record of the parts.
    table : Table
        Plan of the table.
    """

    def __init__(self, claimed: Claim, journal: Journal, table: Table) -> None:
        self.journal = journal
        self._claimed, self._card, self._sheet = claimed, table.work.card, table.sheet
        self.shown = Shown(content=_window(table.form.content), size=table.form.size)
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
        """Settings of an interrupted run."""
        entry = self.journal.last("settings")
        return None if entry is None else dict(entry["settings"])

    def check(self, name: str, shape: tuple[int, int]) -> None:
        """Raise OptionError unless the content window lies inside a picture."""
        content = self.shown.content
        if content is not None and content.within(shape) != content:
            raise OptionError(
                f"{name}: the content {content.row},{content.col},{content.height},{content.width} sticks out of its "
                f"{shape[0]} x {shape[1]} px",
                Message("pass another {content} (row, column, height, width)"),
            )

    def make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> str:
        """Return the rows of a picture."""
        rows, cols = picture.plan.shape if self.shown.content is None else self.shown.content.shape
        share = codes.shape[-2] * codes.shape[-1] / (rows * cols)
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
        """Write the rows that follow the written ones without a gap."""
        self._ready.update(made)
        self._flush()

    def fail(self, name: str, reason: str) -> None:
        """Leave the rows of a picture empty."""
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
        """Return whether a part written by an earlier run is unchanged, and take it over."""
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
        """Join the parts, rename the table into place, and write a record of the run beside it."""
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
    """A table to be written.

    Parameters
    ----------
    output : Path
        File of the table.
    work : Work
        The model and the options.
    form : Submission
        Format of the table, with its content window.
    sheet : Sheet
        Rows of the table.
    pictures : mapping of str to Path
        Pictures by name.
    """

    output: Path
    work: PictureJob
    form: Submission
    sheet: Sheet
    pictures: Mapping[str, Path]

    @classmethod
    def of(cls, work: PictureJob, pictures: Mapping[str, Path], output: Path, form: Submission) -> Table:
        """Plan a table.

        Raises
        ------
        DataError
        """
        sheet = plan_sheet(pictures, work.card, None if form.sample is None else Path(form.sample))
        return cls(output=output, work=work, form=form, sheet=sheet, pictures=pictures)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the table depends on, as plain JSON values."""
        work, used = self.work, {name: self.pictures[name] for name in self.sheet.images}
        found = work_fingerprint(work.card, work.model, work.cutting.tiling, work.options) | {
            "command": "predict pictures",
            "form": asdict(self.form) | {"sample": None},
            "rows": zlib.crc32(repr(self.sheet).encode()),
            "pictures": zlib.crc32(repr(signatures(used)).encode()),
        }
        return dict(json.loads(json.dumps(found)))

    def finished_before(self) -> tuple[tuple[str, str], ...] | None:
        """Return the failed pictures and reasons of an earlier finished run of the same command, else None."""
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
    """Claim the file of a table while it is made; `SubmissionSink.finish` writes it.

    Raises
    ------
    OutputError, OutputExistsError, OutputBusyError, ResumeError
    """
    output = table.output
    with claim(output, overwrite=writing.overwrite, resumable=True, fresh=writing.fresh) as claimed:
        journal = Journal(claimed.scratch, table.fingerprint)
        # A kill may have happened between the table's rename and the end.
        if output.exists() and not (writing.overwrite or journal.last("products")):
            raise OutputExistsError(f"{output}: already exists", REPLACE)
        yield SubmissionSink(claimed, journal, table)
