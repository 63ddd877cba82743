"""Run a model over scenes: strips of tiles are stitched on the device, journalled, and written as products."""
