"""Speed beside geoai and Raster Vision: the same weights, scene, tile, overlap, batch and precision, in turns.

Run by ``make bench-peers``, which makes the peers' environments; or
``python tests/peers/bench_peers.py --geoai PYTHON --rastervision PYTHON [--size 2048] [--rounds 5]``.

Everybody predicts in a process of its own that loads the network, then reports the seconds from the scene's
file to the finished class map, so that imports count for nobody; once more before it counts. geoai and Raster
Vision compute in fp32 and have no choice; geoseg runs once so, once as it would by itself, once in int8, and once in
int8 with another network, the one that its trainings begin with: an EfficientNet-Lite0 with a light decoder, which is
what a user would use and is not the same weights. All are compiled before it counts, as for the second of many scenes.
A peer that does not run is reported with its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import geoseg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from prediction import make_model, make_scene, spread  # noqa: E402

LITE = "tu-tf_efficientnet_lite0"


def seconds_of(peer: tuple[str, ...], work: Path, arguments: argparse.Namespace) -> list[float] | str:
    """Run a peer once: the seconds of each of its repetitions, or why it did not run."""
    python, script, *more = peer
    sizes = (arguments.tile, arguments.tile // 8, arguments.batch)
    command = [python, str(HERE / script), str(work), *map(str, sizes), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=arguments.timeout, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = run.stdout.strip().splitlines()
    try:
        return [float(value) for value in json.loads(lines[-1])["seconds"]]
    except (IndexError, ValueError, KeyError, TypeError):
        return (run.stderr.strip().splitlines() or lines or ["no output"])[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geoai", metavar="PYTHON", default=".venv-geoai/bin/python")
    parser.add_argument("--rastervision", metavar="PYTHON", default=".venv-rastervision/bin/python")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one run of one peer")
    arguments = parser.parse_args()
    peers = {
        "geoseg fp32": (sys.executable, "peer_geoseg.py", "fp32", "model.safetensors"),
        "geoseg auto": (sys.executable, "peer_geoseg.py", "auto", "model.safetensors"),
        "geoseg int8": (sys.executable, "peer_geoseg.py", "int8", "int8.safetensors"),
        "lite0 int8": (sys.executable, "peer_geoseg.py", "int8", "lite0.safetensors"),
        "geoai": (arguments.geoai, "peer_geoai.py"),
        "Raster Vision": (arguments.rastervision, "peer_rastervision.py"),
    }
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.size}² px of 3 bytes, U-Net "
        f"ResNet34, 7 classes, tile {arguments.tile}, overlap {arguments.tile // 8}, batch {arguments.batch}"
    )
    found: dict[str, list[float]] = {name: [] for name in peers}
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        make_scene(work / "scene.tif", arguments.size, "rgb")
        model = make_model("rgb", arguments.tile)
        model.save(work / "model.safetensors")
        torch.save(model.network.state_dict(), work / "weights.pth")
        for name, network in (("int8", model), ("lite0", make_model("rgb", arguments.tile, LITE))):
            geoseg.quantize(network, [work / "scene.tif"], tiles=2).save(work / f"{name}.safetensors")
        for _ in range(arguments.rounds):
            for name, peer in peers.items():
                if name in reasons:
                    continue
                told = seconds_of(peer, work, arguments)
                if isinstance(told, str):
                    reasons[name] = told
                else:
                    found[name] += told
    pixels = arguments.size**2 / 1e6
    ours = statistics.median(found["geoseg fp32"] or [float("nan")])
    for name, seconds in found.items():
        if name in reasons or not seconds:
            print(f"{name:<14} did not run: {reasons.get(name, 'no result')}")
            continue
        rates = [pixels / value for value in seconds]
        print(
            f"{name:<14} {spread(rates, '.3f')} million px/s; geoseg fp32 is "
            f"{statistics.median(seconds) / ours:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
