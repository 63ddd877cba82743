"""A path through a network on which every pixel keeps its own values."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn

_NAME: Final = "pixel_path"
FIRST_LAYER: Final = f"{_NAME}.layers.0.weight"
"""Name of the weights that take the bands, (features, band, 1, 1)."""


class PixelPath(nn.Module):
    """Classifies pixels by their own bands, almost without their neighbours.

    Two 1 x 1 convolutions with batch normalisation and ReLU, then a 3 x 3 convolution to logits. Encoders halve
    the resolution in their first layer, so their finest features have half the image's rows and columns, and
    what a single pixel's bands say is lost: on satellite images, whose objects are a few pixels large, that is
    often what tells classes apart.

    Parameters
    ----------
    bands : int
        Bands of the image.
    features : int
        Features of each of the two layers.
    channels : int
        Number of logits of each pixel.
    """

    def __init__(self, bands: int, features: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(bands, features, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, channels, 3, padding=1, bias=False),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, band, row, col) to logits (n, channel, row, col)."""
        logits: Tensor = self.layers(image)
        return logits


def add_pixel_path(network: nn.Module, *, bands: int, features: int, channels: int) -> None:
    """Add the logits of a `PixelPath` to those of a network, in place.

    The network keeps its class and the names of its weights; those of the path begin with ``pixel_path.``.

    Parameters
    ----------
    network : Module
        Maps (n, band, row, col) to logits (n, channel, row, col) of the same rows and columns.
    bands, features, channels : int
        See `PixelPath`.
    """
    network.add_module(_NAME, PixelPath(bands, features, channels))
    network.register_forward_hook(_with_pixels)


def _with_pixels(network: nn.Module, given: tuple[Any, ...], logits: Tensor) -> Tensor:
    """Add the logits of the path. A function of the module's, so that a network can be copied and pickled."""
    added: Tensor = getattr(network, _NAME)(given[0])
    return logits + added
