"""A model over a scene: bands of tiles, stitched on the device, journalled, written as products."""
