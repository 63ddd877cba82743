"""A network over a scene: bands of tiles, read once, stitched on the device.

The one way from pixels to class codes: predicting a scene and scoring a model in training both go through it.
"""
