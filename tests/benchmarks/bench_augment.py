"""Cost of each change of `Augment`, and of all together, beside a training step on the same batch.

Run: ``python tests/benchmarks/bench_augment.py [--device auto] [--precision bf16] [--rounds 20] [--threads N]``

The step is forward, loss, backward and AdamW of a U-Net with a ResNet34 encoder, seven classes and channels_last
on 8 chips of 256 x 256 px, of 3 and of 10 bands. Every change is timed alone, at a strength at which training
would use it, in turns with the step; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from geoseg.learning.augment import Augment
from geoseg.learning.losses import Loss

STRENGTH = {
    "symmetries": "all", "rotate": 15.0, "scale": 0.25, "crop": 0.2, "brightness": 0.2, "contrast": 0.2,
    "gamma": 0.2, "per_band": 0.5, "noise": 0.05, "shift": 1.0, "blur": 1.0, "cutout": 0.1,
}  # fmt: skip
OFF = {"symmetries": "none"}
CLASSES = 7


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started)


def training_step(
    image: torch.Tensor, mask: torch.Tensor, precision: torch.dtype | None
) -> Callable[[], object]:
    network = build(image.shape[1]).to(image.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters())
    loss = Loss()
    chips = image.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(image.device.type, precision, enabled=precision is not None):
            value = loss(network(chips), mask)
        value.backward()
        optimizer.step()

    return step


def build(bands: int) -> torch.nn.Module:
    import segmentation_models_pytorch as smp

    network: torch.nn.Module = smp.Unet("resnet34", encoder_weights=None, in_channels=bands, classes=CLASSES)
    return network


def changes(image: torch.Tensor, mask: torch.Tensor, valid: torch.Tensor) -> dict[str, Callable[[], object]]:
    cases: dict[str, dict[str, Any]] = {"nothing": OFF}
    for name, value in STRENGTH.items():
        if name != "per_band":
            cases[name] = OFF | {name: value}
    cases["all but shift"] = STRENGTH | {"shift": 0.0}
    cases["all"] = STRENGTH
    return {name: partial(Augment(**fields), image, mask, valid, (0, 1, 2)) for name, fields in cases.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(automatic if arguments.device == "auto" else arguments.device)
    precision = torch.bfloat16 if arguments.precision == "bf16" else None
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    for bands in (3, 10):
        valid = torch.rand(8, 256, 256, device=device) > 0.05
        image = torch.randn(8, bands, 256, 256, device=device) * valid.unsqueeze(1)
        mask = torch.randint(0, CLASSES, valid.shape, device=device)
        works = {"training step": training_step(image, mask, precision), **changes(image, mask, valid)}
        times: dict[str, list[float]] = {name: [] for name in works}
        for i in range(arguments.rounds + 2):
            for what, work in works.items():
                spent = milliseconds(work, device)
                if i >= 2:
                    times[what].append(spent)
        step = statistics.median(times["training step"])
        print(f"8 x {bands} x 256 x 256, {arguments.precision}, {name}, median of {arguments.rounds}")
        for what, spent_all in times.items():
            middle = statistics.median(spent_all)
            print(f"  {what:<14} {middle:9.2f} ms  {100 * middle / step:6.1f} %")


if __name__ == "__main__":
    main()
