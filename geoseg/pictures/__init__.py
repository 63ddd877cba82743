"""Predict many small pictures: masks, and run-length tables for competitions."""
