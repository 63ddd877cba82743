"""Speed of `predict` against the bare model: the same tiles, batch, precision and threads, in turns.

Run: ``python tests/benchmarks/bench_predict.py [--size 8192] [--device auto] [--precision int8]``

Two scenes of smoothed noise, tiled deflate GeoTIFFs: 3 bands of uint8 and 10 of uint16; the model is an
untrained U-Net with a ResNet34 encoder and 7 classes. "engine" is everything from the opened file to stored,
verified bands of rows; "bare model" is ``model(x)`` on batches that lie ready on the device, "own network" what the
engine makes of it, which computes the same with fewer operations. After every band both have a turn of their
own, half as many batches: a machine that is slower for a while is slower for all. Against its own network a ratio of
1 means that reading, stitching and storing cost nothing. Where the rest goes is what ``--profile`` says. With
``--precision int8`` the bare model is that in fp32.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from prediction import KINDS, Subject, case, spread

from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import Writing, predict
from geoseg.inference.summary import profile_line
from geoseg.models.model import Model


def compare(kind: str, arguments: argparse.Namespace, scratch: Path) -> None:
    scene, model, options = case(kind, arguments, scratch)
    subject = Subject.of(scene, model, options)
    settings = subject.settings
    print(
        f"== {kind}: {len(subject.job.card.bands)} bands of {subject.job.source.dtype}, {arguments.size}² px, tile "
        f"{arguments.tile}, overlap {arguments.tile // 8}, batch {settings.batch_size}, {settings.device} "
        f"{settings.precision}, torch threads {torch.get_num_threads()}"
    )
    networks = {"bare model": subject.bare(), "own network": subject.own()}
    for network in networks.values():
        network.seconds(1)
    turns: dict[str, list[float]] = {name: [] for name in ("engine", *networks)}

    def alone(seconds: float, calls: int) -> None:
        if not calls:  # the last band was worked on before the one above it was handed over
            return
        few = -(-calls // 2)
        turns["engine"].append(seconds / calls)
        for name, network in networks.items():
            turns[name].append(network.seconds(few, warm=True) / few)

    done = subject.engine(scratch / kind, alone, profile=True)
    assert done.profile is not None
    for name, values in turns.items():
        rates = [subject.megapixels / (seconds * subject.batches) for seconds in values]
        print(f"{name:<11} {spread(values, '.3f')} s a batch, {spread(rates, '.3f')} million scene px/s")
    for name in networks:
        ratios = [theirs / ours for ours, theirs in zip(turns["engine"], turns[name], strict=True)]
        print(
            f"engine against {name}: {sum(turns[name]) / sum(turns['engine']):.3f} in all; {len(ratios)} turns: "
            f"{spread(ratios, '.3f')}"
        )
    print(profile_line(done.profile, done.seconds))
    if arguments.map:
        finished(scene, model, options, scratch)


def finished(scene: Path, model: Model, options: PredictOptions, scratch: Path) -> None:
    """The whole job, up to the map."""
    started = time.perf_counter()
    predict(scene, model, options=options, output=scratch / "map.tif", writing=Writing(overwrite=True))
    print(f"with the finished map: {time.perf_counter() - started:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--map", action="store_true", help="the whole job up to the map, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in arguments.kinds:
            compare(kind, arguments, Path(scratch))


if __name__ == "__main__":
    main()
