"""Two labelled scenes and a small model that come with the package, and what geoseg makes of them."""
