"""Stress: how the scores of a model fall when its scene is shifted, blurred, brighter, darker, or lacks a band."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from geoseg.grid.window import Window
from geoseg.models.card import Card
from geoseg.models.scaling import scaling_under
from geoseg.raster.chip import Chip
from geoseg.raster.source import Source
from geoseg.raster.wrapped_source import WrappedSource

if TYPE_CHECKING:
    from geoseg.grid.grid import Grid
    from geoseg.models.match import Match

SHIFTS: Final = (1, 2, 4)
"""By how many pixels the image is moved against the labels."""
BLURS: Final = (0.5, 1.0, 2.0)
"""Standard deviations of the blur, px."""
LIGHTS: Final = (0.8, 0.9, 1.1, 1.2)
"""Factors of the brightness."""
_TRUNCATED: Final = 3.0
"""Standard deviations after which the weights of a blur end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a scene's pixels; those that are left out change nothing.

    Parameters
    ----------
    name : str
        What is changed, for people.
    shift : int
        Pixels by which the image moves down and to the right.
    blur : float
        Standard deviation of a Gaussian blur, px.
    light : tuple of (float, float), or None
        Per band: factor and summand of the stored numbers.
    replaced : (int, float) or None
        Index of a band, and the stored number that it has everywhere.
    """

    name: str
    shift: int = 0
    blur: float = 0.0
    light: tuple[tuple[float, float], ...] | None = None
    replaced: tuple[int, float] | None = None

    @property
    def margin(self) -> int:
        """Pixels beyond a window that its changed pixels depend on, after the shift."""
        return int(_TRUNCATED * self.blur + 0.5)

    def applied(self, chip: Chip) -> npt.NDArray[np.float32]:
        """Return the changed pixels of a chip, of which `margin` on each side are of use to others only."""
        pixels = chip.pixels.astype(np.float32)
        if self.light is not None:
            for plane, (factor, summand) in zip(pixels, self.light, strict=True):
                plane *= factor
                plane += summand
        if self.replaced is not None:
            band, value = self.replaced
            pixels[band] = value
        if self.blur:
            pixels = _blurred(pixels, chip.valid, self.blur)
        return pixels


def changes_of(match: Match, card: Card) -> list[Change]:
    """Return the changes under which a model is scored.

    Parameters
    ----------
    match : Match
        The scene, as the model needs it.
    card : Card
        The model's card, which names the bands and has their scale and offset.
    """
    source = match.source
    scaling = scaling_under(card, source)
    # Brighter means a larger physical value, which is stored * scale + offset if the card has units.
    offset = scaling.offset if card.has_units else (0.0,) * source.count
    zero = [one / other for one, other in zip(offset, scaling.scale, strict=True)]
    found = [Change(name=f"shifted by {px} px", shift=px) for px in SHIFTS]
    found += [Change(name=f"blurred by {sigma:g} px", blur=sigma) for sigma in BLURS]
    for factor in LIGHTS:
        word = "brighter" if factor > 1 else "darker"
        light = tuple((factor, (factor - 1) * each) for each in zero)
        found.append(Change(name=f"{abs(factor - 1):.0%} {word}", light=light))
    if source.count > 1:
        # 0 is what the network sees of a pixel that is like the mean of the training images.
        means = [-bias / gain for gain, bias in zip(match.gain, match.bias, strict=True)]
        found += [
            Change(name=f"without {band.name}", replaced=(number, mean))
            for number, (band, mean) in enumerate(zip(card.bands, means, strict=True))
        ]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StressedSource(WrappedSource):
    """A source whose pixels are those of another source, changed; what is valid moves only with a shift.

    Parameters
    ----------
    source : Source
        The source that is changed.
    change : Change
        The change.
    extent : Window, optional
        The part of it that the source covers; all of it by default.
    """

    source: Source
    change: Change
    extent: Window | None = None

    @property
    def grid(self) -> Grid:
        """Grid of the source, or of the part of it."""
        whole = self.source.grid
        return whole if self.extent is None else whole.cropped(self.extent)

    def part(self, window: Window) -> Self:
        """Return the part in a window."""
        wrapper: Any = self
        part: Self = dataclasses.replace(wrapper, extent=self._inside(window))
        return part

    def read_inside(self, window: Window) -> Chip:
        """Read a window of the changed pixels, in the source's dtype; integers are rounded and clipped."""
        inside, margin, shift = self._inside(window), self.change.margin, self.change.shift
        around = Window(
            row=inside.row - margin - shift,
            col=inside.col - margin - shift,
            height=inside.height + 2 * margin,
            width=inside.width + 2 * margin,
        )
        chip = self.source.read(around)
        middle = slice(margin, margin + inside.height), slice(margin, margin + inside.width)
        pixels = self.change.applied(chip)[:, *middle]
        if np.issubdtype(self.dtype, np.integer):
            ends = np.iinfo(self.dtype)
            pixels = np.clip(np.rint(pixels.astype(np.float64)), ends.min, ends.max)
        valid = chip.valid[middle]
        # What lies under invalid pixels may be NaN, which integers do not have, and counts nowhere.
        return Chip(pixels=np.where(valid, pixels, 0).astype(self.dtype), valid=valid.copy())

    def _inside(self, window: Window) -> Window:
        """Return a window of the part as one of the whole image."""
        return window if self.extent is None else window.shifted(self.extent.row, self.extent.col)


def _blurred(
    pixels: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], sigma: float
) -> npt.NDArray[np.float32]:
    """Return Gaussian means over valid pixels."""
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(valid.astype(np.float32), sigma, truncate=_TRUNCATED, mode="nearest")
    known = np.maximum(weight, np.float32(1e-6))
    return np.stack(
        [
            gaussian_filter(np.where(valid, plane, 0), sigma, truncate=_TRUNCATED, mode="nearest") / known
            for plane in pixels
        ]
    ).astype(np.float32)
