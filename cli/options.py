"""Options that several commands share; docs/command-line-flags.md lists all flags.

The flags from ``--bands`` to ``--force`` are the fields of `PredictOptions`, whose defaults they take.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from geoseg.inference.options import DEVICES, ON_ERROR, PRECISIONS, PredictOptions
from geoseg.labels.overlap import OVERLAP, OVERLAPS
from geoseg.raster.band_encoding import STORAGES
from geoseg.raster.declared import RULES

from .values import ALPHA, BANDS, BATCH_SIZE, BOUNDS, FOLDS, NODATA, NUMBERS, SIZE
from .verbosity import verbosity_options

Function = TypeVar("Function", bound=Callable[..., Any])

_DEFAULTS = {field.name: field.default for field in fields(PredictOptions)}

FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
VECTOR = click.Path(exists=True, path_type=Path)  # a file geodatabase is a folder


def together(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Combine several options in one decorator, in the order of the help."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def examples(*lines: str) -> str:
    """Return the epilog of a command's help: example lines, which click must not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def output_or_folder(text: str, metavar: str, *, required: bool = True) -> Callable[[Function], Function]:
    """Return the option ``-o`` with a help text; its value is text, since ``DIR/`` ends in a slash."""
    return click.option("-o", "--output", required=required, metavar=metavar, help=text)


def output(text: str, metavar: str = "FILE") -> Callable[[Function], Function]:
    """Return the option ``-o`` with a help text."""
    return click.option(
        "-o", "--output", required=True, metavar=metavar, type=click.Path(path_type=Path), help=text
    )


changes = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the configuration; may be repeated.",
)

folds = click.option(
    "--folds",
    type=FOLDS,
    help="Train K models, or one for each group of images; each holds back and scores another part of the data.",
)

skip_bad = click.option("--skip-bad", is_flag=True, help="Continue without images that cannot be used.")

overwrite = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing outputs; in a GeoPackage only the layers that are written.",
)


def legend(default: str) -> Callable[[Function], Function]:
    """Return the option ``--legend``; `default` describes the default."""
    return click.option(
        "--legend",
        type=EXISTING_FILE,
        help=f"Names and colours by code: a CSV file, colour table (.clr, .txt) or QGIS style (.qml). {default}",
    )


output_layer = click.option(
    "--output-layer",
    "layer",
    metavar="NAME",
    help="Name of the layer in the GeoPackage, landcover by default. A multilabel map becomes one layer per "
    "class, named by the class; NAME is then a prefix of these names.",
)

class_field = click.option(
    "--class-field",
    metavar="NAME",
    help="Attribute of vectors with the class; by default class_code if it exists, else the layer's name.",
)

unlabelled = click.option(
    "--unlabelled",
    metavar="CLASS",
    help="Class of unlabelled pixels: background or, for a conversion or a reference, one of the classes; "
    "unknown by default.",
)

buffer = click.option(
    "--buffer",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="UNITS",
    help="Buffer around lines and points, in units of the image's CRS.",
)

all_touched = click.option(
    "--all-touched",
    is_flag=True,
    help="Label every pixel that a shape touches, not only those whose centre it covers.",
)

like = click.option(
    "--like",
    type=EXISTING_FILE,
    help="Raster whose grid is used, such as the image that labels belong to; by default the grid of the labels or "
    "polygons themselves.",
)

size = click.option(
    "--size", type=SIZE, help="Rows and columns of run-length masks; by default the image's, if there is one."
)

content = click.option(
    "--content",
    type=NUMBERS(4),
    metavar="ROW,COL,HEIGHT,WIDTH",
    help="Part of the image that run-length masks show; by default what a model's training covered, or all.",
)

overlap = click.option(
    "--on-overlap",
    "overlap",
    type=click.Choice(OVERLAPS),
    default=OVERLAP,
    show_default=True,
    help="Class of pixels covered by shapes of several classes: that of the last one in the file, of the smallest "
    "one, or none.",
)

encoding = click.option(
    "--encoding",
    metavar="NAME",
    help="Text encoding of a Shapefile that does not declare it: cp949, gbk, cp1251.",
)

band = click.option(
    "--band",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Band of a raster with the class codes.",
)

device = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=_DEFAULTS["device"],
    show_default=True,
    help="Device on which the model runs.",
)

precision = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=_DEFAULTS["precision"],
    show_default=True,
    help="Precision of the computation; int8 after `geoseg model quantize`.",
)


def _class_labels(
    _: click.Context, __: click.Parameter, given: tuple[str, ...]
) -> dict[str, list[str]] | None:
    """Read CLASS=VALUE,... of each class."""
    found: dict[str, list[str]] = {}
    for each in given:
        name, equals, values = each.rpartition("=")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not name.strip() or not listed:
            raise click.BadParameter(f"{each!r}, expected CLASS=VALUE,..., as in forest=41,42,43")
        found.setdefault(name.strip(), []).extend(listed)
    return found or None


reference_options = together(
    class_field,
    click.option("--layer", metavar="NAME", help="Layer of a vector file; all by default."),
    encoding,
    band,
    buffer,
    all_touched,
    overlap,
    unlabelled,
    click.option(
        "--ignore", multiple=True, metavar="VALUE",
        help="Label value that does not count, because the map has no such class; may be repeated.",
    ),
    click.option(
        "--class-labels", multiple=True, metavar="CLASS=VALUE,...", callback=_class_labels,
        help="Label values that mean a class of the map, forest=41,42,43; may be repeated. Classes that are not named "
        "have their own codes, names or colours.",
    ),
    click.option(
        "--block-size", metavar="LENGTH",
        help="Edge of the blocks of ground that are drawn anew for the intervals: 128px or 500m; by default a "
        "sixteenth of the map's longer side.",
    ),
)  # fmt: skip
"""How reference labels are read, and how intervals are drawn."""

