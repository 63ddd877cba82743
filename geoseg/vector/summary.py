"""What a vectorization gave: polygons and areas per class, and what would help against specks."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.vector.features import Features

SPECK = 4
"""A region of at most so many pixels is a speck: finer than land cover can be mapped at this resolution."""


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


def hints(features: Features) -> list[str]:
    """Lines for a person: how many polygons came out, and what would help where that is a worry."""
    lines = [f"{len(features):,} polygons"]
    if not len(features):
        lines.append("no polygon: every pixel is no data, so the layer is empty")
    if features.crs is None:
        lines.append("no CRS: coordinates are as in the raster, areas on the ground are unknown")
    share = speck_share(features)
    if share > 0.5:
        lines.append(
            f"{share:.0%} of the polygons are specks of {SPECK} pixels or fewer; a larger --overlap or a "
            "better model calms the map, and gdal_sieve.py merges specks of a class map into their neighbours"
        )
    return lines
