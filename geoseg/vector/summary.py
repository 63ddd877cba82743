"""What a vectorization gave: polygons and areas per class, and what would help against specks."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.vector.features import Features

SPECK = 4
"""A region of at most so many pixels is a speck: finer than land cover can be mapped at this resolution."""

_MANY_CLASSES = 256
_MANY_POLYGONS = 100


def class_rows(features: Features) -> list[dict[str, Any]]:
    """One row per class that occurs: code, name, pixels, area_m2 (None where unknown), polygons."""
    rows = []
    for c in features.legend.classes:
        chosen = features.class_code == c.code
        if chosen.any():
            area = float(features.area_m2[chosen].sum())
            rows.append(
                {
                    "code": c.code,
                    "name": c.name,
                    "pixels": int(features.pixels[chosen].sum()),
                    "area_m2": None if np.isnan(area) else area,
                    "polygons": int(chosen.sum()),
                }
            )
    return rows


def speck_share(features: Features) -> float:
    """Share of the polygons that are specks, 0 to 1."""
    return float(np.mean(features.pixels <= SPECK)) if len(features) else 0.0


def hints(features: Features, *, predicted: bool = True) -> list[str]:
    """Lines for a person: how many polygons came out, and what would help where that is a worry.

    Parameters
    ----------
    features : Features
    predicted : bool
        Whether a model made the map just now; else it is a map from anywhere.
    """
    lines = ["1 polygon" if len(features) == 1 else f"{len(features):,} polygons"]
    if not len(features):
        lines.append("no polygon: every pixel is no data, so the layer is empty")
    if features.crs is None:
        lines.append("no CRS: coordinates are as in the raster, areas on the ground are unknown")
    classes = len(np.unique(features.class_code))
    share = speck_share(features)
    if classes > _MANY_CLASSES:
        lines.append(
            f"{classes:,} classes: is it a class map? Numbers that measure something, such as heights, "
            "are to be put into classes first"
        )
    elif share > 0.5 and len(features) >= _MANY_POLYGONS:
        calm = "a larger --overlap or a better model calms the map, and " if predicted else ""
        lines.append(
            f"{share:.0%} of the polygons are specks of {SPECK} pixels or fewer; {calm}gdal_sieve.py merges "
            "specks of a class map into their neighbours"
        )
    return lines
