"""pyogrio, imported without geopandas and pandas.

pyogrio imports both where they are installed, to know their versions: half a second that most commands have no use
for. What reads or writes a GeoDataFrame by it finds them all the same: it imports them when it is called. Its
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
    _FRAMES = [_stand_in("pandas"), _stand_in("geopandas")]
except PackageNotFoundError:  # pyogrio does without
    _FRAMES = []

with standing_in(*_FRAMES):
    import pyogrio
    import pyogrio.raw

__all__ = ["pyogrio"]
