"""Model files: a network, its card, and the check whether a scene suits it."""
