"""Speed of `predict` against the bare model: the same tiles, batch, precision and threads, in turns.

Run: ``python tests/benchmarks/bench_predict.py [--size 8192] [--precision int8] [--encoder tu-tf_efficientnet_lite0]``

Two scenes of smoothed noise, tiled deflate GeoTIFFs: 3 bands of uint8 and 10 of uint16; the model is an
untrained U-Net of 7 classes. "engine" is everything from the opened file to stored, verified strips; "bare
model" is torch's ``model(x)`` on batches that lie ready on the device, "own network" what the engine has computed: on a
CPU OpenVINO's graph of the same weights on tiles that lie ready, else the network folded. They run whole scenes in
turns. Against its own network a ratio of 1 means that reading, stitching and storing cost nothing. Where the rest goes
is what ``--profile`` says. With ``--precision int8`` the bare model is that in fp32; an encoder with "lite" in its name
has a light decoder.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from prediction import KINDS, Subject, case, rates

from geoseg.inference.predict import predict
from geoseg.models.model import Model


def compare(kind: str, arguments: argparse.Namespace, scratch: Path) -> None:
    scene, model, options = case(kind, arguments, scratch)
    subject = Subject.of(scene, model, options)
    settings = subject.settings
    print(
        f"== {kind}: {len(subject.job.card.bands)} bands of {subject.job.source.dtype}, {arguments.size}² px, tile "
        f"{arguments.tile}, overlap {arguments.tile // 8}, batch {settings.batch_size}, {arguments.encoder}, "
        f"{settings.device} {settings.precision} by {settings.runtime}, {settings.threads} threads"
    )
    rates(subject, arguments.rounds, scratch / kind, torch_too=not arguments.without_torch)
    if arguments.map:
        finished(scene, model, options, scratch)


def finished(scene: Path, model: Model, options: dict[str, Any], scratch: Path) -> None:
    """The whole job, up to the map."""
    started = time.perf_counter()
    predict(scene, model, **options, output=scratch / "map.tif", overwrite=True)
    print(f"with the finished map: {time.perf_counter() - started:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--without-torch", action="store_true", help="leave the bare model out, which is slow"
    )
    parser.add_argument("--map", action="store_true", help="the whole job up to the map, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in arguments.kinds:
            compare(kind, arguments, Path(scratch))


if __name__ == "__main__":
    main()
