"""``geoseg accuracy``: the accuracy of a map and the areas of its classes, from a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.storage.printable import json_text, printable

from .messages import progress, say
from .options import EXISTING_FILE, FILE, VECTOR, examples, legend, output, overwrite
from .values import ParamType
from .verbosity import verbosity_options

_DESIGNS = ("stratified", "simple", "systematic")
_ALLOCATIONS = ("proportional", "equal", "neyman")


@click.group()
def command() -> None:
    """Estimate accuracy and areas from a sample that you label."""


class ExpectedType(ParamType):
    """``0.9``, or ``forest=0.95``: the accuracy of all strata, or of one."""

    name = "[STRATUM=]SHARE"

    def convert(
        self, value: str | tuple[str, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Return the stratum, empty for all, and the share."""
        if not isinstance(value, str):
            return value
        stratum, _, text = value.rpartition("=")
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(
                f"{value!r} is no accuracy, expected a share from 0 to 1: 0.9 or forest=0.95", param, ctx
            )
        return stratum.strip(), share


@command.command(
    epilog=examples(
        "geoseg accuracy design classes.tif -o sample.gpkg --points 600",
        "geoseg accuracy design classes.tif -o sample.gpkg --points 600 --minimum 50",
        "geoseg accuracy design classes.tif -o sample.gpkg --standard-error 0.01 --expected 0.9 --expected water=0.98",
        "geoseg accuracy design classes.tif -o sample.gpkg --points 400 --strata regions.gpkg --allocation equal",
    )
)
@click.argument("class_map", type=EXISTING_FILE, metavar="MAP")
@output("GeoPackage to write, with a form for QGIS.", metavar="SAMPLE.gpkg")
@click.option("-n", "--points", type=int, metavar="N", help="Number of points; about as many if systematic.")
@click.option(
    "--standard-error", type=float, metavar="SHARE",
    help="Instead of a number of points: standard error of the overall accuracy to aim at, such as 0.01.",
)  # fmt: skip
@click.option(
    "--design", type=click.Choice(_DESIGNS), default=_DESIGNS[0], show_default=True,
    help="Random within strata, random within the map, or on a lattice with a random start.",
)  # fmt: skip
@click.option(
    "--allocation", type=click.Choice(_ALLOCATIONS),
    help="How strata share the points: by area (the default), equally, or by area times expected deviation.",
)  # fmt: skip
@click.option(
    "--minimum", type=int, metavar="N",
    help="Points of each stratum at least, 2 by default; a stratum with fewer pixels is counted whole.",
)  # fmt: skip
@click.option(
    "--expected", type=ExpectedType(), multiple=True,
    help="Expected accuracy of all strata or of one, 0.8 by default; may be repeated.",
)  # fmt: skip
@click.option(
    "--strata", type=VECTOR, metavar="FILE",
    help="Strata instead of the map's classes: a raster on its grid, or polygons with class_code.",
)  # fmt: skip
@click.option("--layer", metavar="NAME", help="Layer of a vector file of strata; by default the only one.")
@legend("Other codes keep the map's own.")
@click.option(
    "--band",
    type=click.IntRange(min=1),
    metavar="N",
    help="Band with the class codes, in a file with several bands.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the points that are drawn.",
)
@overwrite
@verbosity_options
def design(
    class_map: Path,
    output: Path,
    expected: tuple[tuple[str, float], ...],
    legend: Path | None,
    **options: Any,
) -> None:
    """Draw a probability sample of a map's pixels, as points to be labelled in QGIS.

    Open SAMPLE.gpkg in QGIS, label every point by its form, without looking at the map, and run geoseg accuracy
    estimate.
    """
    from geoseg.assessment.accuracy.design import design_sample

    with progress() as bar:
        drawn = design_sample(
            class_map,
            output=output,
            expected=dict(expected),
            legend=legend,
            progress=bar if bar is not None else False,
            **options,
        )
    for line in drawn.lines():
        say(line)


@command.command(
    epilog=examples(
        "geoseg accuracy estimate sample.gpkg",
        "geoseg accuracy estimate sample.gpkg -o estimate.html",
        "geoseg accuracy estimate sample.gpkg --training runs/korea --json",
    )
)
@click.argument("sample", type=EXISTING_FILE, metavar="SAMPLE.gpkg")
@click.option(
    "-o", "--output", type=FILE, metavar="FILE", help="Page (.html) or table (.csv) to write as well."
)
@click.option(
    "--map", "class_map", type=EXISTING_FILE,
    help="Map to compare with the one that the sample was drawn from; by default the file where that was.",
)  # fmt: skip
@click.option(
    "--training", type=click.Path(exists=True, path_type=Path), metavar="RUN",
    help="Folder of the training of the map's model, or its model file: a sample that it learnt from is refused.",
)  # fmt: skip
@click.option(
    "--drop-unlabelled", is_flag=True,
    help="Leave out points without a label; the estimate is biased if these are harder to map than the others.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@overwrite
@verbosity_options
def estimate(sample: Path, as_json: bool, **options: Any) -> None:
    """Estimate accuracies and areas from a labelled sample, with 95 % intervals.

    Areas are in hectares and square kilometres, accuracies are shares. Intervals are 1.96 standard errors on either
    side and are not clipped.
    """
    from geoseg.assessment.accuracy.estimate import estimate_accuracy

    with progress() as bar:
        found = estimate_accuracy(sample, progress=bar if bar is not None else False, **options)
    if as_json:
        click.echo(json_text(found.to_dict()))
    else:
        for line in found.lines():
            click.echo(printable(line.replace("\n", "\\n")))
    if options["output"] is not None:
        say(f"Wrote {options['output']}")
