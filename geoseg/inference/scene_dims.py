"""Which dims of an array are rows, columns, bands, and which is another one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from geoseg.errors import SceneError


def spatial_dims(array: Any) -> tuple[tuple[Hashable, Hashable], list[Hashable]]:
    """Names of the dims of rows and columns, and of the others."""
    from rioxarray.exceptions import MissingSpatialDimensionError

    try:
        rows, cols = array.rio.y_dim, array.rio.x_dim
    except MissingSpatialDimensionError:
        raise SceneError(
            f"{_found(array)}, expected (band, y, x) and at most one more, such as time; rename them with .rename()"
        ) from None
    return (rows, cols), [dim for dim in array.dims if dim not in (rows, cols)]


def other_dims(array: Any, others: list[Hashable]) -> tuple[Hashable | None, Hashable | None]:
    """Tell which of the other dims is kept, and which is that of bands."""
    if not others:
        return None, None
    if len(others) == 1:
        return (others[0], None) if others[0] == "time" else (None, others[0])
    if "band" in others:
        band: Hashable = "band"
    else:
        band = next((dim for dim in others if "time" in others and dim != "time"), None)
    if len(others) > 2 or band is None:
        raise SceneError(
            f"{_found(array)}, expected (band, y, x) and at most one more, such as time; choose one with .isel()"
        )
    return next(dim for dim in others if dim != band), band


def _found(array: Any) -> str:
    return f"the DataArray has dims ({', '.join(map(str, array.dims))})"


def only_name(array: Any) -> str | None:
    """Name of the only band of an array without a dim for it."""
    names = array.attrs.get("long_name")
    if isinstance(names, tuple | list) and len(names) == 1:
        names = names[0]
    if isinstance(names, str):
        return names
    coord = array.coords.get("band")
    return str(coord.item()) if coord is not None and coord.ndim == 0 and coord.dtype.kind in "UO" else None
