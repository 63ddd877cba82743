"""What other precisions, compiling and the 8 symmetries change of a map, and how sure the model was there.

Run: ``python tests/benchmarks/bench_agreement.py [--device auto] [--compile] [--tile 256]``

A model of three bands on two Sentinel-2 patches, each against the network as it was built, in fp32: the share of
valid pixels with another class, and the confidence that these pixels had beside that of all. Pixels that change
should be those that could have gone either way. Where a scene has labels, the accuracy of each is said too.
"fp32" is as the engine computes it: on CPUs by OpenVINO. int8 is measured on tiles of the first scene.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch

import geoseg
from geoseg.engine.devices import choose_device
from geoseg.engine.quantized import check_int8
from geoseg.errors import OptionError
from geoseg.models.model import Model
from geoseg.raster.classmap import read_class_map

KOREA = Path(__file__).parents[1] / "data" / "korea"
NAMES = "202309_patchN_16", "202412_patchN_6"

Maps = list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]


def predicted(model: Model, options: dict[str, Any]) -> Maps:
    found = []
    for name in NAMES:
        result = geoseg.predict(KOREA / f"{name}.tif", model, **options)
        found.append((result["landcover"].to_numpy(), result["confidence"].to_numpy()))
    return found


def accuracy(maps: Maps) -> float:
    """Share of labelled pixels with the label's class."""
    right = labelled = 0
    for name, (codes, _) in zip(NAMES, maps, strict=True):
        labels = read_class_map(KOREA / f"{name}_labels.tif")
        counts = labels.valid & (codes != 255)
        right += int((codes == labels.codes)[counts].sum())
        labelled += int(counts.sum())
    return right / labelled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    model = Model.open(KOREA / "korea.safetensors")
    cut = {"tile_size": arguments.tile, "overlap": arguments.tile // 4, "bands": (1, 2, 3)}
    plain = {"device": arguments.device, "precision": "fp32", **cut}
    others = {
        "fp32": plain,
        "bf16": plain | {"precision": "bf16"},
        "fp16": plain | {"precision": "fp16"},
        "tta": plain | {"tta": True},
    }
    try:
        check_int8(choose_device(arguments.device))
        model = geoseg.quantize(model, [KOREA / f"{NAMES[0]}.tif"], **cut)
        others["int8"] = plain | {"precision": "int8"}
    except OptionError as error:
        print(error)
    if arguments.compile:
        others["compile"] = plain | {"compile": True}
    with (
        mock.patch("geoseg.engine.network.folded", torch.nn.Module.eval),
        mock.patch("geoseg.inference.machine.with_runtime", lambda settings, *_: settings),
    ):
        reference = predicted(model, plain)
    sure = np.concatenate([share[codes != 255] for codes, share in reference])
    print(
        f"as built: accuracy {accuracy(reference):.4f}; confidence of all pixels: median {np.median(sure):.3f}"
    )
    print(f"{'':<8} {'changed':>10} {'median':>8} {'95 %':>8} {'largest':>8} {'accuracy':>9}")
    for name, options in others.items():
        maps = predicted(model, options)
        changed = [
            share[(codes != other) & (codes != 255)]
            for (codes, share), (other, _) in zip(reference, maps, strict=True)
        ]
        found = np.concatenate(changed)
        spread = np.quantile(found, [0.5, 0.95, 1.0]) if found.size else [np.nan] * 3
        print(
            f"{name:<8} {found.size / sure.size:>10.4%} {' '.join(f'{value:>8.3f}' for value in spread)} "
            f"{accuracy(maps):>9.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
