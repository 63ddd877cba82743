"""Features of a layer read in batches, so that memory does not grow with the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.polygons.proof import COVERAGE, coverage_entries
from geoseg.raster.file_kinds import GEOPACKAGE, GEOPARQUET
from geoseg.vectorfiles.databases import opened
from geoseg.vectorfiles.geopackage_tables import read_metadata
from geoseg.vectorfiles.reading import VectorLayer, explained

if TYPE_CHECKING:
    import pyarrow as pa

_SIZE: Final = 2**15
"""Features of a batch."""
_PLAIN: Final = ("Polygon", "MultiPolygon")
_CURVES: Final = range(8, 15)
"""Types of curved lines and surfaces, and of collections of them, in WKB."""
_AT_ONCE: Final = 1000
"""Features that are read by their numbers in one request."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureBatch:
    """Features of a layer, in their order.

    Parameters
    ----------
    fid : (feature,) int64
        Numbers of the features in the file; of GeoParquet the row, from 0.
    geometry : (feature,) object
        Geometries in WKB; None for features without one.
    columns : dict of str to Arrow array
        Values of the requested attributes.
    """

    fid: npt.NDArray[np.int64]
    geometry: npt.NDArray[np.object_]
    columns: dict[str, pa.Array]


def read_batches(path: Path, layer: VectorLayer, fields: Sequence[str]) -> Iterator[FeatureBatch]:
    """Read the features of a layer, batch by batch.

    Parameters
    ----------
    path : Path
        Vector file.
    layer : VectorLayer
        Layer of the file.
    fields : sequence of str
        Attributes to read.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    if layer.kind == GEOPARQUET:
        yield from _from_parquet(path, fields)
        return
    from geoseg.vectorfiles.ogr import pyogrio

    with explained(path):
        opening = pyogrio.open_arrow(
            path.absolute(),
            layer=layer.name,
            encoding=layer.encoding,
            columns=list(fields),
            return_fids=True,
            batch_size=_SIZE,
            use_pyarrow=True,
        )
        with opening as (about, batches):
            geometry = about["geometry_name"] or "wkb_geometry"
            fid = about["fid_column"] or "OGC_FID"
            plain = str(about["geometry_type"]).removesuffix(" Z") in _PLAIN
            for batch in batches:
                fids = batch.column(fid).to_numpy(zero_copy_only=False).astype(np.int64)
                wkb = batch.column(geometry).to_numpy(zero_copy_only=False)
                yield FeatureBatch(
                    fid=fids,
                    geometry=wkb if plain else _without_curves(path, layer, fids, wkb),
                    columns={name: batch.column(name) for name in fields},
                )


def _without_curves(
    path: Path, layer: VectorLayer, fids: npt.NDArray[np.int64], wkb: npt.NDArray[np.object_]
) -> npt.NDArray[np.object_]:
    """Replace curves, of which GEOS knows nothing, by GDAL's straight edges."""
    from geoseg.vectorfiles.ogr import pyogrio

    (curved,) = np.nonzero([each is not None and _type_of(each) in _CURVES for each in wkb])
    if not len(curved):
        return wkb
    straight = wkb.copy()
    for at in np.array_split(curved, -(-len(curved) // _AT_ONCE)):
        _, found, shapes, _ = pyogrio.raw.read(
            path.absolute(), layer=layer.name, columns=[], fids=fids[at], return_fids=True
        )
        of = dict(zip(found.tolist(), shapes, strict=True))
        straight[at] = [of[fid] for fid in fids[at].tolist()]
    return straight


def _type_of(wkb: bytes) -> int:
    """Return the type of a geometry without its flags for Z and M."""
    return (int.from_bytes(wkb[1:5], "little" if wkb[0] else "big") & 0xFFFF) % 1000


def _from_parquet(path: Path, fields: Sequence[str]) -> Iterator[FeatureBatch]:
    import pyarrow.parquet as pq

    with explained(path), pq.ParquetFile(path.absolute()) as file:
        about = json.loads((file.metadata.metadata or {})[b"geo"])
        geometry = about["primary_column"]
        encoding = about["columns"][geometry]["encoding"]
        if encoding != "WKB":
            raise DataError(
                f"{path}: its geometries are stored as {encoding}, expected WKB; write it again so"
            )
        first = 0
        for batch in file.iter_batches(_SIZE, columns=[*fields, geometry]):
            yield FeatureBatch(
                fid=np.arange(first, first + batch.num_rows),
                geometry=batch.column(geometry).to_numpy(zero_copy_only=False),
                columns={name: batch.column(name) for name in fields},
            )
            first += batch.num_rows


def stated_coverages(path: Path, layer: VectorLayer) -> list[dict[str, Any]]:
    """Return what a file of geoseg states about the polygons of a layer: an entry for each map that is in it.

    Parameters
    ----------
    path : Path
        Vector file.
    layer : VectorLayer
        Layer of the file.
    """
    text: str | None = None
    if layer.kind == GEOPACKAGE:
        with opened(path) as database:
            text = read_metadata(database, layer.name).get(COVERAGE)
    elif layer.kind == GEOPARQUET:
        import pyarrow.parquet as pq

        stored = (pq.read_metadata(path).metadata or {}).get(COVERAGE.encode())
        text = None if stored is None else stored.decode(errors="replace")
    return coverage_entries(text)
