"""From class maps to polygons: regions, boundary tracing, simplification and smoothing, WKB."""
