"""``geoseg compare``: compare two class maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.storage.printable import json_text, printable

from .messages import progress, say
from .options import EXISTING_FILE, FILE, examples, legend, min_area, overwrite, reference_options
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg compare 2020.tif 2024.tif -o changes.gpkg --min-area 1ha",
        "geoseg compare unet.tif segformer.tif --reference labels.gpkg --class-field class",
    )
)
@click.argument("first", type=EXISTING_FILE, metavar="FIRST")
@click.argument("second", type=EXISTING_FILE, metavar="SECOND")
@click.option(
    "--reference",
    type=click.Path(exists=True, path_type=Path),
    metavar="LABELS",
    help="Labels in any form that train takes: how much better SECOND is than FIRST.",
)
@legend("Other codes keep the maps' own.")
@reference_options
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE.gpkg",
    help="GeoPackage to write with the changes as polygons, the largest first, styled for QGIS.",
)
@min_area
@overwrite
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity_options
def command(first: Path, second: Path, as_json: bool, **values: Any) -> None:
    """Compare two class maps on one grid.

    Without labels: on how many pixels they agree, and what changes into what. With labels: the difference of their
    scores, with an interval that says whether it may be chance.
    """
    from geoseg.assessment.evaluation.compare import compare

    with progress() as bar:
        found = compare(first, second, progress=bar if bar is not None else False, **values)
    if as_json:
        click.echo(json_text(found.to_dict()))
    else:
        for line in found.lines():
            click.echo(printable(line))
    if values["output"] is not None:
        say(f"Wrote {values['output']}")
