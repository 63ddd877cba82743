"""Predict many small pictures, whose tiles are computed together."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from geoseg.errors import Message, OptionError
from geoseg.grid.html import html_table
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import Writing
from geoseg.pictures.files import Paths, list_pictures
from geoseg.pictures.submission import Submission
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.storage.output import clear_leftovers
from geoseg.storage.run_record import profile_line

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend
    from geoseg.models.model import Model
    from geoseg.pictures.terms import PictureJob, PictureTotals
    from geoseg.raster.declared import Nodata, NodataRule

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesReport:
    """Results of predicting many pictures.

    Parameters
    ----------
    output : Path
        Folder of the masks, or the table.
    done : tuple of str
        Pictures that this run predicted.
    skipped : int
        Number of pictures that earlier runs had finished.
    failed : tuple of (str, str)
        Pictures that failed, with the reason. In a table their rows are empty.
    damaged : tuple of str
        Pictures of which a part could not be read; it is no data.
    pixels : int
        Number of pixels that this run predicted.
    seconds : float
        Time from the loaded model to the last file.
    settings : dict
        Device, precision, batch size, threads.
    shrunk : tuple of int
        Smaller batch sizes that were chosen for lack of memory.
    profile : dict of str to float, optional
        Seconds per stage, see `Clock.profile`; reading and writing add up over threads.
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
        """0, or 3 if pictures failed or have areas without data."""
        return 3 if self.failed or self.damaged else 0

    def _repr_html_(self) -> str:
        """Show the summary in a notebook, and which pictures failed and why."""
        title, *about = self.lines()
        summary = html_table((), ((line.strip(),) for line in about), title)
        return summary + (html_table(("failed", "why"), self.failed) if self.failed else "")

    def lines(self) -> Iterator[str]:
        """Yield a summary for people, line by line."""
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
    *,
    output: PathLike[str] | str | None = None,
    submission: PathLike[str] | str | None = None,
    size: tuple[int, int] | None = None,
    content: tuple[int, int, int, int] | None = None,
    sample: PathLike[str] | str | None = None,
    bands: Sequence[int | str] | None = None,
    legend: Legend | PathLike[str] | str | None = None,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    tile_size: int | None = None,
    overlap: int | None = None,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    precision: str = "auto",
    tta: bool = False,
    compile: bool = False,  # noqa: A002
    profile: bool = False,
    on_error: str = "stop",
    allow_remote: bool = False,
    expand_palette: bool = False,
    assume_crs: str | None = None,
    force: bool = False,
    overwrite: bool = False,
    resume: bool = True,
    progress: ShowProgress = None,
) -> PicturesReport:
    """Classify every pixel of many small pictures, whose tiles share batches.

    An interrupted run continues with the same call. The result of each picture is that of `predict` on it alone.

    Parameters
    ----------
    pictures : path or sequence of paths
        Folders of pictures (JPEG, PNG, TIFF, JPEG 2000), or files; sizes may differ.
    model : path or Model
        A model file, or one that is open.
    output : path
        Folder for the masks: ``NAME.png``, its numbers the class codes, its colours the legend's, 255 (no data)
        transparent. Of a multilabel model ``NAME.CLASS.png`` for each class, 1 where it is and 0 where it is
        not. Either this or `submission`.
    submission : path
        Table of run lengths to write instead of masks (``.csv``).
    size : (int, int), optional
        (rows, cols) of the masks in that table; by default those of each picture's content.
    content : (int, int, int, int), optional
        (row, col, height, width) in px of the pictures: the part that the masks in the table show, without the bars
        around it. By default what the labels of the model's training covered, which is all where they do not say.
    sample : path, optional
        A sample of the table: its columns, and its rows in their order. By default ``Image_Label`` and
        ``EncodedPixels``, of a binary model ``ImageId`` and ``EncodedPixels``; pictures in the order of their
        names, and of each the classes in that of theirs.
    bands : sequence of int or str, optional
        Which bands of the pictures (1-based numbers or names) are the model's bands, in the model's order.
    legend : Legend or path, optional
        Names and colours of codes in the products, instead of the model's; codes that it does not contain keep
        theirs.
    nodata : number, str or sequence, optional
        No-data value of the pictures, instead of what their files declare: a number, ``"none"``, or one of
        these for each band; several values of one band as a sequence.
    nodata_rule : str, optional
        Whether a pixel is no data where ``all`` bands are, or where ``any`` is; by default ``all`` where the
        bands have the same value, else ``any``.
    alpha : int or str, optional
        Number of the band whose pixels above 0 are valid, or ``"none"``; by default the one tagged alpha, unless
        its name or its numbers say that it is an image.
    tile_size, overlap : int, optional
        Tile size and overlap of neighbouring tiles, px; the model's by default.
    batch_size : int or "auto"
        Number of tiles per call of the model; ``auto``: the fastest on this device, found by a short trial.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    precision : str
        ``auto``, ``fp32``, ``bf16``, ``fp16``, or ``int8`` after `geoseg.quantize`.
    tta : bool
        Whether to use test-time augmentation, the mean over the 8 symmetries of every tile: 8 times the work.
    compile : bool
        Whether to compile the network first (CUDA only): worthwhile for very many pictures.
    profile : bool
        Whether to measure the time of each stage, for the report that is returned.
    on_error : str
        What to do if a part of a picture cannot be read: count the picture as failed (``stop``), or write
        ``nodata`` there.
    allow_remote : bool
        Whether a VRT may refer to remote files.
    expand_palette : bool
        Whether a palette image is read as red, green and blue.
    assume_crs : str, optional
        CRS of pictures that have none, for example ``EPSG:32633``.
    force : bool
        Whether to continue if pictures and model do not match.
    overwrite : bool
        Whether to replace existing files. By default products of an earlier equal call are kept, missing ones
        are made, and any other existing file is an error.
    resume : bool
        Whether to continue unfinished work of the same call; False discards it.
    progress : bool or callable, optional
        Whether to show a progress bar, or a function that is called with (done, total, what). By default a bar
        appears in a terminal or notebook if the work takes more than a few seconds.

    Returns
    -------
    PicturesReport
        The results; pictures that cannot be read or do not match the model are listed, the others are done.

    Raises
    ------
    GeosegError
        If model, options or output are invalid; raised before the model runs.
    """
    options = PredictOptions.of(locals())
    if (output is None) == (submission is None):
        found = "neither" if output is None else "both"
        raise OptionError(
            f"pictures become masks in the folder output or a table, submission; found {found}, expected one of them"
        )
    for name, value in {"size": size, "content": content, "sample": sample}.items():
        if submission is None and value is not None:
            raise OptionError(
                f"{name} is for a table of run lengths, expected submission with the name of one"
            )
    writing = Writing(overwrite=overwrite, fresh=not resume)
    with shown(progress) as told:
        if submission is not None:
            form = Submission(size=size, content=content, sample=sample)
            return write_submission(pictures, model, Path(submission), form, (options, writing), told)
        assert output is not None
        return write_masks(pictures, model, Path(output), (options, writing), told)


