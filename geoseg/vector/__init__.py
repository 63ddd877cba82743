"""Class maps to polygons: regions, rings, well-known binary, GeoPackages."""

from geoseg.vector.kernel_cache import find_place as _find_place

_find_place()
