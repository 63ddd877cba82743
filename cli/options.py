"""Every flag that more than one command has.

=========================  =======  =======  =========  =========  =====  =====  ======  ===
flag                       predict  segment  vectorize  rasterize  model  train  labels  rle
=========================  =======  =======  =========  =========  =====  =====  ======  ===
-o, --output               x        x        x          x          x      x      x       x
--overwrite                x        x        x          x          x      x      x       x
-v, -q                     x        x        x          x          x      x      x       x
-m, --model                x        x
--save-confidence          x        x
--stack, --resolution      x        x                              x      x
--allow-remote             x        x                              x      x
-b, --bands ... --fresh    x        x
--nodata ... --alpha       x        x                              x      x
--min-area ... --workers            x        x
--layer                             x        x          x
--legend                   x        x        x          x          x
--overlap, --encoding                                   x                 x      x
=========================  =======  =======  =========  =========  =====  =====  ======  ===

The flags from ``--bands`` to ``--force`` are the fields of `PredictOptions`, whose defaults they take.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from geoseg.engine.storage import STORAGES
from geoseg.inference.options import DEVICES, ON_ERROR, PRECISIONS, PredictOptions
from geoseg.raster.declared import RULES
from geoseg.vector.overlap import OVERLAP, OVERLAPS

from .values import ALPHA, BANDS, BATCH_SIZE, BOUNDS, NODATA
from .verbosity import verbosity_options

Function = TypeVar("Function", bound=Callable[..., Any])

_DEFAULTS = {field.name: field.default for field in fields(PredictOptions)}

FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def together(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Make one decorator of several, in the order of the help."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines to copy, which click must not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def output_or_folder(text: str, metavar: str, *, required: bool = True) -> Callable[[Function], Function]:
    """Return the option ``-o`` of a command that writes `text`; a text, because ``DIR/`` ends in a slash."""
    return click.option("-o", "--output", required=required, metavar=metavar, help=text)


def output(text: str, metavar: str = "FILE") -> Callable[[Function], Function]:
    """Return the option ``-o`` of a command that writes `text`."""
    return click.option(
        "-o", "--output", required=True, metavar=metavar, type=click.Path(path_type=Path), help=text
    )


overwrite = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace outputs that are already there; of a GeoPackage only the layers that are written.",
)


def legend(default: str) -> Callable[[Function], Function]:
    """Return the option ``--legend``; `default` says what counts without it."""
    return click.option(
        "--legend",
        type=EXISTING_FILE,
        help=f"Names and colours by code: a CSV file, colour table (.clr, .txt) or QGIS style (.qml). {default}",
    )


layer = click.option(
    "--layer",
    metavar="NAME",
    help="Name of the layer in the GeoPackage, landcover by default. A multilabel map becomes a layer for each "
    "class, named as it is; then NAME stands before their names.",
)

overlap = click.option(
    "--overlap",
    type=click.Choice(OVERLAPS),
    default=OVERLAP,
    show_default=True,
    help="Whose class a pixel has that shapes of several classes cover: the last one's in the file, the smallest "
    "one's, or nobody's.",
)

encoding = click.option(
    "--encoding",
    metavar="NAME",
    help="Encoding of the text of a Shapefile that does not say it: cp949, gbk, cp1251.",
)

band = click.option(
    "--band",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Band of a raster that holds the codes of classes.",
)

drawing = together(
    click.option(
        "--min-area", metavar="AREA",
        help="Merge smaller regions into the neighbour with the longest shared border: 20px, 500m2, 2ha or 1km2.",
    ),
    click.option(
        "--simplify", metavar="TOLERANCE",
        help="Draw boundaries with fewer vertices, the same ones on both sides: 1px or 5m. No gap or overlap arises.",
    ),
    click.option(
        "--smooth", is_flag=True, help="Draw lines through the midpoints of pixel edges in place of stairs."
    ),
    click.option(
        "--class", "classes", multiple=True, metavar="NAME|CODE",
        help="Write only the polygons of this class of the legend; may be repeated.",
    ),
    click.option("--scene", metavar="NAME", help="Name of the scene, kept with every polygon."),
    click.option(
        "--workers", type=click.IntRange(min=1, max=256), default=min(256, os.cpu_count() or 1),
        show_default="all cores",
        help="Threads that draw polygons.",
    ),
)  # fmt: skip
"""How `segment` and `vectorize` draw polygons: fields of `VectorizeOptions`."""

save_probabilities = together(
    click.option(
        "--save-probabilities",
        metavar="FILE",
        help="Also write the probabilities, a band for each class (a folder where -o is one).",
    ),
    click.option(
        "--storage", type=click.Choice(STORAGES), default=STORAGES[0], show_default=True,
        help="How they are stored: bytes in steps of 1/254 with 255 for no data, or floats to 3 digits.",
    ),
)  # fmt: skip

save_confidence = click.option(
    "--save-confidence", metavar="FILE", help="Also write the confidence raster (a folder where -o is one)."
)

scenes = click.argument("scenes", nargs=-1, metavar="SCENE...")

stack = click.option(
    "--stack", multiple=True, metavar="FILE,FILE,...",
    help="In place of SCENE: a file for each band, or NAME=FILE; other resolutions are brought to the finest, "
    "bilinearly.",
)  # fmt: skip

resolution = click.option(
    "--resolution", type=click.FloatRange(min=0, min_open=True), metavar="UNITS",
    help="Edge of a pixel that the files of one scene are brought to; the finest file's by default.",
)  # fmt: skip

allow_remote = click.option("--allow-remote", is_flag=True, help="Let a VRT point at remote files.")

validity = together(
    click.option(
        "--nodata", type=NODATA,
        help="No data of the scene in place of its file's: a number for all bands or one for each, or none "
        "(0,0,none; 0/255: either of them).",
    ),
    click.option(
        "--nodata-rule", type=click.Choice(RULES),
        help="Whether a pixel is no data where all bands are, or any; all by default where they share a value.",
    ),
    click.option(
        "--alpha", type=ALPHA, help="Band whose pixels above 0 are valid; by default one tagged alpha that looks so."
    ),
)  # fmt: skip
"""Which pixels are valid, of `train` and `model quantize`, too."""

prediction = together(
    click.option(
        "-m", "--model", required=True, type=EXISTING_FILE, help="Model file (.safetensors), or an exported one (.xml)."
    ),
    stack,
    resolution,
    click.option("-b", "--bands", type=BANDS, help="Names or numbers of the scene's bands, in the model's order."),
    legend("The model's for codes that it does not name."),
    click.option("--bounds", type=BOUNDS, help="Only this rectangle, in the scene's CRS."),
    click.option("--clip", type=EXISTING_FILE, help="Vector file: outside of its polygons is no data."),
    validity,
    click.option(
        "--tile-size", type=click.IntRange(min=1), metavar="PX", help="Tile edge; the model's by default."
    ),
    click.option(
        "--overlap", type=click.IntRange(min=0), metavar="PX",
        help="Pixels that neighbouring tiles share; the model's by default.",
    ),
    click.option(
        "--batch-size", type=BATCH_SIZE, default="auto", show_default=True,
        help="Tiles in one call of the model.",
    ),
    click.option(
        "--device", type=click.Choice(DEVICES), default=_DEFAULTS["device"], show_default=True,
        help="Where the model runs.",
    ),
    click.option(
        "--devices", type=click.IntRange(min=1), default=_DEFAULTS["devices"], show_default=True, metavar="N",
        help="How many GPUs of this machine compute, each its part of the rows.",
    ),
    click.option(
        "--precision", type=click.Choice(PRECISIONS), default=_DEFAULTS["precision"], show_default=True,
        help="Numbers the model computes with; int8 after `geoseg model quantize`.",
    ),
    click.option(
        "--tta", is_flag=True, help="Look at every tile in its 8 symmetries and take the mean: 8 times the work."
    ),
    click.option("--compile", is_flag=True, help="Compile the network first (CUDA): a minute, for large scenes."),
    click.option("--profile", is_flag=True, help="Say where the time went."),
    click.option(
        "--on-error", type=click.Choice(ON_ERROR), default=_DEFAULTS["on_error"], show_default=True,
        help="What an unreadable part of the scene does: stop the run, or become no data (exit code 3).",
    ),
    allow_remote,
    click.option("--expand-palette", is_flag=True, help="Read a palette image as its colours."),
    click.option("--assume-crs", metavar="CRS", help="CRS of a scene that has none, for example EPSG:32633."),
    click.option("--force", is_flag=True, help="Go on where scene and model differ or disk space is short."),
    click.option("--fresh", is_flag=True, help="Start anew instead of continuing an interrupted run."),
    overwrite,
    verbosity_options,
)  # fmt: skip
"""The options that `predict` and `segment` share."""


def predict_options(values: dict[str, Any]) -> PredictOptions:
    """Move the fields of `PredictOptions` out of a command's parameters."""
    return PredictOptions(**{name: values.pop(name) for name in _DEFAULTS})
