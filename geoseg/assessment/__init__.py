"""Assess results, and describe files."""
