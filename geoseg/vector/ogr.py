"""pyogrio, imported without geopandas, pandas and shapely.

pyogrio imports them where they are installed, to know their versions: half a second that most commands have no use
for. What reads or writes a GeoDataFrame by it finds them all the same: it imports what it needs when it is called. Its
errors are RuntimeErrors, one and all.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from geoseg.storage.stand_in import StandIn, standing_in


def _stand_in(name: str) -> StandIn:
    """Return what answers for a package that is asked for its version."""
    module = StandIn(name)
    module.__version__ = version(name)  # type: ignore[attr-defined]
    return module


try:
    _UNUSED = [_stand_in(name) for name in ("shapely", "pandas", "geopandas")]
except PackageNotFoundError:  # pyogrio does without
    _UNUSED = []

with standing_in(*_UNUSED):
    import pyogrio
    import pyogrio.raw

__all__ = ["pyogrio"]
