"""Blending of overlapping tiles and the decision of each pixel, by compiled kernels: probabilities to bytes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.engine.network_input import Floats, Pixel
from geoseg.kernels.kernel import kernel

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]
FIRST, LAST = 1, 2
"""Flags of a pixel: this tile is the first, the last of those that cover it; both if no other tile covers it."""
MULTICLASS, BINARY, MULTILABEL = 0, 1, 2
_STEPS: Final = 254
_NODATA: Final = 255


class Axis(NamedTuple):
    """Weights and flags of a tile along one axis.

    Parameters
    ----------
    weights : ndarray of float32, shape (px,)
        Blending weights, see `Tiling.tapers`.
    turns : ndarray of uint8, shape (px,)
        Combination of `FIRST` and `LAST`.
    """

    weights: Floats
    turns: Bytes


class Held(NamedTuple):
    """Rows that are not finished, as ring buffers: row r of the scene is stored at r modulo their height.

    Parameters
    ----------
    shares : ndarray of float32, shape (channel, row, col)
        Weighted sums of probabilities so far.
    codes, confidence : ndarray of uint8, shape (layer, row, col)
        Results of the pixels whose tiles have all been added.
    """

    shares: Floats
    codes: Bytes
    confidence: Bytes


class Rule(NamedTuple):
    """How probabilities become codes; see `geoseg.engine.decision.Decision`.

    Parameters
    ----------
    task : int
        `MULTICLASS`, `BINARY` or `MULTILABEL`.
    codes : ndarray of uint8, shape (channel,)
        Legend code of each channel.
    thresholds : ndarray of float32, shape (channel,)
        Probability above which a class is present.
    layers : ndarray of int64, shape (channel,)
        Output layer of each channel.
    keep : bool
        Whether final probabilities stay in `Held.shares`.
    """

    task: int
    codes: Bytes
    thresholds: Floats
    layers: npt.NDArray[np.int64]
    keep: bool


class PlacedTile(NamedTuple):
    """Probabilities of a tile, and where they are added.

    Parameters
    ----------
    shares : ndarray of float32, shape (channel, row, col)
        Probabilities.
    rows, cols : Axis
        Weights and flags of the tile's rows and columns.
    place : Pixel
        Row in the ring buffers and column of the tile's first pixel.
    at : Pixel
        Row and column of the tile's first pixel in `wanted`.
    """

    shares: Floats
    rows: Axis
    cols: Axis
    place: Pixel
    at: Pixel


class Scratch(NamedTuple):
    """Working memory for one row of a tile, each array of shape (px,)."""

    value: Floats
    best: Floats
    total: Floats
    code: Codes


@kernel
def _add(source: Floats, sums: Floats, weight: Any, taper: Floats, turn: int) -> None:
    """Add a weighted row of probabilities to the sums; the first tile of a pixel overwrites them."""
    if turn & FIRST:
        for x in range(len(source)):
            sums[x] = source[x] * (weight * taper[x])
    else:
        for x in range(len(source)):
            sums[x] += source[x] * (weight * taper[x])


@kernel
def _sum(source: Floats, sums: Floats, weight: Any, taper: Floats, turn: int, value: Floats) -> None:
    """Write the final sums of a row to `value`: the sums so far plus the weighted row of the last tile."""
    if turn & FIRST:  # and last: no other tile covers it, and its weight is 1
        _copy(source, value)
    else:
        for x in range(len(value)):
            value[x] = sums[x] + source[x] * (weight * taper[x])


@kernel
def _write(share: Floats, code: Codes, known: npt.NDArray[np.bool_], codes: Bytes, confidence: Bytes) -> None:
    """Write codes, and probabilities in steps of 1/254 rounded half to even; 255 where no result is wanted."""
    for x in range(len(share)):
        codes[x] = np.uint8(code[x]) if known[x] else np.uint8(_NODATA)
    for x in range(len(share)):
        steps = np.int32(np.rint(share[x] * np.float32(_STEPS)))
        steps = min(max(steps, np.int32(0)), np.int32(_STEPS))
        confidence[x] = np.uint8(steps) if known[x] else np.uint8(_NODATA)


@kernel
def _compare(value: Floats, number: int, best: Floats, code: Codes) -> None:
    """Replace best probability and code where this channel is more probable."""
    # One array at a time: LLVM makes better code of it.
    for x in range(len(value)):
        code[x] = number if value[x] > best[x] else code[x]
    for x in range(len(value)):
        best[x] = value[x] if value[x] > best[x] else best[x]


@kernel
def _present(value: Floats, threshold: np.float32, share: Floats, code: Codes) -> None:
    """Write whether a class is present, and the probability of that answer."""
    for x in range(len(value)):
        code[x] = value[x] > threshold
    for x in range(len(value)):
        share[x] = value[x] if value[x] > threshold else np.float32(1) - value[x]


@kernel
def _copy(source: Floats, target: Floats) -> None:
    for x in range(len(source)):
        target[x] = source[x]


@kernel
def _increase(source: Floats, target: Floats) -> None:
    for x in range(len(source)):
        target[x] += source[x]


@kernel
def _has_nan(total: Floats, known: npt.NDArray[np.bool_]) -> int:
    """Count the NaN values among the wanted pixels."""
    found = 0
    for x in range(len(total)):
        found += known[x] & (total[x] != total[x])
    return found


@kernel
def blend(
    tile: PlacedTile,
    held: Held,
    wanted: npt.NDArray[np.bool_],
    rule: Rule,
    scratch: Scratch,
) -> int:
    """Add a tile to the open rows, and decide the pixels that it completes.

    Parameters
    ----------
    tile : PlacedTile
        The tile.
    held : Held
        The open rows.
    wanted : ndarray of bool, shape (row, col)
        Where a result is wanted.
    rule : Rule
        How probabilities become codes.
    scratch : Scratch
        Working memory.

    Returns
    -------
    int
        Number of decided pixels whose probability is NaN.
    """
    shares, rows, cols, place, at = tile
    channels, height, width = shares.shape
    depth, odd = held.shares.shape[1], 0
    for y in range(height):
        row = place.row + y
        if row >= depth:
            row -= depth
        first = 0
        while first < width:
            turn = rows.turns[y] & cols.turns[first]
            stop = first + 1
            while stop < width and rows.turns[y] & cols.turns[stop] == turn:
                stop += 1
            left, right = place.col + first, place.col + stop
            weight, taper = rows.weights[y], cols.weights[first:stop]
            known = wanted[at.row + y, at.col + first : at.col + stop]
            value, best, total = (
                scratch.value[first:stop],
                scratch.best[first:stop],
                scratch.total[first:stop],
            )
            code = scratch.code[first:stop]
            for channel in range(channels):
                source, sums = shares[channel, y, first:stop], held.shares[channel, row, left:right]
                if not turn & LAST:
                    _add(source, sums, weight, taper, turn)
                    continue
                _sum(source, sums, weight, taper, turn, value)
                if rule.keep:
                    _copy(value, sums)
                if rule.task != MULTICLASS:
                    layer = rule.layers[channel]
                    odd += _has_nan(value, known)
                    _present(value, rule.thresholds[channel], best, code)
                    _write(
                        best,
                        code,
                        known,
                        held.codes[layer, row, left:right],
                        held.confidence[layer, row, left:right],
                    )
                elif channel == 0:
                    _copy(value, best)
                    _copy(value, total)
                    for x in range(len(code)):
                        code[x] = rule.codes[0]
                else:
                    _increase(value, total)
                    _compare(value, rule.codes[channel], best, code)
            if turn & LAST and rule.task == MULTICLASS:
                odd += _has_nan(total, known)
                codes, confidence = held.codes[0, row, left:right], held.confidence[0, row, left:right]
                _write(best, code, known, codes, confidence)
            first = stop
    return odd
