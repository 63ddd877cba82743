"""Distinct colours for the classes of a legend, and the perceptual distance between two colours.

Sources (facts): the palettes for colour-blind people are Okabe and Ito's (2008, "Color Universal Design") and Paul
Tol's "muted" (2021, SRON/EPS/TN/09-002); OKLab is Björn Ottosson's (2020).
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Final, TypeAlias

_OkLab: TypeAlias = tuple[float, float, float]

NEAR: Final = 0.08
"""Distance in OKLab (black and white are 1 apart) below which two colours are hard to tell apart on a map."""

PALETTE: Final = (
    # Okabe and Ito, without black, which a legend reads as no data.
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
    # Tol's muted ones that are far from those.
    "#332288", "#882255", "#ddcc77", "#117733", "#999933",
)  # fmt: skip
"""Default class colours, in the order of use; the first seven are also distinct for colour-blind people."""

_MOST: Final = 255
"""Number of classes up to which distinct colours are searched: all codes of an 8-bit class map."""
_STEPS: Final = (0, 40, 75, 105, 135, 165, 190, 215, 240)
"""Levels of red, green and blue from which colours are taken after those of the palette."""


def distance(one: str, other: str) -> float:
    """Return the perceptual distance of two colours (``#rrggbb``) in OKLab; black and white are 1 apart."""
    return math.dist(_oklab(one), _oklab(other))


def distinct_colors(wanted: Sequence[str | None], given: Sequence[str | None]) -> list[str]:
    """Choose colours for classes so that no two look alike.

    Given colours are kept. Wanted colours come next, in a lighter or darker shade where a similar one is taken; the
    other classes get colours of `PALETTE`, then colours far from all that are in use. Colours of more than 255
    classes cannot be told apart: those classes get evenly spread hues.

    Parameters
    ----------
    wanted : sequence of str or None
        Preferred colour of each class, ``#rrggbb``; None where there is no preference.
    given : sequence of str or None
        Colour that each class already has, ``#rrggbb``; None where it has none.

    Returns
    -------
    list of str
        ``#rrggbb`` of each class.
    """
    if len(wanted) > _MOST:
        return [color or _hue(i) for i, color in enumerate(given)]
    chosen = list(given)
    taken = [color for color in given if color]
    for i, color in enumerate(wanted):
        if color and not chosen[i] and (shade := _shade(color, taken)):
            chosen[i] = shade
            taken.append(shade)
    free = _free(taken)
    return [color or next(free) for color in chosen]


def _shade(color: str, taken: Sequence[str]) -> str | None:
    """Return the first shade of a colour that differs from all taken colours, or None."""
    for near in (NEAR, 0.75 * NEAR, 0.5 * NEAR):
        for shade in _shades(color):
            if all(distance(shade, other) >= near for other in taken):
                return shade
    return None


def _free(taken: Sequence[str]) -> Iterator[str]:
    """Yield unused colours: first those unlike every taken colour, then increasingly similar ones."""
    used: set[str] = set(taken)
    near = NEAR
    while True:
        for color in chain(PALETTE, _others()):
            if color not in used and all(distance(color, other) >= near for other in taken):
                used.add(color)
                yield color
        near /= 2


def _others() -> Iterator[str]:
    """Yield the colours to use after the palette, computed only when needed."""
    yield from _farthest()


@cache
def _farthest() -> tuple[str, ...]:
    """Return colours of an RGB lattice, each the farthest from the palette and from those before it."""
    left = {
        f"#{red:02x}{green:02x}{blue:02x}": math.inf
        for red in _STEPS
        for green in _STEPS
        for blue in _STEPS
        if 60 <= red + green + blue <= 660  # neither black nor white
    }
    found: list[str] = []
    for color in PALETTE:
        left = {each: min(far, distance(each, color)) for each, far in left.items()}
    while len(found) < 2 * _MOST:
        farthest = max(left, key=left.__getitem__)
        del left[farthest]
        found.append(farthest)
        left = {each: min(far, distance(each, farthest)) for each, far in left.items()}
    return tuple(found)


@lru_cache(maxsize=512)
def _shades(color: str) -> tuple[str, ...]:
    """Return a colour and its variants: darker, lighter, less saturated, and of slightly different hue."""
    lightness, a, b = _oklab(color)
    chroma, hue = math.hypot(a, b), math.atan2(b, a)
    found = [color]
    for turn in (0, 10, -10):  # degrees
        for share in (1.0, 0.6):
            for step in (-0.09, 0.09, -0.18, 0.18, 0.0):
                angle = hue + math.radians(turn)
                shade = _hex(
                    lightness + step, share * chroma * math.cos(angle), share * chroma * math.sin(angle)
                )
                if shade is not None and shade not in found:
                    found.append(shade)
    return tuple(found)


@lru_cache(maxsize=4096)
def _oklab(color: str) -> _OkLab:
    """Return lightness and the two opponent-colour axes (a, b) of ``#rrggbb`` in OKLab."""
    red, green, blue = (_linear(int(color[i : i + 2], 16) / 255) for i in (1, 3, 5))
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _hex(lightness: float, a: float, b: float) -> str | None:
    """Return a colour of OKLab as ``#rrggbb``; None if it lies outside sRGB or is almost black or white."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    parts = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    if not 0.2 <= lightness <= 0.98 or not all(-0.001 <= part <= 1.001 for part in parts):
        return None
    return "#" + "".join(f"{round(255 * _encoded(min(max(part, 0.0), 1.0))):02x}" for part in parts)


def _linear(part: float) -> float:
    """Decode one sRGB component to linear light; both run from 0 to 1."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _encoded(light: float) -> float:
    """Encode linear light as one sRGB component; both run from 0 to 1."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _hue(index: int) -> str:
    """Return colour number `index` of an endless series of hues, a golden angle apart."""
    hue = (0.58 + index * 0.6180339887498949) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.45, 0.6, 0.35)[index % 3], 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
