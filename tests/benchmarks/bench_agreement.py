"""What other precisions, compiling and the 8 symmetries change of a map, and how sure the model was there.

Run: ``python tests/benchmarks/bench_agreement.py [--device auto] [--compile] [--tile 256]``

The demo's model on the demo's two Sentinel-2 scenes, each against the network as it was built, in fp32: the share of
valid pixels with another class, and the confidence that these pixels had beside that of all. Pixels that change
should be those that could have gone either way. Where a scene has labels, the accuracy of each is said too.
"fp32" is as the engine computes it: on CPUs by OpenVINO. int8 is measured on tiles of the first scene.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch

import geoseg
from geoseg.demo.scenes import BANDS, MODEL, SCENES, data_file
from geoseg.engine.devices import choose_device
from geoseg.engine.quantized import check_int8
from geoseg.errors import OptionError
from geoseg.inference.options import PredictOptions
from geoseg.models.model import Model
from geoseg.raster.classmap import read_class_map

Maps = list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]


def predicted(model: Model, options: PredictOptions) -> Maps:
    found = []
    for scene in SCENES:
        result = geoseg.predict(scene.image, model, options=options)
        found.append((result["landcover"].to_numpy(), result["confidence"].to_numpy()))
    return found


def accuracy(maps: Maps) -> float:
    """Share of labelled pixels with the label's class."""
    right = labelled = 0
    for scene, (codes, _) in zip(SCENES, maps, strict=True):
        labels = read_class_map(scene.labels)
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
    model = Model.open(data_file(MODEL))
    plain = PredictOptions(
        device=arguments.device, precision="fp32", tile_size=arguments.tile, overlap=arguments.tile // 4,
        bands=tuple(BANDS[name] for name in model.card.band_names),
    )  # fmt: skip
    others = {
        "fp32": plain,
        "bf16": replace(plain, precision="bf16"),
        "fp16": replace(plain, precision="fp16"),
        "tta": replace(plain, tta=True),
    }
    try:
        check_int8(choose_device(arguments.device))
        model = geoseg.quantize(model, [SCENES[0].image], options=plain)
        others["int8"] = replace(plain, precision="int8")
    except OptionError as error:
        print(error)
    if arguments.compile:
        others["compile"] = replace(plain, compile=True)
    with (
        mock.patch("geoseg.engine.network.folded", torch.nn.Module.eval),
        mock.patch("geoseg.inference.assemble.with_runtime", lambda settings, *_: settings),
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
