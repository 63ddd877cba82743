"""``geoseg demo``: the whole workflow on the scene that is installed with the package."""

from __future__ import annotations

from pathlib import Path

import click

from .messages import progress
from .options import examples, overwrite
from .process import allow_vrt
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
    """Map the example scene that is installed with geoseg.

    Segments four Landsat bands of Zion National Park (one file each), draws scene, reference
    and map, and reports the accuracy where labels were held back from training. Products that an
    earlier demo wrote into the folder are kept.
    """
    allow_vrt()  # the files of the bands are joined in a VRT
    from geoseg.demo.run import run_demo

    with progress() as bar:
        text = run_demo(output, overwrite=overwrite, progress=bar)
    if not quiet():
        click.echo(text)
