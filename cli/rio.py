"""``rio geoseg``: the same command, started as ``geoseg`` is."""

from __future__ import annotations

import subprocess
import sys

import click


@click.command(
    "geoseg",
    short_help="Land cover from georeferenced rasters.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run geoseg in a process of its own.

    rio has opened GDAL before it calls a plugin; what `prepare_process` forbids counts only before that.
    """
    started = [sys.executable, "-m", "geoseg_cli", *arguments]
    sys.exit(subprocess.run(started, check=False).returncode)  # noqa: S603  what the person typed
