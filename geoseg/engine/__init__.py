"""Run a network over a scene: read strips of tile rows once, stitch their probabilities on the device.

The one way from pixels to class codes: predicting a scene and scoring a model in training both go through it.
"""
