"""The library that draws the page's charts: Vega-Lite, as the package vl-convert-python carries it."""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib.util import find_spec

_log = logging.getLogger(__name__)
MISSING = "the charts of a sweep's page need the package vl-convert-python: pip install 'geoseg[dashboard]'"


def drawing_library() -> str | None:
    """Return the script that defines ``vegaEmbed``; None, said in one line, if the package is not installed."""
    if find_spec("vl_convert") is None:
        _log.warning("%s; the page is written without them", MISSING)
        return None
    return _bundle()


@lru_cache(maxsize=1)
def _bundle() -> str:
    import vl_convert

    # Bundling takes 3 s, and a sweep writes its page after every trial.
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")
