"""Seconds that many polygons of two UTM zones take to become one coverage in longitude and latitude.

Run it as a script::

    python tests/benchmarks/bench_borders.py [--edge 3000] [--grain 6]

Each zone is a map of so many pixels a side, in blocks of `grain` px of eight classes, and owns a staircase of ground.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from geoseg.mapping.borders import ZonePolygons, one_coverage
from geoseg.mapping.territory import Territory
from tests.mapping.zones import LONLAT, UTM32, UTM33, around, polygonized, seen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edge", type=int, default=3000, help="pixels of 10 m of the ground's edge")
    parser.add_argument("--grain", type=int, default=5, help="pixels of a block")
    options = parser.parse_args()
    step, rows = 0.05, max(1, round(options.edge * 10 / 111e3 / 0.05))
    owner = {
        (240 + gx, 960 + gy): int(gx >= gy % 2)
        for gx in range(-rows // 2, rows // 2 + 1)
        for gy in range(rows)
    }
    territory = Territory(crs=LONLAT, dx=step, dy=step, owner=owner)
    block = options.grain * 10 / 111e3
    noise = np.random.default_rng(0).integers(1, 9, (1000, 1000), dtype=np.uint8)
    zones = []
    for zone, crs in enumerate((UTM32, UTM33)):
        grid = around(crs, territory, zone, 10.0)
        codes, valid = seen(
            grid,
            territory,
            zone,
            lambda x, y: noise[(y // block).astype(int) % 1000, (x // block).astype(int) % 1000],
        )
        zones.append(ZonePolygons(grid=grid, parts=polygonized(grid, codes, valid, rows=512)))
    given = sum(len(part) for zone in zones for part in zone.parts)
    list(
        one_coverage(
            [ZonePolygons(grid=z.grid, parts=[p[:1] for p in z.parts[:1]]) for z in zones], territory
        )
    )
    start = time.perf_counter()
    found = list(one_coverage(zones, territory))
    seconds = time.perf_counter() - start
    parts = sum(len(zone.parts) for zone in zones)
    borders = sum(map(len, found[parts:]))
    print(
        f"{given:,} polygons of two zones, {sum(map(len, found)):,} in the map, {borders:,} of them at borders: "
        f"{seconds:.1f} s, {given / seconds:,.0f} polygons/s"
    )


if __name__ == "__main__":
    main()
