"""Vector files: writing GeoPackages that QGIS opens styled, and other formats; reading files from anywhere."""
