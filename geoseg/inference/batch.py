"""Process many scenes into one folder, skipping finished ones and reporting those that fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ELSEWHERE, GeosegError, OptionError, OutputBusyError, OutputError, OutputExistsError
from geoseg.raster.products import is_metadata
from geoseg.storage.run_record import RunRecord

log = logging.getLogger("geoseg")

One = Callable[[Any, Path], RunRecord]
"""Processes one scene into one output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Results of processing many scenes.

    Parameters
    ----------
    reports : tuple of Report
        Records of the finished scenes, including those finished by earlier runs.
    failed : tuple of (str, str)
        Scenes that failed, with the reason.
    in_the_way : int
        How many of them failed because their output exists or is being written.
    """

    reports: tuple[RunRecord, ...]
    failed: tuple[tuple[str, str], ...]
    in_the_way: int = 0

    @property
    def before(self) -> int:
        """Number of scenes that earlier runs had finished."""
        return sum(report.before for report in self.reports)

    @property
    def exit_code(self) -> int:
        """0, or 3 if a scene failed or has areas without data; 4 if outputs were in the way, and nothing else."""
        unread = len(self.failed) > self.in_the_way or any(report.exit_code for report in self.reports)
        return 3 if unread else OutputExistsError.exit_code if self.failed else 0


def run_many(scenes: Sequence[Any], folder: Path, suffix: str, one: One) -> Outcome:
    """Process every scene into ``folder/<stem><suffix>``.

    Parameters
    ----------
    scenes : sequence of str or Stack
        The scenes.
    folder : Path
        Folder of the outputs; created if missing.
    suffix : str
        Suffix of the outputs, such as ``.gpkg``.
    one : callable
        Processes one scene, or returns the record of an earlier run.

    Raises
    ------
    OptionError
        If two scenes would have the same output.
    OutputError
        If the folder cannot be created.
    """
    outputs = name_outputs(scenes, folder, suffix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})", ELSEWHERE) from error
    reports, failed, in_the_way = [], [], 0
    for scene, output in zip(scenes, outputs, strict=True):
        try:
            reports.append(one(scene, output))
        except GeosegError as error:
            log.error("%s", error)
            failed.append((str(scene), str(error)))
            in_the_way += isinstance(error, OutputExistsError | OutputBusyError)
    return Outcome(reports=tuple(reports), failed=tuple(failed), in_the_way=in_the_way)


def name_outputs(scenes: Iterable[Any], folder: Path, suffix: str) -> list[Path]:
    """Return the output paths of many scenes; raise OptionError if two are equal."""
    outputs: dict[Path, str] = {}
    for scene in scenes:
        output = folder / (_stem(str(scene)) + suffix)
        if output in outputs:
            raise OptionError(
                f"{scene} and {outputs[output]} would both become {output}; run them into two folders"
            )
        outputs[output] = str(scene)
    return list(outputs)


def _stem(scene: str) -> str:
    """Return the name of a scene without folder and suffix; for a product's metadata file, of its folder."""
    path = Path(scene)
    return path.parent.stem if is_metadata(path) else path.stem
