"""Accuracy of a map and areas of its classes, from a probability sample of its pixels."""
