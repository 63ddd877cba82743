"""Edited GeoDataFrames as tables that a GeoPackage can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg.errors import OptionError
from geoseg.polygons.features import GEOMETRY

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa

_ROW = "fid"
"""Column of a GeoPackage's table that numbers its rows."""


def check_frame(frame: Any, expected: str = "a GeoDataFrame with geometries") -> None:
    """Raise OptionError for anything but a GeoDataFrame with geometries; `expected` says all that might be given."""
    if getattr(frame, "_geometry_column_name", None) is None or not hasattr(frame, "columns"):
        raise OptionError(f"the polygons are a {type(frame).__name__}, expected {expected}")


def attributes_of(frame: gpd.GeoDataFrame) -> pa.Table:
    """Return the columns of a frame without its geometries.

    A column without any value, which is there to be filled in, becomes text.

    Raises
    ------
    OptionError
        If a GeoPackage cannot hold a column; says which, and what to do.
    """
    import pyarrow as pa

    columns = frame.drop(columns=frame.geometry.name)
    _check_names([str(name) for name in columns.columns])
    fields = {str(name): _array(str(name), columns.iloc[:, i]) for i, name in enumerate(columns.columns)}
    for name in fields:
        if name.lower() == _ROW and not _numbers_rows(fields[name]):
            raise OptionError(
                f"the frame's column {name} would be the number of each row in the GeoPackage, expected a different "
                f"integer in each; rename it with .rename(columns={{{name!r}: ...}}), or drop it"
            )
    return pa.table(fields)


def _check_names(names: list[str]) -> None:
    """Refuse names that a table of SQLite, which ignores case, cannot have beside each other."""
    seen = {GEOMETRY: "that of the geometries"}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            raise OptionError(
                f"the frame's column {name} has the name of another one ({other}), and a GeoPackage ignores case; "
                "rename or drop it"
            )


def _array(name: str, column: pd.Series[Any]) -> pa.Array:
    """Convert a column, or refuse it."""
    import pyarrow as pa

    try:
        found = pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _unsuitable(name, str(column.dtype)) from error
    if pa.types.is_null(found.type):
        return found.cast(pa.string())
    kind = found.type.value_type if pa.types.is_dictionary(found.type) else found.type
    stored = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if pa.types.is_duration(stored) or (pa.types.is_struct(stored) and stored is not kind):
        raise _unsuitable(name, str(column.dtype))
    return found


def _unsuitable(name: str, kind: str) -> OptionError:
    return OptionError(
        f"the frame's column {name} ({kind}) holds what a GeoPackage cannot; convert it with .astype(str), or drop it"
    )


def _numbers_rows(column: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(column.type) and not column.null_count and len(column.unique()) == len(column)
