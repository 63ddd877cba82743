"""Model files: a network, its card, and whether a scene is what it was made for."""
