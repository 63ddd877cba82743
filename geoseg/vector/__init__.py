"""Class maps to polygons: regions, rings, well-known binary, GeoPackages."""
