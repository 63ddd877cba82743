"""Which scenes a command was given, and running them: one into a file, many into a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .messages import progress, say
from .process import allow_vrt, names_vrt

if TYPE_CHECKING:
    from geoseg.inference.asked import Asked
    from geoseg.inference.options import PredictOptions, Progress
    from geoseg.inference.prepare import Job
    from geoseg.inference.summary import Report
    from geoseg.models.model import Model
    from geoseg.raster.products import Stack

    Scene = str | Stack


@dataclass(frozen=True, kw_only=True)
class Task:
    """What `predict` and `segment` do with each of their scenes.

    Parameters
    ----------
    model : Path
    options : PredictOptions
    suffix : str
        Of the outputs in a folder.
    work : callable
        Computes a prepared scene into an output.
    asked : callable
        What is to become of a scene at an output.
    """

    model: Path
    options: PredictOptions
    suffix: str
    work: Callable[[Job, Path, Progress | None], Report]
    asked: Callable[[Path], Asked]

    @cached_property
    def opened(self) -> Model:
        """The model with its weights, read once for all scenes."""
        from geoseg.models.model import Model

        return Model.open(self.model)

    def prepare(self, scene: Scene) -> Job:
        """Open a scene and check that it fits; the weights are not read yet."""
        from geoseg.inference.prepare import prepare

        job: Job = prepare(scene, self.model, self.options)
        return job


def listed(arguments: tuple[str, ...], stack: tuple[str, ...] = ()) -> list[Scene]:
    """Scenes that a person named: one by its files, or each by itself; ``-`` stands for a list on stdin, one a line."""
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
        else:
            scenes.append(argument)
    if not arguments:
        raise click.UsageError("Missing argument 'SCENE...'.")
    if not scenes:
        raise click.UsageError("the list of scenes on stdin is empty")
    consent(scenes)
    return list(scenes)


def stacked(texts: tuple[str, ...]) -> Stack:
    """Files of one scene as ``--stack`` names them; what there is a file of is no list, whatever is in its name."""
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
    """Let GDAL open VRTs where one is named, and where a scene is a file for each band, which become one."""
    from geoseg.raster.products import is_product

    names = list(names)
    if names_vrt(names) or any(map(is_product, names)):
        allow_vrt()


def pictured(scenes: list[Scene]) -> bool:
    """Whether one of the scenes is a folder of pictures."""
    from geoseg.raster.products import is_product

    return any(isinstance(name, str) and Path(name).is_dir() and not is_product(name) for name in scenes)


MAPS = (".tif", ".tiff")
"""How names of class maps end."""


def folder_of(scenes: list[Scene], output: str, endings: tuple[str, ...]) -> Path | None:
    """Return the folder that outputs go into, None where `output` is the one file to write."""
    if "://" in output or output.startswith("/vsi"):  # a Path would make a folder called s3: of it
        raise click.UsageError(f"{output}: outputs need a local file system; write locally, then copy")
    if output.endswith(("/", os.sep)) or Path(output).is_dir():
        return Path(output)
    if len(scenes) == 1:
        check_ending(output, endings)
        return None
    if Path(output).suffix.lower() in endings:
        raise click.UsageError(f"{len(scenes)} scenes cannot all become {output}, expected a folder: -o DIR/")
    return Path(output)


def check_ending(output: str, endings: tuple[str, ...]) -> None:
    """Refuse an output whose name does not end as files of the written formats do.

    Parameters
    ----------
    output : str
        As the person typed it.
    endings : tuple of str
        Allowed endings in small letters, with their dot: `MAPS`, or those of files of polygons.

    Raises
    ------
    click.UsageError
        Naming the endings that are allowed.
    """
    if not output.lower().endswith(endings):
        kind = "a GeoTIFF" if endings == MAPS else "a file of polygons"
        said = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise click.UsageError(f"{output} would be {kind}, expected a name that ends in {said}")


def beside(product: str | None, output: Path, folder: Path | None, ending: str) -> Path | None:
    """Return the file of a further product: as given, or named like the output in the folder given."""
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
    """Compute the scenes of a command and return its exit code."""
    if folder is None:
        return _watched(task, task.prepare(scenes[0]), Path(output)).exit_code
    from geoseg.inference.asked import finished_before
    from geoseg.inference.batch import run_many

    def one(scene: Scene, written: Path) -> Report:
        job, asked = task.prepare(scene), task.asked(written)
        # Also where others are to be replaced: the same command goes on behind the scenes that it has finished.
        before = None if asked.fresh else finished_before(job, asked)
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


def _watched(task: Task, job: Job, output: Path) -> Report:
    """Compute one scene and tell a person what became of it."""
    with progress() as bar:
        report = task.work(job, output, bar)
    _tell(report)
    return report


def _tell(report: Report) -> None:
    say(f"{report.output}: finished before" if report.before else str(report.output))
    for line in report.lines():
        say(line)
