"""Labels in all supported forms: rasters of codes, colour-coded pictures, masks, polygons, run lengths."""
