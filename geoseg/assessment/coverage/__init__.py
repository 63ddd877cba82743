"""Quality of polygon maps: one coverage without gaps and overlaps, of polygons that are large and wide enough."""
