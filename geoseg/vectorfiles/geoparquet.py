"""GeoParquet 1.1: polygons in row groups with bounding boxes, so that readers can skip distant ones.

Specification: https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import OutputError, plural
from geoseg.polygons.features import Features
from geoseg.polygons.proof import COVERAGE, coverage_json
from geoseg.polygons.wkb import polygon_bounds
from geoseg.vectorfiles.arrow_writer import room

if TYPE_CHECKING:
    import pyarrow as pa

GEOMETRY = "geometry"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def write_geoparquet(
    path: Path,
    parts: Iterable[Features],
    *,
    crs: str | None,
    coverage: Callable[[], Sequence[Mapping[str, Any]]] = list,
) -> None:
    """Write a stream of features as GeoParquet and verify the file.

    Parameters
    ----------
    path : Path
        File to write, at a scratch path; an existing one is replaced.
    parts : iterable of Features
        Features in parts, at least one, which may be empty.
    crs : str or None
        CRS as WKT.
    coverage : callable
        Called after all features are written; returns their measurements for the file's metadata.

    Raises
    ------
    OutputError
        If the file cannot be written or does not hold what was given.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    coming = Features.rebatched(parts)
    first = next(coming)
    written = 0
    extent = np.array([np.inf, np.inf, -np.inf, -np.inf])
    try:
        with pq.ParquetWriter(path, _table(first)[0].schema, compression="zstd") as writer:
            part: Features | None = first
            while part is not None:
                table, bounds = _table(part)
                writer.write_table(table)
                written += len(part)
                extent[:2] = np.minimum(extent[:2], bounds[:, :2].min(axis=0, initial=np.inf))
                extent[2:] = np.maximum(extent[2:], bounds[:, 2:].max(axis=0, initial=-np.inf))
                part = next(coming, None)
            known = coverage()
            writer.add_key_value_metadata(
                {"geo": json.dumps(_metadata(crs, extent if written else None))}
                | ({COVERAGE: coverage_json(known)} if known else {})
            )
        with pq.ParquetFile(path) as file:
            found, keys = file.metadata.num_rows, file.metadata.metadata or {}
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(
            f"{path}: the GeoParquet file could not be written ({reason}); {room(path)}"
        ) from error
    if found != written or b"geo" not in keys:
        raise OutputError(
            f"{path}: has {plural(found, 'feature')} after writing, expected {written}; {room(path)}"
        )


def _table(part: Features) -> tuple[pa.Table, Any]:
    import pyarrow as pa

    bounds = polygon_bounds(part.buffer, part.offset)
    box = pa.StructArray.from_arrays([pa.array(bounds[:, i]) for i in range(4)], names=list(_CORNERS))
    table = part.attributes().append_column("bbox", box)
    return table.append_column(GEOMETRY, part.wkb_arrow()), bounds


def _metadata(crs: str | None, extent: Any) -> dict[str, Any]:
    """Return the metadata of the geometry column as the specification defines it."""
    about: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": _projjson(crs),
        "orientation": "counterclockwise",
        "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
    }
    if extent is not None:
        about["bbox"] = extent.tolist()
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: about}}


def _projjson(crs: str | None) -> Any:
    if crs is None:
        return None
    from pyproj import CRS

    return CRS.from_wkt(crs).to_json_dict()
