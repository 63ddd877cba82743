"""Chips as they might also have been: turned, mirrored, brighter, with more contrast.

Everything works on whole batches on their device and takes its randomness from one key, so that a batch is a
function of (seed, step, rank) and a continued run repeats what the first would have done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

D4 = 8
"""Number of ways to lay a square on itself."""


def turn(pixels: Tensor, element: int) -> Tensor:
    """Apply one of the 8 symmetries of the square to the last two axes; pixels move, none is changed.

    ``element % 4`` quarter turns counter-clockwise, then a left-right flip from 4 on.

    Parameters
    ----------
    pixels : Tensor, (..., row, col)
    element : int
        0 (nothing) to 7.
    """
    turned = torch.rot90(pixels, element % 4, dims=(-2, -1))
    return turned.flip(-1) if element >= 4 else turned


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """Random symmetries and, where asked, colour changes of a batch of chips.

    Parameters
    ----------
    symmetries : bool
        Whether chips are flipped and turned.
    brightness : float
        Every band of a chip is moved by up to this much, in units of the network's input.
    contrast : float
        Every band of a chip is stretched by a factor of up to ``1 + contrast`` or down to its inverse.
    per_band : float
        Share, 0 to 1, of brightness and contrast that each band draws for itself instead of all together.
    """

    symmetries: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    per_band: float = 0.0

    def __call__(
        self, image: Tensor, mask: Tensor, valid: Tensor, key: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the batch changed; invalid pixels are 0 before and after.

        Parameters
        ----------
        image : Tensor, (N, band, row, col) float32
        mask : Tensor, (N, row, col) int64
        valid : Tensor, (N, row, col) bool
        key : tuple of int
            Decides everything that is random here.
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([k % 2**64 for k in key])))
        if self.symmetries:
            elements = [int(e) for e in random.integers(D4, size=len(image))]
            image, mask, valid = (
                torch.stack([turn(part, element) for part, element in zip(whole, elements, strict=True)])
                for whole in (image, mask, valid)
            )
        if self.brightness or self.contrast:
            shift = self._draw(random, image.shape[:2]) * self.brightness
            gain = np.exp(self._draw(random, image.shape[:2]) * np.log1p(self.contrast))
            image = image * _as_planes(gain, image) + _as_planes(shift, image)
            image = image * valid.unsqueeze(1)
        return image, mask, valid

    def _draw(self, random: np.random.Generator, shape: torch.Size) -> np.ndarray[tuple[int, ...], np.dtype]:
        """Numbers of -1 to 1, (N, band)."""
        together = random.uniform(-1, 1, size=(shape[0], 1))
        alone = random.uniform(-1, 1, size=tuple(shape))
        return (1 - self.per_band) * together + self.per_band * alone


def _as_planes(numbers: np.ndarray[tuple[int, ...], np.dtype], like: Tensor) -> Tensor:
    """(N, band) numbers as (N, band, 1, 1) beside an image."""
    return torch.as_tensor(numbers, dtype=like.dtype, device=like.device)[:, :, None, None]
