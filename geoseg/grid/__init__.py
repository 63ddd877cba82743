"""Integers and their one bridge to the world: windows, tilings, grids, legends.

Nothing here reads a file.
"""
