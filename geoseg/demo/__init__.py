"""A demo: a labelled scene and a small model that come with the package."""
