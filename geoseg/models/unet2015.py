"""The U-Net as it was published, with padded convolutions so that the output has the input's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER: Final = "published"
"""Name of its contracting path, in place of an encoder's name."""
WIDTHS: Final = (64, 128, 256, 512, 1024)


class Unet2015(nn.Module):
    """U-Net of Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation"
    (MICCAI 2015, arXiv:1505.04597).

    Two 3 x 3 convolutions with ReLU at each scale, 2 x 2 maximum pooling downwards, a 2 x 2 transposed
    convolution upwards, concatenated with the features of the same scale; dropout at the end of the
    contracting path; weights drawn with variance 2 / N for N incoming connections; no batch normalisation.

    One thing differs: convolutions in the paper are not padded, so that 572 px became 388. Here they are padded
    with zeros, and images whose edges are not multiples of the deepest scale's pixel are padded by edge
    replication and cropped again.

    Parameters
    ----------
    in_channels : int
        Bands.
    classes : int
        Number of output channels.
    decoder_channels : sequence of int
        Number of features at each scale, finest first; those of the paper by default.
    decoder_dropout : float
        Share of the deepest features that is dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        decoder_channels: Sequence[int] = WIDTHS,
        decoder_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = list(decoder_channels)
        if not widths or any(not isinstance(w, int) or w < 1 for w in widths):
            raise ValueError(f"decoder_channels is {widths}, expected numbers of features, finest first")
        self._step = 2 ** (len(widths) - 1)
        self.encoder = _Contracting(in_channels, widths, decoder_dropout)
        self.decoder = _Expanding(widths)
        self.segmentation_head = nn.Conv2d(widths[0], classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                _draw(module)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, band, row, col) to logits (N, channel, row, col), for any number of rows and columns."""
        rows, cols = image.shape[-2:]
        below, right = -rows % self._step, -cols % self._step
        if below or right:
            image = functional.pad(image, (0, right, 0, below), mode="replicate")
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(image)))
        return logits[..., :rows, :cols]


class _Contracting(nn.Module):
    """The contracting path; returns the features of every scale, finest first."""

    def __init__(self, bands: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_twice(before, width) for before, width in pairwise([bands, *widths]))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for number, scale in enumerate(self.scales):
            features = scale(functional.max_pool2d(features, 2) if number else features)
            found.append(features)
        found[-1] = self.dropout(found[-1])
        return found


class _Expanding(nn.Module):
    """The expanding path, from the deepest features to the finest."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        steps = [(deep, fine) for fine, deep in pairwise(widths)][::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, fine, 2, stride=2) for deep, fine in steps)
        self.scales = nn.ModuleList(_twice(2 * fine, fine) for _, fine in steps)

    def forward(self, found: list[Tensor]) -> Tensor:
        *beside, features = found
        for up, scale, same in zip(self.up, self.scales, reversed(beside), strict=True):
            features = scale(torch.cat([same, up(features)], dim=1))
        return features


def _twice(before: int, width: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions, each with a ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _draw(module: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Draw weights with variance 2 / N, for N inputs of each output value."""
    rows, cols = module.kernel_size
    # In a transposed convolution whose stride is its kernel size, each output has one input per channel.
    incoming = module.in_channels * (1 if isinstance(module, nn.ConvTranspose2d) else rows * cols)
    nn.init.normal_(module.weight, std=math.sqrt(2 / incoming))
    assert module.bias is not None
    nn.init.zeros_(module.bias)
