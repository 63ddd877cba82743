"""A training step in bf16 with depthwise convolutions in float32 and in bf16, and one in float32; one thread.

Run: ``python tests/benchmarks/bench_depthwise.py [--encoder tu-tf_efficientnet_lite0]``

Processor seconds of a step of 8 chips of 256 px, in turns. On CPUs without instructions for bf16,
trainings are in float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import segmentation_models_pytorch as smp
import torch
from torch.nn import functional

from geoseg.learning.depthwise import depthwise_in_float32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tu-tf_efficientnet_lite0")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = smp.Unet(arguments.encoder, encoder_weights=None, decoder_channels=(128, 64, 32, 16, 16))
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters())
    image = torch.randn(8, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    truth = torch.rand(8, 1, 256, 256)

    def step(*, bf16: bool) -> float:
        begun = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = network(image)
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(logits.float(), truth).backward()
        optimizer.step()
        return time.process_time() - begun

    ways: dict[str, tuple[bool, Callable[[], AbstractContextManager[None]]]] = {
        "bf16, depthwise in float32": (True, lambda: depthwise_in_float32(network)),
        "bf16": (True, nullcontext),
        "float32": (False, nullcontext),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.rounds + 1):
        for name, (bf16, way) in ways.items():
            with way():
                took = step(bf16=bf16)
            if turn:  # the first allocates
                seconds[name].append(took)
    ours = statistics.median(seconds["bf16, depthwise in float32"])
    for name, found in seconds.items():
        print(
            f"{name:<27} {statistics.median(found):.2f} CPU s a step ({min(found):.2f} to {max(found):.2f}), "
            f"{statistics.median(found) / ours:.2f}"
        )


if __name__ == "__main__":
    main()
