"""``geoseg report``: what a training came to, as a page."""

from __future__ import annotations

from pathlib import Path

import click

from .messages import say
from .options import FILE, examples
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg report runs/korea",
        "geoseg report model.safetensors -o korea.html",
    )
)
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=FILE, metavar="FILE", help="Page to write; report.html in RUN by default."
)
@verbosity_options
def command(run: Path, output: Path | None) -> None:
    """Write a report on a training.

    RUN is the folder of a training, finished or not, or its model file. The report is one HTML page that needs
    nothing beside it: curves, scores by class, samples, what was trained on what. Its curves are also written
    as curves.png.
    """
    from geoseg.assessment.report import report

    say(f"Wrote {report(run, output)}")