min_area = click.option(
    "--min-area",
    metavar="AREA",
    help="Merge smaller regions into the neighbour with the longest shared border: 20px, 500m2, 2ha or 1km2.",
)

drawing = together(
    min_area,
    click.option(
        "--simplify", metavar="TOLERANCE",
        help="Simplify boundaries by this tolerance: 1px or 5m. Neighbours stay without gaps or overlaps.",
    ),
    click.option(
        "--smooth", is_flag=True, help="Draw lines through the midpoints of pixel edges instead of stairs."
    ),
    click.option(
        "--class", "classes", multiple=True, metavar="NAME|CODE",
        help="Write only the polygons of this class; may be repeated.",
    ),
    click.option("--scene-name", metavar="NAME", help="Name of the scene, stored with every polygon."),
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
        "probabilities",
        metavar="FILE",
        help="Also write the probabilities, one band per class (a folder if -o is one).",
    ),
    click.option(
        "--storage", type=click.Choice(STORAGES), default=STORAGES[0], show_default=True,
        help="Data type of the probabilities: bytes in steps of 1/254, 255 no data; or floats with 3 digits.",
    ),
)  # fmt: skip

save_confidence = click.option(
    "--save-confidence",
    "confidence",
    metavar="FILE",
    help="Also write the confidence raster (a folder if -o is one).",
)

scenes = click.argument("scenes", nargs=-1, metavar="SCENE...")

stack = click.option(
    "--stack", multiple=True, metavar="FILE,FILE,...",
    help="Instead of SCENE: one file per band, or NAME=FILE; files are resampled to the finest resolution, "
    "bilinearly.",
)  # fmt: skip

resolution = click.option(
    "--resolution", type=click.FloatRange(min=0, min_open=True), metavar="UNITS",
    help="Pixel size to which the files of one scene are resampled; by default the finest file's.",
)  # fmt: skip

expand_palette = click.option(
    "--expand-palette", is_flag=True, help="Read a palette image as red, green and blue."
)
force = click.option(
    "--force", is_flag=True, help="Continue although scene and model differ or disk space is short."
)
allow_remote = click.option("--allow-remote", is_flag=True, help="Allow a VRT to refer to remote files.")

validity = together(
    click.option(
        "--nodata", type=NODATA,
        help="No-data value of the scene instead of its file's: one for all bands or one per band, or none "
        "(0,0,none; 0/255: either value).",
    ),
    click.option(
        "--nodata-rule", type=click.Choice(RULES),
        help="Whether a pixel is no data if all bands are, or if any is; by default all if they share a value.",
    ),
    click.option(
        "--alpha", type=ALPHA, help="Band whose pixels above 0 are valid; by default a tagged alpha band that looks so."
    ),
)  # fmt: skip
"""Options on valid pixels, also of `train` and `model quantize`."""

model_file = click.option(
    "-m", "--model", required=True, type=EXISTING_FILE, help="Model file (.safetensors), or an exported one (.xml)."
)  # fmt: skip
bands = click.option(
    "-b", "--bands", type=BANDS, help="Names or numbers of the scene's bands, in the model's order."
)
tiles = together(
    click.option(
        "--tile-size", type=click.IntRange(min=1), metavar="PX", help="Tile size; by default the model's."
    ),
    click.option(
        "--overlap", type=click.IntRange(min=0), metavar="PX",
        help="Overlap of neighbouring tiles; by default the model's.",
    ),
    click.option(
        "--batch-size", type=BATCH_SIZE, default="auto", show_default=True,
        help="Tiles per call of the model.",
    ),
)  # fmt: skip
tta = click.option(
    "--tta",
    is_flag=True,
    help="Test-time augmentation: mean over 8 symmetries of every tile, 8 times the work.",
)
profile = click.option("--profile", is_flag=True, help="Report the time of each stage.")
assume_crs = click.option(
    "--assume-crs", metavar="CRS", help="CRS of a scene that has none, such as EPSG:32633."
)
fresh = click.option("--fresh", is_flag=True, help="Start anew instead of continuing an interrupted run.")

prediction = together(
    model_file,
    stack,
    resolution,
    bands,
    legend("Other codes keep the model's."),
    click.option("--bounds", type=BOUNDS, help="Process only this rectangle, in the scene's CRS."),
    click.option("--clip", type=VECTOR, metavar="FILE", help="Vector file of polygons; pixels outside become no data."),
    validity,
    tiles,
    device,
    click.option(
        "--devices", type=click.IntRange(min=1), default=_DEFAULTS["devices"], show_default=True, metavar="N",
        help="Number of GPUs of this machine, each of which computes a part of the rows.",
    ),
    precision,
    tta,
    click.option("--compile", is_flag=True, help="Compile the network first (CUDA): a minute, for large scenes."),
    profile,
    click.option(
        "--on-error", type=click.Choice(ON_ERROR), default=_DEFAULTS["on_error"], show_default=True,
        help="What to do with unreadable parts of the scene: stop, or write no data (exit code 3).",
    ),
    allow_remote,
    expand_palette,
    assume_crs,
    force,
    fresh,
    overwrite,
    verbosity_options,
)  # fmt: skip
"""The options that `predict` and `segment` share."""


def predict_options(values: dict[str, Any]) -> PredictOptions:
    """Move the fields of `PredictOptions` from a command's parameters into an object."""
    return PredictOptions(**{name: values.pop(name) for name in _DEFAULTS if name in values})
