"""Land cover from georeferenced rasters: scenes in, styled land-cover polygons out."""
