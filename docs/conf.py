"""How Sphinx makes the site: `make docs` writes it into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generated

import geoseg

project = "geoseg"
author = "The geoseg authors"
copyright = "The geoseg authors, Apache-2.0"  # noqa: A001 - Sphinx's name
version = release = geoseg.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
doctest_global_setup = "from geoseg import Legend, Tiling, Window"
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # a word of a docstring that is the name of two attributes

autodoc_typehints = "none"  # the docstrings say more: shape, unit, what is allowed
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "geoseg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark as the reader's screen
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}


def setup(_app: object) -> None:
    """Write the pages that are made from the code before Sphinx looks for sources."""
    generated.write_all(Path(__file__).parent)
