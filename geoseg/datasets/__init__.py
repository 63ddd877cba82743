"""Labelled images for training: configuration, checks, splits and samplers."""
