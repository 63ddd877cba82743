"""``geoseg train``: a configuration becomes a model file."""

from __future__ import annotations

from pathlib import Path

import click

from .options import EXISTING_FILE, examples, output, overwrite
from .report import say, watched
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg train examples/korea.yaml -o runs/korea",
    )
)
@click.argument("config", type=EXISTING_FILE)
@output("Folder of the run: model file, metrics, the configuration as it was resolved.", metavar="RUN")
@overwrite
@verbosity_options
def command(config: Path, output: Path, overwrite: bool) -> None:
    """Train a model as the YAML file CONFIG says."""
    from geoseg.learning.train import train

    model = train(config, output, overwrite=overwrite, progress=watched())
    say(f"Wrote {model}")
