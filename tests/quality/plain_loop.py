"""A training as one would write it in an evening: what geoseg's own has to be better than.

The same network with the same first weights, chips of the same size, as many steps. Chips are cut around labelled
pixels and turned by any angle, zoomed by 0.75 to 1.35, made lighter and darker; AdamW at one rate with a one-cycle
schedule; cross entropy (of a binary task with Dice); the last weights count.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from pixels import Picture
from torch import Tensor, nn
from torch.nn import functional

from geoseg.datasets.dataset import IGNORED


def train_plainly(
    network: nn.Module,
    pictures: list[Picture],
    *,
    steps: int,
    batch: int,
    chip: int,
    rate: float,
    seed: int,
    bf16: bool,
    device: str = "cpu",
) -> nn.Module:
    """Train a network in place.

    Parameters
    ----------
    network : Module
        (n, band, row, col) to logits (n, channel, row, col); one channel of a binary task.
    pictures : list of Picture
    steps, batch, chip : int
        Steps, chips a step, edge of a chip in px.
    rate : float
        Largest learning rate.
    seed : int
    bf16 : bool
        Whether the network is computed in bf16, as geoseg does by itself where a CPU has instructions for it.
    device : str
        Where it is computed; chips are cut on the CPU.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    labelled = [np.argwhere(each.mask >= 0) for each in pictures]
    usable = [i for i, found in enumerate(labelled) if len(found)]
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    for _ in range(steps):
        chips = [
            _chip(pictures[i], labelled[i], chip, generator) for i in generator.choice(usable, size=batch)
        ]
        image, mask = (torch.stack(parts).to(device) for parts in zip(*chips, strict=True))
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            logits = network(image)
        loss = _loss(logits.float(), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _chip(
    picture: Picture, labelled: np.ndarray, size: int, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cut a chip out of an image, turned and zoomed about a point near a labelled pixel."""
    rows, cols = picture.mask.shape
    centre = labelled[generator.integers(len(labelled))] + generator.uniform(-size / 4, size / 4, 2)
    angle = generator.uniform(0, 2 * math.pi)
    zoom = size / 2 * math.exp(generator.uniform(math.log(0.75), math.log(1.35)))
    flip = generator.choice([-1.0, 1.0])
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    # From the chip's -1 to 1 to the image's.
    matrix = torch.tensor(
        [
            [2 * flip * cos / cols, -2 * sin / cols, (2 * centre[1] + 1) / cols - 1],
            [2 * flip * sin / rows, 2 * cos / rows, (2 * centre[0] + 1) / rows - 1],
        ],
        dtype=torch.float32,
    )
    grid = functional.affine_grid(matrix[None], [1, 1, size, size], align_corners=False)
    image = functional.grid_sample(torch.from_numpy(picture.image)[None], grid, align_corners=False)[0]
    known = torch.from_numpy((picture.mask + 1).clip(min=0).astype(np.float32))[None, None]
    mask = functional.grid_sample(known, grid, mode="nearest", align_corners=False)[0, 0].long() - 1
    light, contrast = generator.uniform(-0.3, 0.3), generator.uniform(0.7, 1.3)
    return image * contrast + light, torch.where(mask < 0, IGNORED, mask)


def _loss(logits: Tensor, mask: Tensor) -> Tensor:
    if logits.shape[1] > 1:
        return functional.cross_entropy(logits, mask, ignore_index=IGNORED)
    counts = mask >= 0
    score, truth = logits[:, 0][counts], mask[counts].float()
    share = score.sigmoid()
    dice = 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)
    return functional.binary_cross_entropy_with_logits(score, truth) + dice
