"""``geoseg vectorize``: a class map becomes polygons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .messages import say
from .options import EXISTING_FILE, drawing, examples, layer, legend, output, overwrite
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
@legend("The map's own for codes that it does not name.")
@click.option(
    "--probabilities",
    type=EXISTING_FILE,
    help="Probabilities on the same grid, a band for each class of the legend: names each polygon's second class.",
)
@drawing
@click.option(
    "--band",
    type=click.IntRange(min=1),
    metavar="N",
    help="Band that holds the class codes, in a file that has several.",
)
@click.option(
    "--multipolygon",
    is_flag=True,
    help="One row a class, a multipolygon. With --append a class's polygons grow together across the seam.",
)
@layer
@click.option(
    "--append",
    is_flag=True,
    help="Add the polygons to the layer of a GeoPackage that is there: same CRS and class names.",
)
@click.option(
    "--duplicate", is_flag=True, help="Add a scene although the layer has polygons of it on the same grid."
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
    """Turn a class map into land-cover polygons.

    A GeoPackage opens coloured in QGIS. Any integer raster will do, from geoseg or not: no model is needed.
    The map of a multilabel model becomes a layer for each class.
    """
    from geoseg.raster.legend_file import legend_of
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vector.vectorize import Target, vectorize_file

    started = time.perf_counter()
    counted = vectorize_file(
        source,
        Target(path=output, layer=layer, overwrite=overwrite, append=append, duplicate=duplicate),
        confidence=confidence,
        legend=legend_of(legend),
        options=VectorizeOptions(**options),
    )
    seconds = time.perf_counter() - started
    from geoseg.inference.summary import peak_memory_mb
    from geoseg.vector.proof import proof_lines

    say(str(output))
    for line in _table(counted.class_rows()):
        say(line)
    for line in proof_lines(counted.proofs, counted.distorted):
        say(f"  {line}")
    say(f"  vectorize {seconds:.1f} s; peak memory {peak_memory_mb():,.0f} MB")


_ROWS = 50
"""A longer table would push everything else off the screen."""


def _table(classes: list[dict[str, Any]]) -> Iterator[str]:
    """Say what each class covers, in the order of the codes; of very many classes the largest."""
    from geoseg.grid.ground import area_texts

    largest = sorted(classes, key=lambda row: (row["area_m2"] or 0, row["polygons"]), reverse=True)
    shown = sorted(largest[:_ROWS], key=lambda row: row["code"])
    code_width = max((len(str(row["code"])) for row in shown), default=0)
    for row, area in zip(shown, area_texts([row["area_m2"] for row in shown]), strict=True):
        polygons = "polygon" if row["polygons"] == 1 else "polygons"
        area = f" {area:>16}" if area else ""
        yield f"  {row['code']:>{max(code_width, 4)}} {row['name']:<20}{area} {row['polygons']:>9,} {polygons}"
    if len(classes) > len(shown):
        yield f"  and {len(classes) - len(shown):,} smaller classes"
