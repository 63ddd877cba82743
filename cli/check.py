"""``geoseg check``: check a polygon map, or the data of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.errors import plural
from geoseg.storage.printable import json_text, printable

from .flags import spelled
from .messages import progress, say
from .options import FILE, band, changes, encoding, examples, overwrite, unlabelled, validity
from .process import allow_vrt
from .scenes import consent
from .values import LEGEND
from .verbosity import verbosity_options

_PATH = click.Path(exists=True, path_type=Path)


@click.command(
    epilog=examples(
        "geoseg check landcover.gpkg",
        "geoseg check landcover.gpkg --profile clc2024 -o findings.gpkg",
        "geoseg check drawn.gpkg --class-field landuse --profile rules.yaml --json",
        "geoseg check config.yaml -o data.html",
        "geoseg check images/ --labels masks/",
        "geoseg check scene.tif --labels labels.gpkg --class-field class",
    )
)
@click.argument("source", type=_PATH, nargs=-1, required=True, metavar="MAP | CONFIG | IMAGE...")
@click.option(
    "--labels",
    type=_PATH,
    multiple=True,
    metavar="FILE|FOLDER",
    help="Labels of the images: once for each in their order, a folder with files of their names, or one file for all.",
)
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
    "--classes", type=LEGEND,
    help="Classes of the labels that are learned, with colours where given; other ones are unknown. All by default.",
)  # fmt: skip
@unlabelled
@band
@validity
@changes
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE.gpkg|PAGE.html",
    help="Of a map, GeoPackage to write with the findings, the worst first, styled for QGIS; of training data, a page.",
)
@overwrite
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: tuple[Path, ...],
    labels: tuple[Path, ...],
    layer: tuple[str, ...],
    as_json: bool,
    **values: Any,
) -> None:
    """Check a polygon map, or training data.

    MAP is a vector file. Its polygons should cover the map without gaps and overlaps, be valid and of one part, have
    no neighbours of the same class, and have the areas that an attribute states; a profile adds smallest units and
    widths. What vectorize and segment write passes.

    CONFIG is the YAML file of a training, and IMAGE, with --labels, an image or a folder of images: what the data
    hold, and what may be wrong with them.

    Exit code 0: passed, with or without warnings. 3: there are errors, and a training should not start.
    """
    from geoseg.assessment.check import check
    from geoseg.assessment.coverage.quality import PolygonQuality
    from geoseg.storage.foreign_yaml import YAML_SUFFIXES

    if len(source) > 1 and not labels:
        raise click.UsageError(f"found {plural(len(source), 'file')}, expected one, or images with --labels")
    if labels:
        consent(map(str, source))
    elif source[0].suffix.lower() in YAML_SUFFIXES:
        _allow_vrt(source[0], values["changes"])
    values["unlabelled"] = values["unlabelled"] or "ignored"
    asked: Any = source[0] if len(source) == 1 else list(source)
    if labels:
        values["labels"] = list(labels)
    with progress() as bar:
        quality = check(
            asked, layer=list(layer) or None, progress=bar if bar is not None else False, **values
        )
    if as_json:
        click.echo(json_text(quality.to_dict()))
    else:
        for line in quality.lines() if isinstance(quality, PolygonQuality) else quality.texts():
            click.echo(
                printable(spelled(line).replace("\n", "\\n"))
            )  # names of layers and classes are anybody's
        if values["output"] is not None:
            say(f"Wrote {values['output']}")
    ctx.exit(quality.exit_code)


def _allow_vrt(configuration: Path, changes: tuple[str, ...]) -> None:
    """Allow GDAL to open VRTs if an image of a training is one, or has one file per band."""
    from geoseg.datasets.files import needs_vrt
    from geoseg.learning.config import Config

    config = Config.read(configuration, changes)
    if needs_vrt(config.data, config.data_root):
        allow_vrt()
