"""geoseg's part of `bench_peers.py`: ``python peer_geoseg.py FOLDER TILE OVERLAP BATCH PRECISION MODEL``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import geoseg


def main() -> None:
    folder, tile, overlap, batch = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    precision, name = sys.argv[5:]
    options = {
        "precision": precision,
        "tile_size": tile,
        "overlap": overlap,
        "batch_size": None if precision == "auto" else batch,
    }
    model, seconds = geoseg.Model.open(folder / name), []
    for _ in range(2):
        started = time.perf_counter()
        geoseg.predict(
            folder / "scene.tif", model, **options, output=folder / "geoseg.tif",
            overwrite=True, resume=False,
        )  # fmt: skip
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
