"""Check of free disk space before a run."""

from __future__ import annotations

import shutil
from pathlib import Path

from geoseg.errors import Message, OutputError, Text

_REMEDY = Message("make room, choose another {output}, or pass {force}", force=True)


def check_space(folder: Path, needed: int, remedy: Text = _REMEDY) -> None:
    """Refuse a run that would fill the disk.

    Parameters
    ----------
    folder : Path
        Where the run writes.
    needed : int
        Largest number of bytes that the run will occupy at once.
    remedy : str or Message
        Advice that ends the message.

    Raises
    ------
    OutputError
        If less space is free; the message has both figures.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder}: has {free / 1e6:,.1f} MB free, the run may need {needed / 1e6:,.1f} MB", remedy
        )
