"""Windows, tilings, grids and legends: where pixels are, on the ground and in the raster, and what they mean.

Nothing here reads a file.
"""
