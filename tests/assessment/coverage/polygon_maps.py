"""Polygon maps of several makers, and what a check of them counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
import shapely.affinity
from affine import Affine
from pyproj import CRS
from scipy.ndimage import gaussian_filter

import geoseg
from geoseg.assessment.coverage.quality import PolygonQuality
from geoseg.grid.grid import Grid
from geoseg.raster.classmap import ClassMap

UTM = CRS.from_epsg(32633).to_wkt()
PLACE = Affine(10, 0, 332740, 0, -10, 5437710)


def landscape(edge: int = 60, sigma: float = 2.0, classes: int = 4, seed: int = 3) -> npt.NDArray[np.uint8]:
    """Classes of smoothed noise."""
    random = np.random.default_rng(seed)
    fields = [gaussian_filter(random.standard_normal((edge, edge)), sigma) for _ in range(classes)]
    return (np.argmax(fields, axis=0) + 1).astype(np.uint8)


def class_map(
    codes: npt.NDArray[np.uint8], transform: Affine = PLACE, crs: str | None = UTM, valid: Any = None
) -> ClassMap:
    grid = Grid(height=codes.shape[0], width=codes.shape[1], transform=transform, crs=crs)
    valid = np.ones(codes.shape, np.bool_) if valid is None else valid
    return ClassMap(codes=codes, valid=valid, grid=grid, legend=None)


def gdal_polygons(codes: npt.NDArray[np.uint8], transform: Affine = PLACE) -> gpd.GeoDataFrame:
    """What gdal_polygonize makes of a map."""
    found = list(rasterio.features.shapes(codes, transform=transform))
    shapes = [shapely.geometry.shape(shape) for shape, _ in found]
    return gpd.GeoDataFrame({"class_code": [int(value) for _, value in found]}, geometry=shapes, crs=UTM)


def counts(quality: PolygonQuality) -> dict[str, int]:
    (layer,) = quality.layers
    return {found.check.name: found.count for found in layer.found if found.count}


def checked(frame: gpd.GeoDataFrame, folder: Path, **options: Any) -> PolygonQuality:
    path = folder / "polygons.gpkg"
    frame.to_file(path, layer="polygons")
    return geoseg.check(path, **options)


GRIDS = {
    "UTM": (PLACE, UTM),
    "rotated": (PLACE @ Affine.rotation(31.7), UTM),
    "south up": (Affine(10, 0, 332740, 0, 10, 5437710), UTM),
    "degrees": (Affine(1 / 3600, 0, 14.2, 0, -1 / 3600, 48.7), CRS.from_epsg(4326).to_wkt()),
    "Web Mercator": (Affine(10, 0, 1.5e6, 0, -10, 8.2e6), CRS.from_epsg(3857).to_wkt()),
    "no CRS": (Affine(1, 0, 0, 0, -1, 60), None),
}


def sheet(rows: int = 4, cols: int = 4, edge: float = 100.0) -> gpd.GeoDataFrame:
    """Squares side by side, none beside one of its class."""
    shapes = [
        shapely.box(332000 + edge * c, 5430000 + edge * r, 332000 + edge * (c + 1), 5430000 + edge * (r + 1))
        for r in range(rows)
        for c in range(cols)
    ]
    codes = [str(1 + (r + c) % 2) for r in range(rows) for c in range(cols)]
    return gpd.GeoDataFrame({"class_code": codes}, geometry=shapes, crs=UTM)
