"""``geoseg check``: check a polygon map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.storage.printable import json_text, printable

from .messages import progress, say
from .options import FILE, encoding, examples, overwrite
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg check landcover.gpkg",
        "geoseg check landcover.gpkg --profile clc2024 -o findings.gpkg",
        "geoseg check drawn.gpkg --class-field landuse --profile rules.yaml --json",
    )
)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--profile",
    metavar="NAME|FILE.yaml",
    help="What is expected: clc2024, urban-atlas2018, or a YAML file; by default a valid coverage with right areas.",
)
@click.option(
    "--layer", metavar="NAME", multiple=True, help="Layer to check, repeatable; by default all with polygons."
)
@click.option(
    "--class-field",
    metavar="NAME",
    help="Attribute with the class; by default the profile's, which is class_code without one.",
)
@encoding
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE.gpkg",
    help="GeoPackage to write with the findings, the worst first, styled for QGIS.",
)
@overwrite
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context, /, source: Path, layer: tuple[str, ...], as_json: bool, **values: Any
) -> None:
    """Check a polygon map.

    SOURCE is a vector file. Its polygons should cover the map without gaps and overlaps, be valid and of one part, have
    no neighbours of the same class, and have the areas that an attribute states; a profile adds smallest units and
    widths. What vectorize and segment write passes.

    Exit code 0: passed, with or without warnings. 3: there are errors.
    """
    from geoseg.assessment.check import check

    with progress() as bar:
        quality = check(
            source, layer=list(layer) or None, progress=bar if bar is not None else False, **values
        )
    if as_json:
        click.echo(json_text(quality.to_dict()))
    else:
        for line in quality.lines():
            click.echo(printable(line.replace("\n", "\\n")))  # names of layers and classes are anybody's
        if values["output"] is not None:
            say(f"Wrote {values['output']}")
    ctx.exit(quality.exit_code)
