"""``geoseg labels``: labels in the forms that people have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .messages import say
from .options import band, encoding, examples, output, overlap, overwrite
from .values import LEGEND, NUMBERS
from .verbosity import verbosity_options

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend


@click.group()
def command() -> None:
    """Turn labels of one form into another."""


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
@click.option(
    "--like",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="IMAGE",
    help="Image that the labels are of, any raster; a raster of labels is its own by default.",
)
@click.option(
    "--classes",
    "legend",
    type=LEGEND,
    help="Classes 1 to n with colours where given, or deepglobe; those of the source by default.",
)
@click.option(
    "--unlabelled", metavar="CLASS", help="Class of the rest, or background; nobody knows by default."
)
@click.option(
    "--layered", is_flag=True, help="Classes may overlap (multilabel): a raster gets a band for each."
)
@click.option(
    "--class-field",
    metavar="NAME",
    help="Attribute of vectors that holds the class; by default class_code where it is there, else the layer's name.",
)
@click.option("--layer", multiple=True, metavar="NAME", help="Layer of vectors, repeatable; all by default.")
@click.option(
    "--buffer",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Widen lines and points by this much to each side, units of the image's CRS.",
)
@click.option("--all-touched", is_flag=True, help="Polygons cover every pixel that they touch.")
@overlap
@encoding
@band
@click.option(
    "--size", type=NUMBERS(2), metavar="ROWS,COLS", help="Size of run-length masks; the image's by default."
)
@click.option(
    "--content",
    type=NUMBERS(4),
    metavar="ROW,COL,HEIGHT,WIDTH",
    help="Part of the image that run-length masks cover; all by default.",
)
@click.option("--lossy", is_flag=True, help="Go on where the target cannot hold all of it.")
@overwrite
@verbosity_options
def convert(
    source: Path, output: Path, legend: Legend | None, lossy: bool, overwrite: bool, **values: Any
) -> None:
    """Turn labels of one form into another, exactly.

    Shapes become pixels of the image: a polygon those whose centre is inside. What the target cannot hold (run lengths
    that overlap in one raster of codes, a raster on other pixels than the image's) is named and refused, unless
    --lossy is given. Polygons and run lengths hold shapes that overlap as they are, unless --overlap is given.
    """
    from geoseg.vector.label_conversion import Conversion, convert

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
