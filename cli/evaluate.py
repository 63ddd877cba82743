"""``geoseg evaluate``: say how good a class map or a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.storage.printable import json_text, printable

from .messages import progress, say
from .options import (
    EXISTING_FILE,
    FILE,
    device,
    examples,
    legend,
    min_area,
    overwrite,
    precision,
    reference_options,
)
from .scenes import consent, stacked
from .verbosity import verbosity_options

if TYPE_CHECKING:
    from geoseg.raster.products import Stack


def _scene_of(given: tuple[str, ...]) -> str | Stack | None:
    """Return the scene of ``--scene``, or of several of them the files of its bands."""
    if len(given) > 1:
        return stacked(given)
    consent(given)
    return given[0] if given else None


@click.command(
    epilog=examples(
        "geoseg evaluate classes.tif --reference labels.gpkg --class-field class",
        "geoseg evaluate classes.tif --reference truth.tif --confidence confidence.tif -o page.html",
        "geoseg evaluate model.safetensors --scene scene.tif --reference labels.gpkg --errors errors.gpkg",
        "geoseg evaluate classes.tif --reference nlcd.tif --class-labels forest=41,42,43 --ignore 11",
        "geoseg evaluate maps/*.tif --reference labels.gpkg --groups --json",
    )
)
@click.argument("source", type=EXISTING_FILE, metavar="MAP...|MODEL", nargs=-1, required=True)
@click.option(
    "--reference",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    required=True,
    metavar="LABELS",
    help="Labels in any form that train takes; once for all maps, or once for each in their order.",
)
@click.option(
    "--scene",
    metavar="SCENE",
    help="Scene that MODEL predicts; repeat it for a file per band, NAME=FILE names a band.",
    multiple=True,
)
@click.option(
    "--confidence",
    type=EXISTING_FILE,
    multiple=True,
    help="Confidence raster of each map, for the calibration.",
)
@legend("Other codes keep the map's own.")
@reference_options
@click.option(
    "--groups", is_flag=True, help="Draw whole maps anew for the intervals, instead of blocks of ground."
)
@click.option(
    "--boundary-distance",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    metavar="PX",
    help="Distance from a boundary within which pixels count for the boundary IoU.",
)
@click.option(
    "--stress",
    is_flag=True,
    help="Also score MODEL on the scene shifted, blurred, brighter, darker, and without each band.",
)
@click.option(
    "--errors",
    type=FILE,
    metavar="FILE.gpkg",
    help="GeoPackage to write with the errors as polygons, the largest first, styled for QGIS.",
)
@min_area
@click.option("-o", "--output", type=FILE, metavar="PAGE.html", help="Page to write; it loads nothing.")
@overwrite
@device
@precision
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity_options
def command(
    source: tuple[Path, ...],
    reference: tuple[Path, ...],
    scene: tuple[str, ...],
    confidence: tuple[Path, ...],
    as_json: bool,
    **values: Any,
) -> None:
    """Say how good a class map or a model is.

    Every pixel counts that has a class in the map and a known label: IoU, F1, precision and recall of each class,
    boundaries, objects, calibration, with 95 % intervals from blocks of ground. For the accuracy and areas of a map of
    which only a sample is known, see geoseg accuracy.
    """
    from geoseg.assessment.evaluation.evaluate import evaluate

    with progress() as bar:
        found = evaluate(
            source[0] if len(source) == 1 else list(source),
            reference=list(reference),
            scene=_scene_of(scene),
            confidence=list(confidence) or None,
            progress=bar if bar is not None else False,
            **values,
        )
    if as_json:
        click.echo(json_text(found.to_dict()))
    else:
        for line in found.lines():
            click.echo(printable(line))
    for key in ("errors", "output"):
        if values[key] is not None:
            say(f"Wrote {values[key]}")
