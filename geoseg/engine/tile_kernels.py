"""What is done to every pixel of a tile on the CPU, compiled: stored numbers to input, probabilities to bytes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]

FIRST, LAST = 1, 2
"""Of the tiles that cover a pixel this one comes first, comes last; where it is both, no other covers it."""
MULTICLASS, BINARY, MULTILABEL = 0, 1, 2
_STEPS: Final = 254
_NODATA: Final = 255
_LARGEST: Final = 1e15
"""No scaled number of a scene is this large, unless it is one that nobody declared as no data."""


class Axis(NamedTuple):
    """A tile along one axis.

    Parameters
    ----------
    weights : ndarray of float32, shape (px,)
        As `Tiling.tapers` has them.
    turns : ndarray of uint8, shape (px,)
        `FIRST` and `LAST`.
    """

    weights: Floats
    turns: Bytes


class Held(NamedTuple):
    """Rows that are not finished, as rings: row r of the scene is row r modulo their number.

    Parameters
    ----------
    shares : ndarray of float32, shape (channel, row, col)
        Weighted sums of probabilities so far.
    codes, confidence : ndarray of uint8, shape (layer, row, col)
        Of the pixels whose tiles have all come.
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
    thresholds : ndarray of float32, shape (channel,)
    layers : ndarray of int64, shape (channel,)
        Layer that each channel is written to.
    keep : bool
        Whether final probabilities stay in `Held.shares`.
    """

    task: int
    codes: Bytes
    thresholds: Floats
    layers: npt.NDArray[np.int64]
    keep: bool


class Scratch(NamedTuple):
    """Numbers of one row of a tile, each of shape (px,)."""

    value: Floats
    best: Floats
    total: Floats
    code: Codes


@kernel
def normalise(
    plane: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    place: tuple[int, int],
    scaling: tuple[float, float],
    target: Floats,
) -> int:
    """Write one band of a tile as the network takes it: stored * gain + bias in float32, 0 where not valid.

    Parameters
    ----------
    plane : ndarray of any real type, shape (row, col)
    valid : ndarray of bool, shape (row, col)
        Or (0, 0) where all of the tile is valid.
    place : (int, int)
        First row and column of the tile.
    scaling : (float, float)
        Gain and bias.
    target : ndarray of float32, shape (px, px)

    Returns
    -------
    int
        How many of the numbers written are none, or so large that products of them soon are infinite.
    """
    odd = 0
    gain, bias = np.float32(scaling[0]), np.float32(scaling[1])
    rows, cols = target.shape
    whole = valid.shape[0] == 0
    for y in range(rows):
        source, into = plane[place[0] + y, place[1] : place[1] + cols], target[y]
        if whole:
            for x in range(cols):
                into[x] = np.float32(source[x]) * gain + bias
        else:
            known = valid[place[0] + y, place[1] : place[1] + cols]
            for x in range(cols):
                number = np.float32(source[x]) * gain + bias
                into[x] = number if known[x] else np.float32(0)
        for x in range(cols):
            odd += not abs(into[x]) < np.float32(_LARGEST)
    return odd


@kernel
def _add(source: Floats, sums: Floats, weight: Any, taper: Floats, turn: int) -> None:
    """Add a part of a row of probabilities, weighted, to what lies there; the first writes over what was there."""
    if turn & FIRST:
        for x in range(len(source)):
            sums[x] = source[x] * (weight * taper[x])
    else:
        for x in range(len(source)):
            sums[x] += source[x] * (weight * taper[x])


@kernel
def _sum(source: Floats, sums: Floats, weight: Any, taper: Floats, turn: int, value: Floats) -> None:
    """Write what a part of a row of probabilities comes to with what lies there to `value`."""
    if turn & FIRST:  # and last: no other tile covers it, and its weight is 1
        _copy(source, value)
    else:
        for x in range(len(value)):
            value[x] = sums[x] + source[x] * (weight * taper[x])


@kernel
def _write(share: Floats, code: Codes, known: npt.NDArray[np.bool_], codes: Bytes, confidence: Bytes) -> None:
    """Write codes, and probabilities in steps of 1/254, rounded half to even; 255 where nothing is wanted."""
    for x in range(len(share)):
        codes[x] = np.uint8(code[x]) if known[x] else np.uint8(_NODATA)
    for x in range(len(share)):
        steps = np.int32(np.rint(share[x] * np.float32(_STEPS)))
        steps = min(max(steps, np.int32(0)), np.int32(_STEPS))
        confidence[x] = np.uint8(steps) if known[x] else np.uint8(_NODATA)


@kernel
def _compare(value: Floats, number: int, best: Floats, code: Codes) -> None:
    """Take over what is more probable than what was seen so far."""
    # One array at a time: LLVM makes better code of it.
    for x in range(len(value)):
        code[x] = number if value[x] > best[x] else code[x]
    for x in range(len(value)):
        best[x] = value[x] if value[x] > best[x] else best[x]


@kernel
def _present(value: Floats, threshold: np.float32, share: Floats, code: Codes) -> None:
    """Say where a class is, and how probable that is."""
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
def _odd(total: Floats, known: npt.NDArray[np.bool_]) -> int:
    """Count the wanted numbers that are none."""
    found = 0
    for x in range(len(total)):
        found += known[x] & (total[x] != total[x])
    return found


@kernel
def blend(
    tile: Floats,
    rows: Axis,
    cols: Axis,
    place: tuple[int, int],
    held: Held,
    wanted: npt.NDArray[np.bool_],
    at: tuple[int, int],
    rule: Rule,
    scratch: Scratch,
) -> int:
    """Add a tile to the rows that are not finished, and decide the pixels that wait for no other tile.

    Parameters
    ----------
    tile : ndarray of float32, shape (channel, row, col)
        Probabilities.
    rows, cols : Axis
    place : (int, int)
        Row in the rings, and column, of the tile's first pixel.
    held : Held
    wanted : ndarray of bool, shape (row, col)
        Where a result is wanted.
    at : (int, int)
        Row and column of the tile's first pixel in `wanted`.
    rule : Rule
    scratch : Scratch

    Returns
    -------
    int
        How many of the decided numbers are none.
    """
    channels, height, width = tile.shape
    depth, odd = held.shares.shape[1], 0
    for y in range(height):
        row = place[0] + y
        if row >= depth:
            row -= depth
        first = 0
        while first < width:
            turn = rows.turns[y] & cols.turns[first]
            stop = first + 1
            while stop < width and rows.turns[y] & cols.turns[stop] == turn:
                stop += 1
            left, right = place[1] + first, place[1] + stop
            weight, taper = rows.weights[y], cols.weights[first:stop]
            known = wanted[at[0] + y, at[1] + first : at[1] + stop]
            value, best, total = (
                scratch.value[first:stop],
                scratch.best[first:stop],
                scratch.total[first:stop],
            )
            code = scratch.code[first:stop]
            for channel in range(channels):
                source, sums = tile[channel, y, first:stop], held.shares[channel, row, left:right]
                if not turn & LAST:
                    _add(source, sums, weight, taper, turn)
                    continue
                _sum(source, sums, weight, taper, turn, value)
                if rule.keep:
                    _copy(value, sums)
                if rule.task != MULTICLASS:
                    layer = rule.layers[channel]
                    odd += _odd(value, known)
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
                odd += _odd(total, known)
                codes, shares = held.codes[0, row, left:right], held.confidence[0, row, left:right]
                _write(best, code, known, codes, shares)
            first = stop
    return odd
