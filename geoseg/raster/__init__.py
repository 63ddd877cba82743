"""Raster files: reading scenes, and reading and writing class maps."""
