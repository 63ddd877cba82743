"""Whether the disk can hold what a run will write."""

from __future__ import annotations

import shutil
from pathlib import Path

from geoseg.errors import OutputError

_REMEDY = "make room, choose another folder with -o, or pass --force"


def check_space(folder: Path, needed: int, remedy: str = _REMEDY) -> None:
    """Refuse a run that would fill the disk.

    Parameters
    ----------
    folder : Path
        Where the run writes.
    needed : int
        Bytes it will hold at once at most.
    remedy : str
        What to do.

    Raises
    ------
    OutputError
        With both figures.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder}: has {free / 1e6:,.1f} MB free, the run may need {needed / 1e6:,.1f} MB; {remedy}"
        )
