"""geoseg with the precision and batch size it chooses by itself: see `peer_geoseg.py`."""

from __future__ import annotations

from peer_geoseg import run

if __name__ == "__main__":
    run("auto")
