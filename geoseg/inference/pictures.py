"""A model over many small pictures, in large batches."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import OptionError
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.picture_files import Paths, list_pictures
from geoseg.inference.predict import Writing
from geoseg.inference.submission import Submission, content_of
from geoseg.inference.summary import profile_line
from geoseg.storage.output import clear_leftovers

if TYPE_CHECKING:
    from geoseg.inference.picture_terms import Tally, Work
    from geoseg.models.model import Model

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesReport:
    """What became of many pictures.

    Parameters
    ----------
    output : Path
        Folder of the masks, or table.
    done : tuple of str
        Pictures that were predicted now.
    skipped : int
        Pictures that were finished before.
    failed : tuple of (str, str)
        Picture and reason. In a table their rows are there and empty.
    damaged : tuple of str
        Pictures of which a part could not be read and is no data.
    pixels : int
        Of those that were predicted now.
    seconds : float
        From the loaded model to the last file.
    settings : dict
        Device, precision, batch size, threads.
    shrunk : tuple of int
        Batch sizes that were fallen back to for lack of memory.
    profile : dict of str to float, optional
        Where the time of `seconds` went, s, as from `Clock.profile`; reading and writing add up over threads.
    """

    output: Path
    done: tuple[str, ...]
    skipped: int
    failed: tuple[tuple[str, str], ...]
    damaged: tuple[str, ...]
    pixels: int
    seconds: float
    settings: dict[str, object]
    shrunk: tuple[int, ...]
    profile: dict[str, float] | None = None

    @property
    def exit_code(self) -> int:
        """0, or 3 where pictures failed or have areas without data."""
        return 3 if self.failed or self.damaged else 0

    def lines(self) -> Iterator[str]:
        """Summary for a person, line by line."""
        yield (
            f"{self.output}: {len(self.done)} done, {self.skipped} finished before, {len(self.failed)} failed"
        )
        if self.done:
            seconds = max(self.seconds, 1e-9)
            settings = ", ".join(f"{key} {value}" for key, value in self.settings.items())
            yield (
                f"  {self.seconds:.1f} s, {len(self.done) / seconds:.1f} pictures/s, "
                f"{self.pixels / seconds / 1e6:.2f} million px/s; {settings}"
            )
        if self.profile is not None:
            yield f"  {profile_line(self.profile, self.seconds)}"
        if self.shrunk:
            sizes = ", ".join(map(str, self.shrunk))
            yield f"  memory ran out: the batch size went down to {sizes}"
        if self.damaged:
            yield f"  parts could not be read and are no data: {', '.join(self.damaged)}"


def predict_pictures(
    pictures: Paths | Sequence[Paths],
    model: Path | str | Model,
    output: Path | str,
    *,
    submission: Submission | None = None,
    options: PredictOptions | None = None,
    writing: Writing | None = None,
    progress: Progress | None = None,
) -> PicturesReport:
    """Classify every pixel of many small pictures; their tiles share batches.

    An interrupted run continues with the same call. What a picture becomes is what `predict` makes of it alone,
    but for regions smaller than the model's card wants them (`min_regions`).

    Parameters
    ----------
    pictures : path or sequence of paths
        Folders, whose pictures (JPEG, PNG, TIFF, JPEG 2000) are taken, or files; their sizes may differ.
    model : path or Model
    output : path
        Folder for the masks: ``NAME.png``, its numbers the class codes, its colours the legend's, 255 (no data)
        transparent. Of a multilabel model ``NAME.CLASS.png`` for each class, 1 where it is and 0 where it is
        not. With `submission` the table to write.
    submission : Submission, optional
        Write one table of run lengths in place of masks.
    options : PredictOptions, optional
        Without `bounds`, `clip` and `resolution`, which are for scenes.
    writing : Writing, optional
    progress : callable, optional

    Returns
    -------
    PicturesReport
        Pictures that cannot be read or do not fit the model are in it; the others are done.

    Raises
    ------
    GeosegError
        What is wrong with model, options or output is found before the model runs.
    """
    from geoseg.inference.masks import masks
    from geoseg.inference.picture_run import run_pictures
    from geoseg.inference.picture_terms import Work
    from geoseg.inference.submission import Table
    from geoseg.inference.submission import submission as open_submission

    options, writing = options or PredictOptions(), writing or Writing()
    options.refuse_devices("pictures are predicted by one")
    if options.bounds is not None or options.clip is not None:
        raise OptionError("--bounds and --clip are for scenes; name the files in place of their folder")
    if options.resolution is not None:
        raise OptionError("--resolution is for scenes of several files, and these are pictures; leave it out")
    found, output = list_pictures(pictures), Path(output)
    work = Work.of(model, options)
    if submission is None:
        with masks(work, found, output, writing) as folder:
            tally = run_pictures(work, folder, progress) if folder.todo else None
            return _report(output, folder.skipped, tally)
    planned = Table.of(work, found, output, _with_content(submission, work))
    before = None if writing.overwrite or writing.fresh else planned.finished_before()
    if before is not None:
        clear_leftovers(output)
        return _report(output, len(planned.sheet.images) - len(before), None, before)
    with open_submission(planned, writing) as table:
        tally = run_pictures(work, table, progress) if table.todo else None
        table.finish()
        return _report(output, table.skipped, tally, table.earlier)


def _with_content(form: Submission, work: Work) -> Submission:
    """Take the content of the model's training where none is given."""
    content = content_of(work.card)
    if form.content is not None or content is None:
        return form
    log.warning(
        "the part %s of the pictures (row, column, height, width) is shown, which the labels of the model "
        "covered; --content says another",
        ",".join(map(str, content)),
    )
    return dataclasses.replace(form, content=content)


def _report(
    output: Path, skipped: int, tally: Tally | None, earlier: Sequence[tuple[str, str]] = ()
) -> PicturesReport:
    return PicturesReport(
        output=output,
        done=tuple(tally.done) if tally else (),
        skipped=skipped,
        failed=(*earlier, *(tally.failed if tally else ())),
        damaged=tuple(tally.damaged) if tally else (),
        pixels=tally.pixels if tally else 0,
        seconds=tally.seconds if tally else 0.0,
        settings=tally.settings.to_json() if tally else {},
        shrunk=tuple(tally.shrunk) if tally else (),
        profile=tally.profile if tally else None,
    )
