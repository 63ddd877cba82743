"""Labelled images for training: described, checked, split, sampled."""
