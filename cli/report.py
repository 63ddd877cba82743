"""``geoseg report``: write an HTML report on a training, or the page of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from .messages import say
from .options import FILE, examples, overwrite
from .verbosity import quiet, verbosity_options


@click.command(
    epilog=examples(
        "geoseg report runs/korea",
        "geoseg report sweeps/roofs",
        "geoseg report model.safetensors -o korea.html --overwrite",
    )
)
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="Page to write; report.html in RUN by default. Not for sweeps.",
)
@overwrite
@verbosity_options
def command(run: Path, output: Path | None, overwrite: bool) -> None:
    """Write a report on a training, or the page of a sweep.

    RUN is the folder of a training, finished or not, or its model file. The report is one self-contained HTML
    page: curves, scores by class, samples, data and settings. Its curves are also written
    as curves.png.

    RUN may also be the folder of a sweep (geoseg sweep). Its page, dashboard.html in that folder, is replaced.
    """
    from geoseg.experiments.record import SWEEP

    if (run / SWEEP).exists():
        say(f"Wrote {_dashboard(run, output)}")
        return
    from geoseg.assessment.report import report

    say(f"Wrote {report(run, output=output, overwrite=overwrite, progress=not quiet())}")


def _dashboard(folder: Path, output: Path | None) -> Path:
    """Write the page of a sweep, whose links to the trials' reports hold in its folder alone."""
    from geoseg.errors import OptionError
    from geoseg.experiments.dashboard import write_dashboard

    if output is not None:
        raise OptionError(f"{output}: the page of a sweep is dashboard.html in {folder}; leave out -o")
    return write_dashboard(folder)
