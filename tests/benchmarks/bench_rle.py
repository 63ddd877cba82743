"""Run lengths against Python loops over runs and over pixels, on real masks.

Run it as a script::

    python tests/benchmarks/bench_rle.py [--table clouds/train.csv] [--size 1400x2100] [--rounds 9]

Masks are those of a table of run lengths, by default the clouds of the shared data. The loop over runs writes
one slice a run (decode) and looks for the next change with ``bytes.find`` (encode); the loop over pixels is the
oracle of the tests, on a part of the mask, its time scaled to the whole. The rounds alternate, so that all see
the same machine; a round is the sum over the masks.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.labels.rle import decode, encode

Mask = npt.NDArray[np.bool_]
_SHARE = 20
"""Part of a mask's columns that the loop over pixels sees."""


def decode_by_runs(text: str, shape: tuple[int, int]) -> Mask:
    """Decode one slice a run."""
    flat = np.zeros(shape[0] * shape[1], dtype=bool)
    numbers = list(map(int, text.split()))
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(shape[1], shape[0]).T


def decode_by_pixels(text: str, shape: tuple[int, int]) -> Mask:
    """Decode one pixel after the other."""
    mask = np.zeros(shape, dtype=bool)
    numbers = list(map(int, text.split()))
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for number in range(start - 1, start - 1 + length):
            mask[number % shape[0], number // shape[0]] = True
    return mask


def encode_by_runs(mask: Mask) -> str:
    """Encode by looking for the next change."""
    flat, words, at = mask.tobytes("F"), [], 0
    while (at := flat.find(1, at)) >= 0:
        stop = flat.find(0, at)
        stop = len(flat) if stop < 0 else stop
        words += [str(at + 1), str(stop - at)]
        at = stop
    return " ".join(words)


def encode_by_pixels(mask: Mask) -> str:
    """Encode one pixel after the other."""
    runs: list[list[int]] = []
    number = 0
    for col in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            number += 1
            if mask[row, col]:
                if runs and sum(runs[-1]) == number:
                    runs[-1][1] += 1
                else:
                    runs.append([number, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


def spent(run: Callable[..., Any], calls: list[tuple[Any, ...]]) -> float:
    """Seconds of all calls."""
    begin = time.perf_counter()
    for arguments in calls:
        run(*arguments)
    return time.perf_counter() - begin


def measure(texts: list[str], shape: tuple[int, int], rounds: int) -> None:
    """Print medians, spreads and ratios of decoding and of encoding."""
    masks = [np.ascontiguousarray(decode(text, shape)) for text in texts]
    part = shape[0], shape[1] // _SHARE
    middle = (shape[1] - part[1]) // 2
    parts = [np.ascontiguousarray(mask[:, middle : middle + part[1]]) for mask in masks]
    for text, mask, small in zip(texts, masks, parts, strict=True):
        assert (decode_by_runs(text, shape) == mask).all()
        assert encode_by_runs(mask) == encode(mask)
        assert encode_by_pixels(small) == encode(small)
        assert (decode_by_pixels(encode(small), part) == small).all()
    scale = shape[1] / part[1]
    whole = [(text, shape) for text in texts]
    some = [(encode(small), part) for small in parts]
    pixels = sum(int(small.sum()) for small in parts)
    inside = sum(int(mask.sum()) for mask in masks)
    decoders = (
        ("numpy", decode, whole, 1.0),
        ("loop over runs", decode_by_runs, whole, 1.0),
        ("loop over pixels", decode_by_pixels, some, inside / pixels),
    )
    encoders = (
        ("numpy", encode, [(mask,) for mask in masks], 1.0),
        ("loop over runs", encode_by_runs, [(mask,) for mask in masks], 1.0),
        ("loop over pixels", encode_by_pixels, [(small,) for small in parts], scale),
    )
    runs = sum(len(text.split()) // 2 for text in texts)
    print(f"{len(texts)} masks of {shape[0]} x {shape[1]} px, {runs:,} runs, {rounds} rounds")
    for title, contenders in (("decode", decoders), ("encode", encoders)):
        seconds: dict[str, list[float]] = {name: [] for name, *_ in contenders}
        for _ in range(rounds):
            for name, run, calls, factor in contenders:
                seconds[name].append(spent(run, calls) * factor)
        ours = statistics.median(seconds["numpy"])
        for name, times in seconds.items():
            median = statistics.median(times)
            print(
                f"  {title} {name:17} {median / len(texts) * 1e3:9.3f} ms a mask   "
                f"(slowest / fastest {max(times) / min(times):.2f})   {median / ours:7.1f} x"
            )


def main() -> None:
    """Parse the command line."""
    shared = Path(os.environ.get("GEOSEG_SHARED", Path(__file__).parents[3] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", type=Path, default=shared / "clouds" / "train.csv")
    parser.add_argument("--size", default="1400x2100", help="ROWSxCOLS of the masks")
    parser.add_argument("--masks", type=int, default=20, help="how many of the table's masks")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if not arguments.table.is_file():
        print(f"{arguments.table} is not on this machine: nothing measured")
        return
    with arguments.table.open(newline="") as file:
        texts = [row["EncodedPixels"] for row in csv.DictReader(file) if row["EncodedPixels"]]
    rows, cols = map(int, arguments.size.split("x"))
    measure(texts[: arguments.masks], (rows, cols), arguments.rounds)


if __name__ == "__main__":
    main()
