"""geoseg in int8, measured on the scene itself: see `peer_geoseg.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from peer_geoseg import run

import geoseg

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not (folder / "int8.safetensors").exists():
        model = geoseg.Model.open(folder / "model.safetensors")
        geoseg.quantize(model, [folder / "scene.tif"], tiles=2).save(folder / "int8.safetensors")
    run("int8", "int8.safetensors")
