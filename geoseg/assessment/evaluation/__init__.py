"""How good a class map is, from labels of the same ground."""
