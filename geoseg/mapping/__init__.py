"""One map of many scenes: ground owned once, computed cell by cell, here or on dask.distributed."""
