"""pyogrio, imported without geopandas, pandas and shapely.

pyogrio imports them only to check their versions, which takes half a second that most commands do not need. Functions
that read or write a GeoDataFrame still work, because they import what they need when called. All errors of pyogrio are
RuntimeErrors.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from geoseg.storage.stand_in import StandIn, standing_in


def _stand_in(name: str) -> StandIn:
    """Return a stand-in for a package that is only asked for its version."""
    module = StandIn(name)
    module.__version__ = version(name)  # type: ignore[attr-defined]
    return module


try:
    _UNUSED = [_stand_in(name) for name in ("shapely", "pandas", "geopandas")]
except PackageNotFoundError:  # they are optional for pyogrio
    _UNUSED = []

with standing_in(*_UNUSED):
    import pyogrio
    import pyogrio.raw

__all__ = ["pyogrio"]
