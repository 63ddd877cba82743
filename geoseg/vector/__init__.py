"""The verbs vectorize, rasterize and write: class maps to polygons and back."""
