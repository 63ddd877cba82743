"""Whether one configuration is better than another, or within the noise of seeds and folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_SURE: Final = 0.95

Scores = Mapping[tuple[int, int | None], float]
"""Scores of one configuration by seed and fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How far means of two configurations can differ by chance.

    Parameters
    ----------
    margin : float
        Differences of means up to this are within noise; infinite where nothing tells.
    blocks : int
        Seeds and folds that all configurations share.
    """

    margin: float
    blocks: int


def noise_of(scores: Sequence[Scores]) -> Noise:
    """Return how far means differ by chance, from what is left of the scores without configuration and seed.

    Every seed (and fold) is a block in which all configurations were trained on the same images from the same state, so
    its own level counts for nothing. What then remains is noise, with ``(configurations - 1) * (blocks - 1)`` degrees
    of freedom; a difference above the margin comes by chance in one of twenty pairs. For two configurations that is the
    paired t-test. Of many pairs some will exceed it by chance.

    Parameters
    ----------
    scores : sequence of mapping
        Scores of each configuration by seed and fold; blocks that one lacks are left out.
    """
    blocks = sorted(set.intersection(*(set(each) for each in scores)), key=str) if scores else []
    rows, cols = len(scores), len(blocks)
    if rows < 2 or cols < 2:
        return Noise(margin=math.inf, blocks=cols)
    from scipy.stats import t

    table = [[each[block] for block in blocks] for each in scores]
    of_rows = [math.fsum(row) / cols for row in table]
    of_cols = [math.fsum(row[j] for row in table) / rows for j in range(cols)]
    mean = math.fsum(of_rows) / rows
    left = math.fsum(
        (table[i][j] - of_rows[i] - of_cols[j] + mean) ** 2 for i in range(rows) for j in range(cols)
    )
    degrees = (rows - 1) * (cols - 1)
    deviation = math.sqrt(left / degrees)
    margin = float(t.ppf((1 + _SURE) / 2, degrees)) * deviation * math.sqrt(2 / cols)
    return Noise(margin=margin, blocks=cols)


def words(names: Sequence[str], means: Sequence[float], noise: Noise) -> str:
    """Return what is known of a choice, in a sentence.

    Parameters
    ----------
    names, means : sequence
        Name and mean score of each configuration, the chosen one first.
    noise : Noise
        As `noise_of` has it.
    """
    first = f"{names[0]} with {means[0]:.4f}"
    if len(names) == 1:
        return f"{first}: the only one that was scored"
    if math.isinf(noise.margin):
        return f"{first}; with one seed nothing tells a difference from noise"
    near = [
        name for name, mean in zip(names[1:], means[1:], strict=True) if abs(mean - means[0]) <= noise.margin
    ]
    if not near:
        return f"{first}, further from all others than noise explains ({noise.margin:.4f})"
    return f"{first}; within noise ({noise.margin:.4f}) of it: {'; '.join(near)}"
