"""One row per class: the polygons of a map as multipolygons, dissolved with those already in a layer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geoseg.polygons.features import GEOMETRY, Features
from geoseg.vectorfiles.appending import Base
from geoseg.vectorfiles.arrow_writer import Layer, table_batches
from geoseg.vectorfiles.class_names import CODE
from geoseg.vectorfiles.reading import choose_layers

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa

_log = logging.getLogger(__name__)

_SUMS: Final = ("area_m2", "pixels", "perimeter_m")
_SAME: Final = 1e-9
"""Relative difference of planar areas that rounding can cause."""


def one_row_a_class(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Combine all polygons of each class of a map, which do not overlap, into one multipolygon.

    Areas, pixels and perimeters are summed, the confidence is averaged over pixels. Other columns are empty if they
    differ between the polygons of a class, except for names: the most frequent one is kept.

    Parameters
    ----------
    frame : GeoDataFrame
        Polygons and multipolygons with `class_code`.

    Returns
    -------
    GeoDataFrame
        One row per class, in ascending order of the codes.
    """
    import geopandas as gpd
    import pandas as pd
    import shapely

    if not len(frame):
        return frame
    rows, shapes = [], []
    for code, group in frame.groupby(CODE, sort=True):
        rows.append({CODE: code} | _together(group.drop(columns=[CODE, frame.geometry.name])))
        shapes.append(shapely.multipolygons(shapely.get_parts(group.geometry.to_numpy())))
    columns = [name for name in frame.columns if name != frame.geometry.name]
    table = pd.DataFrame(rows, columns=columns).astype(
        {name: frame[name].dtype for name in (CODE, "pixels") if name in columns}
    )
    return gpd.GeoDataFrame(table, geometry=gpd.GeoSeries(shapes, crs=frame.crs), crs=frame.crs)


def dissolved(before: gpd.GeoDataFrame, added: gpd.GeoDataFrame, where: str) -> gpd.GeoDataFrame:
    """Dissolve the polygons of each class of two maps, so that polygons that touch across the seam become one.

    Areas and pixels are summed if the maps do not overlap; otherwise they are empty, which is logged. Perimeters are
    summed if no polygons were joined; otherwise they are empty.

    Parameters
    ----------
    before, added : GeoDataFrame
        Polygons and multipolygons with `class_code`, in one CRS.
    where : str
        Name of the layer for messages.
    """
    import pandas as pd
    import shapely

    if before.geometry.name != added.geometry.name:
        before = before.rename_geometry(added.geometry.name)
    both = pd.concat([before[before[CODE].notna() & before.geometry.notna()], added], ignore_index=True)
    both[CODE] = both[CODE].astype(np.int64)
    found = one_row_a_class(both)
    overlapping = 0
    for at, shape in enumerate(found.geometry):
        whole = shapely.union_all(shapely.get_parts(shape))
        parts = shapely.get_parts(whole)
        found.loc[at, found.geometry.name] = shapely.multipolygons(parts)
        overlaps = shape.area - whole.area > _SAME * shape.area
        overlapping += overlaps
        grown = len(parts) != len(shapely.get_parts(shape))
        empty = [*(_SUMS[:2] if overlaps else ()), *(_SUMS[2:] if overlaps or grown else ())]
        for name in empty:
            if name in found:
                found[name] = found[name].astype(float)
                found.loc[at, name] = np.nan
    if overlapping:
        _log.warning(
            "%s: polygons of %d classes overlap what is there; their areas and pixels are empty",
            where,
            overlapping,
        )
    return found


def multipolygon_tables(
    layers: Iterable[tuple[Layer, Iterable[Features]]], base: Base | None
) -> Iterator[tuple[Iterator[pa.RecordBatch], Layer]]:
    """Make tables with one row per class from the polygons of layers, dissolved with those of a file."""
    import pyarrow as pa
    import shapely

    for layer, parts in layers:
        frame = one_row_a_class(Features.joined(list(parts)).to_geodataframe())
        if base is not None and layer.name in base.layers:
            frame = dissolved(_stored(base, layer.name), frame, f"{base.path}, layer {layer.name}")
            layer = replace(layer, metadata=base.metadata(layer.name))  # the layer is written anew
        attributes = pa.Table.from_pandas(frame.drop(columns=frame.geometry.name), preserve_index=False)
        for at, field in enumerate(attributes.schema):
            if pa.types.is_null(field.type):  # the column is empty for every class
                attributes = attributes.set_column(at, field.name, attributes[at].cast(pa.string()))
        geometry = pa.array(shapely.to_wkb(frame.geometry.to_numpy(), byte_order=1), pa.binary())
        table = attributes.append_column(GEOMETRY, geometry)
        yield table_batches(table), replace(layer, geometry_type="MultiPolygon")


def _stored(base: Base, name: str) -> gpd.GeoDataFrame:
    from geoseg.vectorfiles.ogr import pyogrio

    choose_layers(base.path, name)
    frame: gpd.GeoDataFrame = pyogrio.read_dataframe(base.path.absolute(), layer=name, force_2d=True)
    return frame


def _together(group: pd.DataFrame) -> dict[str, Any]:
    """Combine the attributes of several polygons of a class into those of one."""
    values: dict[str, Any] = {}
    for name, column in group.items():
        known = column.dropna()
        if name in _SUMS:
            values[str(name)] = column.sum(skipna=False)
        elif name == "confidence" and "pixels" in group:
            weight = group["pixels"].where(column.notna(), 0)
            values[str(name)] = (column.fillna(0) * weight).sum() / weight.sum() if weight.sum() else np.nan
        elif name == "class_name" and len(known):
            values[str(name)] = known.value_counts().index[0]
        else:
            values[str(name)] = known.iloc[0] if known.nunique() == 1 else None
    return values
