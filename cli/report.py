"""``geoseg report``: write an HTML report on a training."""

from __future__ import annotations

from pathlib import Path

import click

from .messages import say
from .options import FILE, examples, overwrite
from .verbosity import quiet, verbosity_options


@click.command(
    epilog=examples(
        "geoseg report runs/korea",
        "geoseg report model.safetensors -o korea.html --overwrite",
    )
)
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=FILE, metavar="FILE", help="Page to write; report.html in RUN by default."
)
@overwrite
@verbosity_options
def command(run: Path, output: Path | None, overwrite: bool) -> None:
    """Write a report on a training.

    RUN is the folder of a training, finished or not, or its model file. The report is one self-contained HTML
    page: curves, scores by class, samples, data and settings. Its curves are also written
    as curves.png.
    """
    from geoseg.assessment.report import report

    say(f"Wrote {report(run, output=output, overwrite=overwrite, progress=not quiet())}")
