"""``geoseg demo``: the whole job on two scenes that come with the package."""

from __future__ import annotations

from pathlib import Path

import click

from .messages import progress
from .options import examples, overwrite
from .verbosity import quiet, verbosity_options


@click.command(
    epilog=examples(
        "geoseg demo -o demo",
    )
)
@click.option(
    "-o", "--output", default="geoseg-demo", show_default=True, metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.",
)  # fmt: skip
@overwrite
@verbosity_options
def command(output: Path, overwrite: bool) -> None:
    """Map the two scenes that come with geoseg.

    Segments two Sentinel-2 scenes and says how good the maps are. What an earlier demo
    finished in the folder is kept.
    """
    from geoseg.demo.run import run_demo

    with progress() as bar:
        text = run_demo(output, overwrite=overwrite, progress=bar)
    if not quiet():
        click.echo(text)
