"""``geoseg rasterize``: convert polygons to a class map."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .messages import progress, say
from .options import VECTOR, encoding, examples, legend, like, output, overlap, overwrite
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg rasterize landcover.gpkg -o classes.tif",
        "geoseg rasterize edited.geojson -o classes.tif --like scene.tif",
        "geoseg rasterize drawn.gpkg -o classes.tif --resolution 10 --on-overlap last",
    )
)
@click.argument("polygons", type=VECTOR)
@output("Class map to write (GeoTIFF).", metavar="OUT.tif")
@like
@click.option(
    "--resolution",
    type=float,
    metavar="SIZE",
    help="Pixel size in units of the polygons' CRS (degrees in GeoJSON), for a grid over their extent.",
)
@click.option("--layer", metavar="NAME", help="Layer of the file; by default the only one.")
@legend("By default from class_name and the layer's style.")
@overlap
@encoding
@overwrite
@verbosity_options
def command(polygons: Path, output: Path, overwrite: bool, legend: Path | None, **values: Any) -> None:
    """Convert land-cover polygons to a class map.

    The inverse of vectorize: a pixel gets the class of the polygon that contains its centre; 255 is no data. Polygons
    need an attribute class_code, which determines the class. Codes above 254 make a map with two bytes per
    pixel, whose no data is 65535.
    """
    from geoseg.raster.legend_file import legend_of
    from geoseg.storage.process_memory import peak_memory_mb
    from geoseg.vector.rasterize import Choices, rasterize_file

    started = time.perf_counter()
    choices = Choices(legend=legend_of(legend), **values)
    with progress() as bar:
        grid, counted = rasterize_file(polygons, output, choices, overwrite=overwrite, progress=bar)
    seconds = time.perf_counter() - started
    say(f"{output}: {grid.width:,} x {grid.height:,} px, {counted.valid:,} of a class")
    for row in counted.rows():
        say(f"  {row['code']:>4} {row['name']:<20} {row['pixels']:>14,} px")
    say(f"  rasterize {seconds:.1f} s; peak memory {peak_memory_mb():,.0f} MB")
