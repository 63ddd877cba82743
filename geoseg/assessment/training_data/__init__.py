"""Checks of training data: what it holds, and what is wrong with it."""
