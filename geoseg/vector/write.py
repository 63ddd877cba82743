"""The verb write: edited GeoDataFrames as styled GeoPackages."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError, plural
from geoseg.grid.legend import Legend
from geoseg.polygons.features import GEOMETRY
from geoseg.polygons.stream import complete_legend
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import claim
from geoseg.vector.frame_table import attributes_of, check_frame
from geoseg.vectorfiles.arrow_writer import Layer, table_batches
from geoseg.vectorfiles.geopackage import check_geopackage_name, write_tables
from geoseg.vectorfiles.kept_layers import kept_beside

if TYPE_CHECKING:
    import geopandas as gpd


def write(
    gdf: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    legend: Legend | str | PathLike[str] | None = None,
    layer: str = "landcover",
    overwrite: bool = False,
) -> Path:
    """Write land-cover polygons as a GeoPackage with the legend as QGIS's default style.

    A frame from `geoseg.vectorize` gives the same features and style as its `output`, but without the stored proof of a
    coverage, because a frame may have been edited.

    Parameters
    ----------
    gdf : GeoDataFrame
        Polygons with `class_code` (integers); every other column is kept.
    path : path
        File to write, ``.gpkg``.
    legend : Legend or path, optional
        Names and colours, or a CSV file of them; by default the names of `class_name`, colours made up.
    layer : str
        Layer of the GeoPackage.
    overwrite : bool
        Whether a file may be replaced; in a GeoPackage with other content only the layer is.

    Raises
    ------
    OptionError
        If the frame has no usable `class_code`, or the layer name is reserved.
    OutputError
        If the file cannot be written.
    """
    import pyarrow as pa
    import shapely

    check_frame(gdf)
    if "class_code" not in gdf.columns:
        columns = ", ".join(map(str, gdf.columns))
        raise OptionError(f"the frame has columns {columns}; expected class_code with integers among them")
    attributes = attributes_of(gdf)
    codes = attributes["class_code"]
    if not pa.types.is_integer(codes.type) or codes.null_count:
        missing = ", of which some are missing" if codes.null_count else ""
        raise OptionError(
            f"the frame's class_code is {gdf['class_code'].dtype}{missing}, expected integers; convert it with "
            ".astype(int)" + (", after .dropna(subset='class_code')" if missing else "")
        )
    named = gdf["class_name"] if "class_name" in gdf.columns else gdf["class_code"].map("class {}".format)
    known = named.notna()
    names = {code: f"class {code}" for code in codes.unique().to_pylist()}
    names |= dict(zip(gdf["class_code"][known].tolist(), map(str, named[known]), strict=True))
    colors = legend_of(legend)
    shapes, kind = _uniform(gdf.geometry.to_numpy())
    style = complete_legend(colors, names) if colors else Legend.made_up(names or (0,), names)
    crs = gdf.crs.to_wkt() if gdf.crs else None
    about = Layer(name=layer, crs=crs, legend=lambda: style, geometry_type=kind)
    geometry = pa.array(shapely.to_wkb(shapes, byte_order=1), pa.binary())
    target = Path(path)
    check_geopackage_name(target)
    with claim(target, overwrite=overwrite) as claimed:
        base = kept_beside(target, [layer])
        finished = claimed.prepare()
        write_tables(finished, [(table_batches(attributes.append_column(GEOMETRY, geometry)), about)], base)
        if base is not None:
            base.check_unchanged()
        claimed.commit(finished)
    return target


def _uniform(geometry: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.object_], str]:
    """Convert geometries to one type and return that type: with any multipolygon, all become multipolygons."""
    import shapely

    if missing := int((shapely.is_missing(geometry) | shapely.is_empty(geometry)).sum()):
        raise OptionError(
            f"the frame has {plural(missing, 'row')} without a polygon, expected one in each; keep the others with "
            "gdf[~(gdf.geometry.is_empty | gdf.geometry.isna())]"
        )
    kinds = set(shapely.get_type_id(geometry).tolist())
    if kinds <= {shapely.GeometryType.POLYGON}:
        return geometry, "Polygon"
    if not kinds <= {shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}:
        raise OptionError("the frame holds geometries other than polygons; drop them or use gdf.to_file")
    parts, owner = shapely.get_parts(geometry, return_index=True)
    return shapely.multipolygons(parts, indices=owner), "MultiPolygon"
