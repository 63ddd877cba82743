"""Checks that polygons fit an existing layer: its columns, geometry type and CRS.

The layer may have been edited in QGIS and have more or fewer columns, or multipolygons.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from geoseg.errors import Message, OptionError
from geoseg.grid.grid import same_crs
from geoseg.polygons.features import GEOMETRY, Features
from geoseg.vectorfiles.class_names import CODE
from geoseg.vectorfiles.geopackage_tables import has_table

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

_GIVES: Final = {
    "confidence": "confidence",
    "second_code": "probabilities",
    "second_name": "probabilities",
    "second_share": "probabilities",
    "scene": "scene_name",
}
"""Keywords that give polygons a column."""
_OTHER_LAYER: Final = Message("add to another {layer}")
_GEOMETRIES: Final = {"POLYGON": "Polygon", "MULTIPOLYGON": "MultiPolygon", "GEOMETRY": "Unknown"}
_MULTIPOLYGON_OF_ONE: Final = b"\x01\x06\x00\x00\x00\x01\x00\x00\x00"
"""WKB of a multipolygon up to its only polygon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Attributes and geometries that a layer accepts.

    Parameters
    ----------
    columns : tuple of str
        Columns of the layer.
    geometry_type : str
        Polygon, MultiPolygon, or Unknown, which accepts any.
    """

    columns: tuple[str, ...]
    geometry_type: str

    @classmethod
    def of(cls, database: sqlite3.Connection, name: str) -> Fit:
        """Inspect a layer."""
        (kind,) = database.execute(
            "SELECT geometry_type_name FROM gpkg_geometry_columns WHERE table_name = ?", (name,)
        ).fetchone()
        return cls(
            columns=tuple(str(row[1]) for row in _columns(database, name)),
            geometry_type=_GEOMETRIES.get(kind, "Unknown"),
        )

    def fitted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Drop columns that the layer lacks, and convert polygons to multipolygons if it has these."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for batch in batches:
            kept = batch.select([column for column in batch.schema.names if column in self.columns])
            if self.geometry_type == "MultiPolygon":
                shapes = kept.column(GEOMETRY)
                several = pc.binary_join_element_wise(
                    pa.scalar(_MULTIPOLYGON_OF_ONE, shapes.type), shapes, pa.scalar(b"", shapes.type)
                )
                kept = kept.set_column(kept.schema.names.index(GEOMETRY), GEOMETRY, several)
            yield kept


def check_fit(database: sqlite3.Connection, name: str, nothing: Features, where: str) -> None:
    """Refuse polygons that a layer cannot accept, and log which attributes do not match.

    Parameters
    ----------
    database : Connection
        Open GeoPackage.
    name : str
        Name of the layer.
    nothing : Features
        Empty set of features with the columns of the polygons.
    where : str
        Name of the layer for messages.

    Raises
    ------
    OptionError
        If the layer cannot accept the polygons.
    """
    _check_geometry(database, name, nothing.crs, where)
    given = {field.name: str(field.type) for field in nothing.attributes().schema}
    own = {str(row[1]): row for row in _columns(database, name) if row[1] != GEOMETRY}
    if CODE not in own:
        raise OptionError(f"{where}: has no column {CODE}, expected land cover", _OTHER_LAYER)
    lacking = [column for column in given if column not in own]
    chosen = [column for column in lacking if column in _GIVES]
    if chosen:
        causes = Message.joined(
            " and ", [Message("{" + name + "}") for name in sorted({_GIVES[column] for column in chosen})]
        )
        raise OptionError(
            f"{where}: lacks {', '.join(chosen)}, which the polygons have",
            Message("leave out {}, or {}", causes, _OTHER_LAYER),
        )
    for column, row in own.items():
        if column not in given and row[3] and row[4] is None:
            raise OptionError(
                f"{where}: has {column}, which must not be empty and the polygons lack", _OTHER_LAYER
            )
        if given.get(column) == "string" and not str(row[2]).upper().startswith("TEXT"):
            raise OptionError(f"{where}: column {column} is {row[2]}, expected TEXT", _OTHER_LAYER)
    empty = [column for column in own if column not in given]
    if lacking:
        _log.warning("%s: has no %s; the polygons are added without it", where, ", ".join(lacking))
    if empty:
        _log.info("%s: has %s, which is empty for the polygons that are added", where, ", ".join(empty))


def _columns(database: sqlite3.Connection, name: str) -> list[tuple[Any, ...]]:
    """Return rows of number, name, type, not-null flag and default of a table's columns, without the key."""
    quoted = '"' + name.replace('"', '""') + '"'
    return [row for row in database.execute(f"PRAGMA table_info({quoted})") if not row[5]]


def _check_geometry(database: sqlite3.Connection, name: str, crs: str | None, where: str) -> None:
    found = database.execute(
        "SELECT g.column_name, g.geometry_type_name, g.z, g.m, s.srs_id, s.organization, s.organization_coordsys_id, "
        "s.definition FROM gpkg_geometry_columns g JOIN gpkg_spatial_ref_sys s ON g.srs_id = s.srs_id "
        "WHERE g.table_name = ?",
        (name,),
    ).fetchone()
    if found is None or found[0] != GEOMETRY or found[1] not in _GEOMETRIES or 1 in found[2:4]:
        kind = "no geometry" if found is None else f"a column {found[0]} of {found[1]}"
        raise OptionError(
            f"{where}: has {kind}, expected {GEOMETRY} of POLYGON or MULTIPOLYGON without heights",
            _OTHER_LAYER,
        )
    indexed = "SELECT 1 FROM gpkg_extensions WHERE table_name = ? AND extension_name = 'gpkg_rtree_index'"
    if not has_table(database, "gpkg_extensions") or not database.execute(indexed, (name,)).fetchone():
        raise OptionError(
            f"{where}: has no spatial index; make one (in QGIS: Create spatial index) and try again"
        )
    if not _has_crs(crs, *found[4:]):
        raise OptionError(
            f"{where}: has the CRS {found[5]}:{found[6]}, the map {_crs_name(crs)}",
            Message("{}, or warp the map", _OTHER_LAYER),
        )


def _has_crs(crs: str | None, srs_id: int, organization: str, code: int, definition: str) -> bool:
    from pyproj.exceptions import CRSError

    if crs is None or srs_id in (-1, 0):
        return crs is None and srs_id == -1
    for words in (f"{organization}:{code}", definition):
        try:
            if same_crs(words, crs):
                return True
        except CRSError:
            continue
    return False


def _crs_name(crs: str | None) -> str:
    from pyproj import CRS

    return "none" if crs is None else CRS.from_wkt(crs).name
