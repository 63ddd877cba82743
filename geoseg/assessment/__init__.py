"""How good a result is, and what a file is."""
