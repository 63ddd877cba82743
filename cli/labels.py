"""``geoseg labels``: convert labels between forms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .messages import say
from .options import (
    all_touched,
    band,
    buffer,
    class_field,
    content,
    encoding,
    examples,
    like,
    output,
    overlap,
    overwrite,
    size,
    unlabelled,
)
from .values import LEGEND
from .verbosity import verbosity_options

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend


@click.group()
def command() -> None:
    """Convert labels between forms."""


@command.command(
    epilog=examples(
        "geoseg labels convert classes.tif -o labels.gpkg",
        "geoseg labels convert drawn.gpkg --like scene.tif --class-field class -o labels.tif",
        "geoseg labels convert train.csv --like a.jpg --classes Fish,Sugar --layered -o a.tif",
        "geoseg labels convert mask.png --classes deepglobe --like scene.tif -o classes.tif",
    )
)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@output("Labels to write: .tif (codes), .gpkg (polygons), .csv (run lengths) or .png (colours).")
@like
@click.option(
    "--classes",
    "legend",
    type=LEGEND,
    help="Classes 1 to n, optionally with colours, or deepglobe; by default those of the source.",
)
@unlabelled
@click.option(
    "--layered", is_flag=True, help="Classes may overlap (multilabel): a raster gets one band per class."
)
@class_field
@click.option(
    "--layer", multiple=True, metavar="NAME", help="Layer of a vector file; may be repeated; all by default."
)
@buffer
@all_touched
@overlap
@encoding
@band
@size
@content
@click.option("--lossy", is_flag=True, help="Continue although the target form cannot hold everything.")
@overwrite
@verbosity_options
def convert(
    source: Path, output: Path, legend: Legend | None, lossy: bool, overwrite: bool, **values: Any
) -> None:
    """Convert labels from one form to another without loss.

    Shapes become pixels of the image: a polygon covers those whose centre is inside. What the target form cannot
    hold (run lengths that overlap in one raster of codes, a raster on another grid than the image's) is an error,
    unless --lossy is given. Polygons and run lengths keep overlapping shapes as they are, unless --on-overlap is
    given.
    """
    from geoseg.labels.conversion import Conversion, convert

    values["layer"] = values["layer"] or None
    if click.get_current_context().get_parameter_source("overlap") == click.core.ParameterSource.DEFAULT:
        values["overlap"] = None
    plan = Conversion(source=source, target=output, legend=legend, **values)
    done = convert(plan, lossy=lossy, overwrite=overwrite)
    say(f"Wrote {done.path}")
    width = max(len(name) for name, _ in done.pixels)
    for name, pixels in done.pixels:
        say(f"  {name:<{width}} {pixels:>14,} px")
    for note in done.notes:
        say(f"  {note}")
    for loss in done.losses:
        say(f"  lost: {loss}")
