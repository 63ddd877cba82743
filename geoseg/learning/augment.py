"""Random augmentation of chips: geometry, light and sensor effects.

Everything works on whole batches on their device and takes its randomness from one key, so that a batch is a
function of (seed, step, rank) and a continued run repeats what the first would have done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.photometry import bend, blur, hide, noise, planes
from geoseg.learning.warping import (
    SMALLEST_SHARE,
    Frames,
    interpolate,
    look_up,
    rotation,
    shifted,
    symmetry,
)

D4: Final = 8
"""Number of symmetries of the square."""

_STREAMS: Final = ("rotate", "scale", "crop", "shift", "blur", "gamma", "noise", "cutout")
"""Changes with a random stream of their own. Append new ones at the end: the position is part of the stream."""

Key = tuple[int, ...]
Numbers = npt.NDArray[np.float64]


def turn(pixels: Tensor, element: int) -> Tensor:
    """Apply one of the 8 symmetries of the square to the last two axes; pixels move without changing value.

    ``element % 4`` quarter turns counter-clockwise, then a left-right flip from 4 on.

    Parameters
    ----------
    pixels : Tensor, (..., row, col)
        Any planes.
    element : int
        0 (nothing) to 7.
    """
    turned = torch.rot90(pixels, element % 4, dims=(-2, -1))
    return turned.flip(-1) if element >= 4 else turned


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """Random changes of a batch of chips, applied in the order of the parameters except `shift` and `blur`.

    First geometry (symmetries, rotate, scale, crop, shift, in a single resampling), then blur,
    brightness and contrast, gamma, noise, cutout.

    Laws: everything random is a function of the key and, sample by sample, of its number in the batch (that of
    brightness and contrast also of how many samples and bands there are); what the samples hold changes
    nothing. A field of 0 (symmetries: ``none``) is off: it changes no bit, costs nothing and leaves the draws
    of the others as they are. Symmetries alone move pixels exactly.

    Where anything else moves pixels, mask and valid take the nearest pixel and the image the bilinear mean of
    the valid ones; what comes from outside, or from invalid pixels, is not valid, IGNORED and 0. The other
    changes do not affect mask and valid, and leave invalid pixels 0.

    Parameters
    ----------
    symmetries : str
        ``all`` eight of the square (of a chip that is not square, the four that keep its shape),
        ``horizontal`` flips, or ``none``.
    rotate : float
        Up to this many degrees to either side, about the centre.
    scale : float
        By a factor of up to ``1 + scale`` or down to its inverse, about the centre.
    crop : float
        Up to this share of both edges is cut away, anywhere, and the rest brought back to size.
    brightness : float
        Every band of a chip is moved by up to this much, in units of the network's input (`in_units_of` changes it).
    contrast : float
        Every band of a chip is stretched by a factor of up to ``1 + contrast`` or down to its inverse.
    gamma : float
        Values are bent (`photometry.bend`) by a power of up to ``1 + gamma`` or down to its inverse.
    per_band : float
        Share, 0 to 1, of brightness and contrast that each band draws for itself instead of all together.
    noise : float
        Standard deviation of normal noise of every pixel and band.
    shift : float
        Every band is moved by up to this many px along either axis; the labels stay. A pixel is valid only
        where every band has values.
    blur : float
        Standard deviation of a Gaussian, up to this many px.
    cutout : float
        Up to this share of a chip is set to 0, a rectangle of sides up to 1 : 2 in proportion to the chip's
        (narrower where it would not fit). It stays valid and labelled: the network shall tell from around it.
    """

    symmetries: Literal["all", "horizontal", "none"] = "all"
    rotate: float = 0.0
    scale: float = 0.0
    crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    per_band: float = 0.0
    noise: float = 0.0
    shift: float = 0.0
    blur: float = 0.0
    cutout: float = 0.0

    def in_units_of(self, spread: float) -> Augment:
        """Return a copy with brightness and noise in another unit.

        Parameters
        ----------
        spread : float
            Standard deviation that is the unit of these amounts, in units of the network's input.
        """
        return replace(self, brightness=self.brightness * spread, noise=self.noise * spread)

    def __call__(self, image: Tensor, mask: Tensor, valid: Tensor, key: Key) -> tuple[Tensor, Tensor, Tensor]:
        """Return a changed copy of a batch.

        Parameters
        ----------
        image : Tensor, (N, band, row, col) float32
            Normalised; 0 where not valid, before and after.
        mask : Tensor, (N, row, col) or (N, class, row, col) int64
            Labels; IGNORED pixels stay ignored.
        valid : Tensor, (N, row, col) bool
            Valid pixels.
        key : tuple of int
            Seed of all random numbers of the batch.
        """
        random = _random(key)
        # Training steps may run in 16-bit precision, in which the convolution of a blur would round every value.
        with torch.autocast(image.device.type, enabled=False):
            elements = self._elements(random, image.shape)
            if self.rotate or self.scale or self.crop or self.shift:
                image, mask, valid = self._moved(image, mask, valid, elements, key)
            elif elements is not None:
                image, mask, valid = (_turned(part, elements) for part in (image, mask, valid))
            return self._recoloured(image, valid, random, key), mask, valid

    def _elements(self, random: np.random.Generator, shape: torch.Size) -> npt.NDArray[np.int64] | None:
        """Draw a symmetry for each sample; None if there are none."""
        if self.symmetries == "none":
            return None
        if self.symmetries == "horizontal":
            return 4 * random.integers(2, size=shape[0])
        elements = random.integers(D4, size=shape[0])
        return elements if shape[-2] == shape[-1] else elements - elements % 2

    def _moved(
        self, image: Tensor, mask: Tensor, valid: Tensor, elements: npt.NDArray[np.int64] | None, key: Key
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Resample every pixel through the sample's frame."""
        count, bands = image.shape[:2]
        if self.rotate or self.scale or self.crop:
            frames = self._frames(image.shape, elements, key)
            mask, now = look_up(mask, valid, frames)
        else:
            frames = np.tile(np.eye(2, 3), (count, 1, 1))
            if elements is not None:
                image, mask, valid = (_turned(part, elements) for part in (image, mask, valid))
            now = valid
        own = frames[:, None]
        if self.shift:
            own = shifted(frames, self.shift * _stream(key, "shift").uniform(-1, 1, size=(count, bands, 2)))
        image, share = interpolate(image, valid, own)
        if self.shift:
            now = now & (share >= SMALLEST_SHARE).all(1)
        unknown = ~(now if mask.ndim == 3 else now.unsqueeze(1))
        return image * now.unsqueeze(1), mask.masked_fill(unknown, IGNORED), now

    def _frames(self, shape: torch.Size, elements: npt.NDArray[np.int64] | None, key: Key) -> Frames:
        """Return the frame of each sample: symmetry, then rotation and scale, then crop."""
        count, edges = shape[0], np.array(shape[-2:])
        linear = rotation(self.rotate * _stream(key, "rotate").uniform(-1, 1, size=count))
        if elements is not None:
            linear = np.stack([symmetry(int(element)) for element in elements]) @ linear
        zoom = np.exp(np.log1p(self.scale) * _stream(key, "scale").uniform(-1, 1, size=count))
        linear /= zoom[:, None, None]
        cut, *corner = _stream(key, "crop").uniform(size=(count, 3)).T
        cut *= self.crop
        # Pixel centres stay between the first and the last one of the source.
        centre = cut[:, None] * (edges - 1) * (np.stack(corner, axis=1) - 0.5)
        offset = np.einsum("nij,nj->ni", linear, centre)
        return np.concatenate([linear * (1 - cut)[:, None, None], offset[:, :, None]], axis=2)

    def _recoloured(self, image: Tensor, valid: Tensor, random: np.random.Generator, key: Key) -> Tensor:
        """Apply the changes that affect only values."""
        count = len(image)
        if self.blur:
            image = blur(image, valid, _stream(key, "blur").uniform(0, self.blur, size=count), self.blur)
        if self.brightness or self.contrast:
            level = self._draw(random, image.shape[:2]) * self.brightness
            gain = np.exp(self._draw(random, image.shape[:2]) * np.log1p(self.contrast))
            image = image * planes(gain, image) + planes(level, image)
            image = image * valid.unsqueeze(1)
        if self.gamma:
            image = bend(
                image, np.exp(np.log1p(self.gamma) * _stream(key, "gamma").uniform(-1, 1, size=count))
            )
        if self.noise:
            keys = _stream(key, "noise").integers(2**32, size=(count, 2), dtype=np.uint32)
            grain = noise(tuple(image.shape), keys, image.device).mul_(self.noise)
            image = grain.mul_(valid.unsqueeze(1)).add_(image)
        if self.cutout:
            image = hide(image, self._rectangles(image.shape, key))
        return image

    def _draw(self, random: np.random.Generator, shape: torch.Size) -> Numbers:
        """Draw numbers from -1 to 1, (N, band)."""
        together = random.uniform(-1, 1, size=(shape[0], 1))
        alone = random.uniform(-1, 1, size=tuple(shape))
        return (1 - self.per_band) * together + self.per_band * alone

    def _rectangles(self, shape: torch.Size, key: Key) -> npt.NDArray[np.int64]:
        """Return first row, first column, end row and end column of the cutout of each sample, (N, 4)."""
        share, ratio, *corner = _stream(key, "cutout").uniform(size=(shape[0], 4)).T
        share, root = share * self.cutout, 2 ** (ratio - 0.5)
        # Sides as shares of the edges; where one would not fit, the other makes up for it.
        tall = np.clip(np.sqrt(share) * root, share, 1)
        wide = share / np.maximum(tall, np.finfo(float).tiny)
        edges = np.array(shape[-2:])
        sides = np.floor(np.stack([tall, wide], axis=1) * edges).astype(np.int64)
        first = np.floor(np.stack(corner, axis=1) * (edges - sides + 1)).astype(np.int64)
        return np.concatenate([first, first + sides], axis=1)


def _turned(whole: Tensor, elements: npt.NDArray[np.int64]) -> Tensor:
    """Apply to each sample its own symmetry."""
    return torch.stack([turn(part, int(element)) for part, element in zip(whole, elements, strict=True)])


def _random(key: Key, spawned: tuple[int, ...] = ()) -> np.random.Generator:
    """Return the random generator of a key, or of a stream spawned from it."""
    seed = np.random.SeedSequence([k % 2**64 for k in key], spawn_key=spawned)
    return np.random.Generator(np.random.Philox(seed))


def _stream(key: Key, name: str) -> np.random.Generator:
    """Return the random generator of one change, which no other change uses."""
    return _random(key, (_STREAMS.index(name),))
