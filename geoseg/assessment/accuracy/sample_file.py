"""Samples as GeoPackages that QGIS opens with a labelling form."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.form import COMMENT, POINT, REFERENCE, labelling_qml
from geoseg.assessment.accuracy.record import KEY, Record
from geoseg.errors import DataError, plural
from geoseg.polygons.features import GEOMETRY
from geoseg.raster.file_kinds import GEOPACKAGE, kind_of
from geoseg.storage.output import claim
from geoseg.storage.printable import listed, shown
from geoseg.vectorfiles.arrow_writer import Layer, table_batches
from geoseg.vectorfiles.class_names import whole_code
from geoseg.vectorfiles.databases import opened
from geoseg.vectorfiles.geopackage import write_tables
from geoseg.vectorfiles.geopackage_tables import read_metadata
from geoseg.vectorfiles.kept_layers import kept_beside
from geoseg.vectorfiles.reading import check_vector_file, choose_layers, read_columns, read_features

LAYER: Final = "sample"
_MOVED: Final = 0.5
"""Distance from where a point was drawn, px, beyond which it lies in another pixel."""
_LAYERS: Final = "SELECT table_name FROM gpkg_contents WHERE data_type = 'features' ORDER BY table_name"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSample:
    """A sample read from its file.

    Parameters
    ----------
    path : Path
        The file.
    crs : str or None
        CRS of its points, as text that pyproj accepts.
    record : Record
        Its design.
    reference : tuple of (int or None)
        Label of each point, by number; None where there is none.
    """

    path: Path
    crs: str | None
    record: Record
    reference: tuple[int | None, ...]


def write_sample(path: Path, record: Record, crs: str | None, *, overwrite: bool) -> None:
    """Write the points of a sample, unlabelled, with its design in the layer's metadata.

    Parameters
    ----------
    path : Path
        GeoPackage to write.
    record : Record
        The design.
    crs : str or None
        CRS of the map.
    overwrite : bool
        Whether a sample may be replaced, with its labels.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    import pyarrow as pa
    import shapely

    count = len(record.places.row)
    shapes = shapely.points(*positions(record))
    table = pa.table(
        {
            POINT: pa.array(np.arange(1, count + 1, dtype=np.int32)),
            REFERENCE: pa.nulls(count, pa.int32()),
            COMMENT: pa.nulls(count, pa.string()),
            GEOMETRY: pa.array(shapely.to_wkb(shapes, byte_order=1), pa.binary()),
        }
    )
    about = Layer(
        name=LAYER, crs=crs, legend=lambda: record.legend, geometry_type="Point",
        metadata={KEY: record.json()}, style=labelling_qml(record.legend),
        description="Points to label, drawn by geoseg",
    )  # fmt: skip
    with claim(path, overwrite=overwrite) as claimed:
        base = kept_beside(path, [LAYER])
        finished = claimed.prepare()
        write_tables(finished, [(table_batches(table), about)], base)
        if base is not None:
            base.check_unchanged()
        claimed.commit(finished)


def positions(record: Record) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y of the centres of the points' pixels, in the map's CRS."""
    col, row = record.places.col + 0.5, record.places.row + 0.5
    t = record.transform
    return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f


def read_sample(path: Path) -> StoredSample:
    """Read a sample with its design and its labels.

    Raises
    ------
    DataError
        If the file has no design, or its points are not those that were drawn.
    """
    layer, text = _design(path)
    record = Record.of_json(text, path)
    about = choose_layers(path, layer)[0]
    for field in (POINT, REFERENCE):
        if field not in about.fields:
            raise DataError(
                f"{path}: layer {layer} has no attribute {field} any more; copy the labels into the file as drawn"
            )
    numbers, labels = (read_columns(path, about, [field])[field].to_pylist() for field in (POINT, REFERENCE))
    shapes = read_features(path, about).geometry
    order = _order(path, numbers, len(record.places.row))
    _check_places(path, record, shapes[order])
    reference = tuple(_code(labels[i], record, path, number) for number, i in enumerate(order, start=1))
    return StoredSample(path=path, crs=about.crs, record=record, reference=reference)


def _design(path: Path) -> tuple[str, str]:
    """Return the layer of a sample and its design as JSON."""
    check_vector_file(path)
    found: list[tuple[str, str]] = []
    if kind_of(path) == GEOPACKAGE:
        try:
            with opened(path) as database:
                for (name,) in database.execute(_LAYERS).fetchall():
                    text = read_metadata(database, name).get(KEY)
                    found += [] if text is None else [(str(name), text)]
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
    if not found:
        raise DataError(
            f"{path}: is no probability sample: no layer has the design by which it was drawn, so nothing can be "
            "inferred from its points; draw points with `geoseg accuracy design` and label those"
        )
    if len(found) > 1:
        raise DataError(
            f"{path}: has several samples ({listed(name for name, _ in found)}), expected one; keep each in a file of "
            "its own"
        )
    return found[0]


def _order(path: Path, numbers: list[Any], count: int) -> list[int]:
    """Return the rows of the points 1 to n."""
    rows = {number: row for row, number in enumerate(numbers) if number is not None}
    wanted = range(1, count + 1)
    missing = [number for number in wanted if number not in rows]
    if missing:
        raise DataError(
            f"{path}: lacks {plural(len(missing), 'point')} of its design ({listed(missing)}); put them back, or the "
            "others are no probability sample"
        )
    if len(numbers) != count:
        raise DataError(
            f"{path}: has {plural(len(numbers), 'point')}, of which {count} were drawn; remove what was added or "
            "copied, which no design has drawn"
        )
    return [rows[number] for number in wanted]


def _check_places(path: Path, record: Record, shapes: Any) -> None:
    """Refuse points that were moved into another pixel."""
    import shapely

    points = shapely.from_wkb(shapes)
    inverse = ~record.transform
    x, y = shapely.get_x(points), shapely.get_y(points)
    col = inverse.a * x + inverse.b * y + inverse.c - record.places.col - 0.5
    row = inverse.d * x + inverse.e * y + inverse.f - record.places.row - 0.5
    moved = np.flatnonzero(~(np.maximum(abs(col), abs(row)) <= _MOVED)) + 1
    if len(moved):
        raise DataError(
            f"{path}: {plural(len(moved), 'point')} ({listed(moved)}) lie in another pixel than the one that was "
            "drawn; move them back"
        )


def _code(value: Any, record: Record, path: Path, number: int) -> int | None:
    """Return the label of a point."""
    try:
        code = whole_code(value, str(path))
    except DataError:
        code = -1
    if code is not None and code not in record.legend.codes:
        known = ", ".join(f"{c.code} {c.name}" for c in record.legend.classes)
        raise DataError(
            f"{path}: point {number} has the {REFERENCE} {shown(str(value))}, expected a code of the legend ({known})"
        )
    return code
