"""Many scenes into one folder: finished ones skipped, failing ones reported and passed over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import GeosegError, OptionError, OutputError
from geoseg.inference.summary import Report
from geoseg.raster.products import is_metadata

log = logging.getLogger("geoseg")

One = Callable[[Any, Path], Report]
"""Runs one scene into one output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of many scenes.

    Parameters
    ----------
    reports : tuple of Report
        Of scenes that are done, now or before.
    failed : tuple of (str, str)
        Scene and reason.
    """

    reports: tuple[Report, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def before(self) -> int:
        """How many scenes were finished before."""
        return sum(report.before for report in self.reports)

    @property
    def exit_code(self) -> int:
        """0, or 3 where a scene failed or has areas without data."""
        return 3 if self.failed or any(report.exit_code for report in self.reports) else 0


def run_many(scenes: Sequence[Any], folder: Path, suffix: str, one: One) -> Outcome:
    """Run every scene into ``folder/<stem><suffix>``.

    Parameters
    ----------
    scenes : sequence of str or Stack
    folder : Path
        Made where it is missing.
    suffix : str
        Of the outputs, as in ``.gpkg``.
    one : callable
        Computes one scene, or finds that it was finished before.

    Raises
    ------
    OptionError
        If two scenes would have the same output.
    OutputError
        If the folder cannot be made.
    """
    outputs = name_outputs(scenes, folder, suffix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another with -o") from error
    reports, failed = [], []
    for scene, output in zip(scenes, outputs, strict=True):
        try:
            reports.append(one(scene, output))
        except GeosegError as error:
            log.error("%s", error)
            failed.append((str(scene), str(error)))
    return Outcome(reports=tuple(reports), failed=tuple(failed))


def name_outputs(scenes: Iterable[Any], folder: Path, suffix: str) -> list[Path]:
    """Names of the outputs of many scenes, all different."""
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
    """Name of a scene without folder and suffix; of a product's metadata file that of its folder."""
    path = Path(scene)
    return path.parent.stem if is_metadata(path) else path.stem
