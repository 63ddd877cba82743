"""The scenes given to a command, and their outputs: one into a file, many into a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.errors import plural

from .messages import progress, say
from .process import allow_vrt, names_vrt

if TYPE_CHECKING:
    from geoseg.inference.options import PredictOptions
    from geoseg.inference.prepare import Job
    from geoseg.models.model import Model
    from geoseg.progress import OnProgress
    from geoseg.raster.products import Stack
    from geoseg.storage.run_record import RunRecord

    Scene = str | Stack


@dataclass(frozen=True, kw_only=True)
class Task:
    """The work of `predict` or `segment` on each scene.

    Parameters
    ----------
    model : Path
        Model file.
    options : PredictOptions
        Options of the prediction.
    suffix : str
        Suffix of the outputs in a folder.
    work : callable
        Processes a prepared scene into an output.
    aimed : callable
        Returns a job with the products to write for an output.
    """

    model: Path
    options: PredictOptions
    suffix: str
    work: Callable[[Job, Path, OnProgress | None], RunRecord]
    aimed: Callable[[Job, Path], Job]

    @cached_property
    def opened(self) -> Model:
        """The model with its weights, read once for all scenes."""
        from geoseg.models.model import Model

        return Model.open(self.model)

    def prepare(self, scene: Scene) -> Job:
        """Open a scene and check that it matches the model; the weights are not read yet."""
        from geoseg.inference.prepare import prepare_job

        job: Job = prepare_job(scene, self.model, self.options)
        return job


def listed(arguments: tuple[str, ...], stack: tuple[str, ...] = ()) -> list[Scene]:
    """Return the scenes given to a command: one by its files, or several; ``-`` reads a list from stdin, and a
    ``.txt`` file is one, one per line.
    """
    if stack:
        if arguments:
            raise click.UsageError(
                f"--stack is the scene, and {arguments[0]} is another; run one after the other"
            )
        return [stacked(stack)]
    scenes: list[str] = []
    for argument in arguments:
        if argument == "-":
            lines = sys.stdin.read().splitlines()
            scenes += [line.strip() for line in lines if line.strip()]
        elif argument.lower().endswith(".txt"):
            scenes += _lines_of(Path(argument))
        else:
            scenes.append(argument)
    if not arguments:
        raise click.UsageError("Missing argument 'SCENE...'.")
    if not scenes:
        raise click.UsageError("the list of scenes on stdin is empty")
    consent(scenes)
    return list(scenes)


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a list of scenes, as they would be typed."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise click.UsageError(
            f"{path}: cannot be read ({error.strerror}), expected a list of scenes"
        ) from error
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"{path}: is not UTF-8 text, expected a list of scenes, one per line"
        ) from error
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise click.UsageError(f"{path}: is empty, expected a list of scenes, one per line")
    return found


def stacked(texts: tuple[str, ...]) -> Stack:
    """Return the files of ``--stack``; a text that is an existing file is not split at commas."""
    from geoseg.raster.products import listed_stack

    parts = [part.strip() for text in texts for part in ([text] if Path(text).exists() else text.split(","))]
    files = []
    for part in parts:
        name, equals, path = part.partition("=")
        named = equals and not Path(part).exists() and "/" not in name
        files.append((name.strip(), path.strip()) if named else (None, part))
    if not all(path for _, path in files):
        raise click.UsageError(
            f"--stack {','.join(texts)}: a name is empty, expected FILE,FILE,... or NAME=FILE,..."
        )
    allow_vrt()
    return listed_stack(files)


def consent(names: Iterable[str]) -> None:
    """Allow GDAL to open VRTs if one is named, or if a scene has one file per band, which are joined in a VRT."""
    from geoseg.raster.products import is_product

    names = list(names)
    if names_vrt(names) or any(map(is_product, names)):
        allow_vrt()


def pictured(scenes: list[Scene]) -> bool:
    """Return whether one of the scenes is a folder of pictures."""
    from geoseg.raster.products import is_product

    return any(isinstance(name, str) and Path(name).is_dir() and not is_product(name) for name in scenes)


MAPS = (".tif", ".tiff")
"""Suffixes of class maps."""


def folder_of(scenes: list[Scene], output: str, endings: tuple[str, ...]) -> Path | None:
    """Return the folder for the outputs; None if `output` is a single file."""
    if "://" in output or output.startswith("/vsi"):  # a Path would treat it as a folder called s3:
        raise click.UsageError(f"{output}: outputs need a local file system; write locally, then copy")
    if output.endswith(("/", os.sep)) or Path(output).is_dir():
        return Path(output)
    if len(scenes) == 1:
        check_ending(output, endings)
        return None
    if Path(output).suffix.lower() in endings:
        raise click.UsageError(
            f"{plural(len(scenes), 'scene')} cannot all become {output}, expected a folder: -o DIR/"
        )
    return Path(output)


def check_ending(output: str, endings: tuple[str, ...]) -> None:
    """Raise UsageError for an output whose suffix is not one of the written formats.

    Parameters
    ----------
    output : str
        Path as typed by the user.
    endings : tuple of str
        Allowed suffixes in lower case, with their dot: `MAPS`, or those of polygon files.

    Raises
    ------
    click.UsageError
        If the suffix is wrong; names the allowed ones.
    """
    if not output.lower().endswith(endings):
        kind = "a GeoTIFF" if endings == MAPS else "a file of polygons"
        said = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise click.UsageError(f"{output} would be {kind}, expected a name that ends in {said}")


def beside(product: str | None, output: Path, folder: Path | None, ending: str) -> Path | None:
    """Return the path of a further product: as given, or named like the output in the given folder."""
    if product is None:
        return None
    if folder is None:
        check_ending(product, MAPS)
        return Path(product)
    if Path(product).suffix and not Path(product).is_dir():
        raise click.UsageError(f"outputs go into a folder, but {product} is a file, expected a folder: DIR/")
    Path(product).mkdir(parents=True, exist_ok=True)
    return Path(product) / (output.stem + ending)


def run(scenes: list[Scene], output: str, folder: Path | None, task: Task) -> int:
    """Process the scenes of a command and return its exit code."""
    if folder is None:
        return _watched(task, task.prepare(scenes[0]), Path(output)).exit_code
    from geoseg.inference.batch import run_many
    from geoseg.inference.earlier import finished_before

    def one(scene: Scene, written: Path) -> RunRecord:
        job = task.aimed(task.prepare(scene), written)
        # Also with --overwrite: scenes that the same command has finished are not repeated.
        before = None if job.fresh else finished_before(job)
        if before is None:
            return _watched(task, replace(job, model=task.opened), written)
        _tell(before)
        return before

    outcome = run_many(scenes, folder, task.suffix, one)
    say(
        f"{folder}: {len(outcome.reports) - outcome.before} done, {outcome.before} finished before, "
        f"{len(outcome.failed)} failed"
    )
    return outcome.exit_code


def _watched(task: Task, job: Job, output: Path) -> RunRecord:
    """Process one scene and print the result."""
    with progress() as bar:
        report = task.work(job, output, bar)
    _tell(report)
    return report


def _tell(report: RunRecord) -> None:
    say(f"{report.output}: finished before" if report.before else str(report.output))
    for line in report.lines():
        say(line)
