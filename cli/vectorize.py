"""``geoseg vectorize``: convert a class map to polygons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from geoseg.errors import plural

from .messages import progress, say
from .options import EXISTING_FILE, drawing, examples, legend, output, output_layer, overwrite
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg vectorize classes.tif -o landcover.gpkg",
        "geoseg vectorize worldcover.tif -o landcover.gpkg --legend legend.csv",
        "geoseg vectorize classes.tif -o landcover.gpkg --min-area 500m2 --smooth --simplify 1px",
        "geoseg vectorize classes.tif -o water.gpkg --class water --class wetland",
        "geoseg vectorize south.tif -o landcover.gpkg --append",
    )
)
@click.argument("source", type=EXISTING_FILE, metavar="CLASSES")
@output("File to write: .gpkg, .parquet, .fgb or .geojson.", metavar="OUT.gpkg")
@click.option(
    "--confidence", type=EXISTING_FILE, help="Confidence raster on the same grid, averaged per polygon."
)
@legend("Other codes keep the map's own.")
@click.option(
    "--probabilities",
    type=EXISTING_FILE,
    help="Probabilities on the same grid, one band per class of the legend; adds each polygon's second class.",
)
@drawing
@click.option(
    "--band",
    type=click.IntRange(min=1),
    metavar="N",
    help="Band with the class codes, in a file with several bands.",
)
@click.option(
    "--multipolygon",
    is_flag=True,
    help="Write one multipolygon per class. With --append, polygons of a class are merged across the seam.",
)
@output_layer
@click.option(
    "--append",
    is_flag=True,
    help="Add the polygons to the layer of an existing GeoPackage with the same CRS and class names.",
)
@click.option(
    "--duplicate",
    is_flag=True,
    help="Add a scene even if the layer already has its polygons on the same grid.",
)
@overwrite
@verbosity_options
def command(
    source: Path,
    output: Path,
    confidence: Path | None,
    legend: Path | None,
    layer: str | None,
    overwrite: bool,
    append: bool,
    duplicate: bool,
    **options: Any,
) -> None:
    """Convert a class map to land-cover polygons.

    A GeoPackage opens in QGIS with its colours. Any integer raster will do, from geoseg or not: no model is needed.
    A multilabel map becomes one layer per class.
    """
    from geoseg.raster.legend_file import legend_of
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vector.vectorize import Target, vectorize_file

    started = time.perf_counter()
    with progress() as bar:
        counted = vectorize_file(
            source,
            Target(path=output, layer=layer, overwrite=overwrite, append=append, duplicate=duplicate),
            confidence=confidence,
            legend=legend_of(legend),
            options=VectorizeOptions(**options),
            progress=bar,
        )
    seconds = time.perf_counter() - started
    from geoseg.polygons.proof import proof_lines
    from geoseg.storage.process_memory import peak_memory_mb

    say(str(output))
    for line in _table(counted.class_rows()):
        say(line)
    for line in proof_lines(counted.proofs, counted.distorted):
        say(f"  {line}")
    say(f"  vectorize {seconds:.1f} s; peak memory {peak_memory_mb():,.0f} MB")


_ROWS = 50
"""Maximum number of rows; a longer table would push everything else off the screen."""


def _table(classes: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of the area of each class, in the order of codes; of very many classes only the largest."""
    from geoseg.grid.ground import area_texts

    largest = sorted(classes, key=lambda row: (row["area_m2"] or 0, row["polygons"]), reverse=True)
    shown = sorted(largest[:_ROWS], key=lambda row: row["code"])
    code_width = max((len(str(row["code"])) for row in shown), default=0)
    for row, area in zip(shown, area_texts([row["area_m2"] for row in shown]), strict=True):
        polygons = "polygon" if row["polygons"] == 1 else "polygons"
        area = f" {area:>16}" if area else ""
        yield f"  {row['code']:>{max(code_width, 4)}} {row['name']:<20}{area} {row['polygons']:>9,} {polygons}"
    if len(classes) > len(shown):
        yield f"  and {plural(len(classes) - len(shown), 'smaller class')}"
