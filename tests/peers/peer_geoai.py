"""geoai's part of `bench_peers.py`: ``python peer_geoai.py FOLDER TILE OVERLAP BATCH``, where geoai is installed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import geoai


def main() -> None:
    folder, tile, overlap, batch = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        geoai.semantic_segmentation(
            str(folder / "scene.tif"), str(folder / "geoai.tif"), str(folder / "weights.pth"), architecture="unet",
            encoder_name="resnet34", num_channels=3, num_classes=7, window_size=tile, overlap=overlap,
            batch_size=batch,
        )  # fmt: skip
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
