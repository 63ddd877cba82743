"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@dataclass(frozen=True, kw_only=True)
class Map:
    """A class map in memory: codes (row, col) and its valid pixels."""

    codes: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]


# Maps on which contour tracers have failed, drawn with one sign per pixel; "." is no data.
ADVERSARIES: dict[str, tuple[str, ...]] = {
    "one pixel": ("1",),
    "no data only": ("..", ".."),
    "row": ("1121.2",),
    "column": ("1", "2", "2", ".", "1"),
    "diagonal pinch": ("12", "21"),
    "shell closed by a pinch": ("111", "121", "112"),
    "shell closed by a pinch, mirrored": ("111", "121", "211"),
    "shell closed by a pinch, upside down": ("211", "121", "111"),
    "hole pinched in two": ("1111", "1211", "1121", "1111"),
    "hole pinched in two, mirrored": ("1111", "1121", "1211", "1111"),
    "hole that touches the shell": ("1112", "1121", "1111", "1111"),
    "chain of pinches": ("11111", "12111", "11211", "11121", "11112"),
    "ring of pinches": ("111111", "112111", "121211", "112111", "111111", "111111"),
    "checkerboard": ("12121", "21212", "12121", "21212"),
    "checkerboard of three": ("12312", "23123", "31231", "12312"),
    "checkerboard with no data": ("1.1.1", ".1.1.", "1.1.1"),
    "framed checkerboard": ("1111111", "1212121", "1121211", "1212121", "1111111"),
    "spiral": ("1111111", "2222221", "1111121", "1222121", "1211121", "1222221", "1111111"),
    "rings in rings": ("1111111", "1222221", "1211121", "1213121", "1211121", "1222221", "1111111"),
    "frame of no data": ("....", ".12.", ".21.", "...."),
    "hole of no data": ("111", "1.1", "111"),
    "comb": ("11111", "12121", "12121", "12121"),
    "T-junctions": ("1112", "3332", "3442"),
}


def drawn(rows: tuple[str, ...]) -> Map:
    """Map of a drawing."""
    signs = np.array([list(row) for row in rows])
    valid = signs != "."
    return Map(codes=np.where(valid, signs, "0").astype(np.uint8), valid=valid)


@st.composite
def maps(draw: st.DrawFn, most: int = 40) -> Map:
    """Class maps of 1 to `most` px a side with 1 to 8 classes, some of their pixels no data."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    # A generator of its own: drawing 1600 single pixels would be slow, and shrinking works on shape and seed.
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grain = draw(st.integers(1, 4))
    small = -(-shape[0] // grain), -(-shape[1] // grain)
    codes = random.integers(0, draw(st.integers(1, 8)), small, dtype=np.uint8)
    codes = codes.repeat(grain, axis=0).repeat(grain, axis=1)[: shape[0], : shape[1]]
    if draw(st.booleans()):
        rows, cols = np.indices(shape)
        codes = np.where((rows + cols) % 2 == 0, codes, codes.flat[0]).astype(np.uint8)
    valid = random.random(shape) >= draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]))
    return Map(codes=np.ascontiguousarray(codes), valid=valid)


tiny_maps = st.builds(
    Map,
    codes=hnp.arrays(np.uint8, (4, 4), elements=st.integers(0, 2)),
    valid=hnp.arrays(np.bool_, (4, 4), elements=st.booleans() | st.just(value=True)),
)
"""Maps of 4 x 4 px, drawn pixel by pixel, so that a failure shrinks to its simplest form."""


@st.composite
def affines(draw: st.DrawFn) -> Affine:
    """North-up, south-up, mirrored, rotated and sheared affines in metres or degrees."""
    size = draw(st.sampled_from([10.0, 0.3, 1 / 3600, 30.000000001]))
    angle = draw(st.sampled_from([0.0, 0.0, 90.0, 180.0, 17.3, -42.0]))
    shear = draw(st.sampled_from([0.0, 0.0, 12.0]))
    flips = Affine.scale(draw(st.sampled_from([1, -1])) * size, draw(st.sampled_from([1, -1])) * size)
    origin = Affine.translation(
        draw(st.floats(-180, 180) | st.floats(1e5, 9e5)), draw(st.floats(-80, 80) | st.floats(1e6, 9.9e6))
    )
    return origin @ Affine.rotation(angle) @ Affine.shear(shear) @ flips