def write_masks(
    pictures: Paths | Sequence[Paths],
    model: Path | str | Model,
    folder: Path,
    how: tuple[PredictOptions, Writing],
    progress: OnProgress | None,
) -> PicturesReport:
    """Write a mask of each picture, as `predict_pictures` does."""
    from geoseg.pictures.masks import masks
    from geoseg.pictures.run import run_pictures

    options, writing = how
    found, work = _begun(pictures, model, options)
    with masks(work, found, folder, writing) as sink:
        totals = run_pictures(work, sink, progress) if sink.todo else None
        return _report(folder, sink.skipped, totals)


def write_submission(
    pictures: Paths | Sequence[Paths],
    model: Path | str | Model,
    output: Path,
    form: Submission,
    how: tuple[PredictOptions, Writing],
    progress: OnProgress | None,
) -> PicturesReport:
    """Write one table of run lengths, as `predict_pictures` does."""
    from geoseg.pictures.run import run_pictures
    from geoseg.pictures.submission import Table, submission

    options, writing = how
    found, work = _begun(pictures, model, options)
    planned = Table.of(work, found, output, _with_content(form, work))
    before = None if writing.overwrite or writing.fresh else planned.finished_before()
    if before is not None:
        clear_leftovers(output)
        return _report(output, len(planned.sheet.images) - len(before), None, before)
    with submission(planned, writing) as table:
        totals = run_pictures(work, table, progress) if table.todo else None
        table.finish()
        return _report(output, table.skipped, totals, table.earlier)


def _begun(
    pictures: Paths | Sequence[Paths], model: Path | str | Model, options: PredictOptions
) -> tuple[dict[str, Path], PictureJob]:
    """Return the files that `pictures` stands for by name, and the job that they all share."""
    from geoseg.pictures.terms import PictureJob

    _refuse_scenes(options)
    return list_pictures(pictures), PictureJob.of(model, options)


def _refuse_scenes(options: PredictOptions) -> None:
    """Refuse flags that pictures have no use for; the function has no such keywords."""
    options.refuse_devices("pictures are predicted by one")
    if options.bounds is not None or options.clip is not None:
        raise OptionError(
            Message("{bounds} and {clip} are for scenes"), "name the files instead of their folder"
        )
    if options.resolution is not None:
        raise OptionError(
            Message("{resolution} is for scenes of several files, and these are pictures"), "leave it out"
        )


def _with_content(form: Submission, work: PictureJob) -> Submission:
    """Use the content window of the model's training if none is given."""
    content = work.card.content
    if form.content is not None or content is None:
        return form
    log.warning(
        "the part %s of the pictures (row, column, height, width) is shown, which the labels of the model "
        "covered; %s",
        ",".join(map(str, content)),
        Message("{content} says another"),
    )
    return dataclasses.replace(form, content=content)


def _report(
    output: Path, skipped: int, totals: PictureTotals | None, earlier: Sequence[tuple[str, str]] = ()
) -> PicturesReport:
    return PicturesReport(
        output=output,
        done=tuple(totals.done) if totals else (),
        skipped=skipped,
        failed=(*earlier, *(totals.failed if totals else ())),
        damaged=tuple(totals.damaged) if totals else (),
        pixels=totals.pixels if totals else 0,
        seconds=totals.seconds if totals else 0.0,
        settings=totals.settings.to_json() if totals else {},
        shrunk=tuple(totals.shrunk) if totals else (),
        profile=totals.profile if totals else None,
    )
