"""``geoseg rasterize``: polygons become a class map."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .messages import say
from .options import EXISTING_FILE, encoding, examples, legend, output, overlap, overwrite
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg rasterize landcover.gpkg -o classes.tif",
        "geoseg rasterize edited.geojson -o classes.tif --like scene.tif",
        "geoseg rasterize drawn.gpkg -o classes.tif --resolution 10 --overlap last",
    )
)
@click.argument("polygons", type=EXISTING_FILE)
@output("Class map to write (GeoTIFF).", metavar="OUT.tif")
@click.option(
    "--like",
    type=EXISTING_FILE,
    help="Any raster, whose grid the map gets; by default the grid that the file says its polygons were traced on.",
)
@click.option(
    "--resolution",
    type=float,
    metavar="SIZE",
    help="Edge of pixels in units of the polygons' CRS (degrees in GeoJSON): a grid over their extent.",
)
@click.option("--layer", metavar="NAME", help="Layer of the file; the only one by default.")
@legend("By default class_name and the layer's style.")
@overlap
@encoding
@overwrite
@verbosity_options
def command(polygons: Path, output: Path, overwrite: bool, legend: Path | None, **values: Any) -> None:
    """Turn land-cover polygons into a class map.

    The inverse of vectorize: a pixel gets the class of the polygon that its centre lies in; 255 is no data. Polygons
    need an attribute class_code, which counts whatever their names are. Codes above 254 make a map of two bytes a
    pixel, whose no data is 65535.
    """
    from geoseg.inference.rasterize import Choices, rasterize_file
    from geoseg.inference.summary import peak_memory_mb
    from geoseg.raster.legend_file import legend_of

    started = time.perf_counter()
    choices = Choices(legend=legend_of(legend), **values)
    grid, counted = rasterize_file(polygons, output, choices, overwrite=overwrite)
    seconds = time.perf_counter() - started
    say(f"{output}: {grid.width:,} x {grid.height:,} px, {counted.valid:,} of a class")
    for row in counted.rows():
        say(f"  {row['code']:>4} {row['name']:<20} {row['pixels']:>14,} px")
    say(f"  rasterize {seconds:.1f} s; peak memory {peak_memory_mb():,.0f} MB")
