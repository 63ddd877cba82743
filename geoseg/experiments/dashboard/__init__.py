"""The page of a sweep: what mattered, seed by seed, as one self-contained HTML file.

Its charts are drawn by Vega-Lite (BSD-3-Clause), which vl-convert-python, of the same people, carries whole and
bundles without a network: 0.9 MB in the page. Plotly's script alone is 4.8 MB, nearly all that a page may weigh;
Bokeh, about as small as Vega, draws on a canvas, whose dots and lines neither a screen reader nor a test finds.
Vega draws SVG whose parts have names, takes rows and signals from the page's own filters, and its interpreter
runs expressions without ``eval``, which the page's content policy forbids. Table, numbers and comparison are plain
HTML, and stay without the library.
"""

from __future__ import annotations

from geoseg.experiments.dashboard.page import write_dashboard

__all__ = ["write_dashboard"]
