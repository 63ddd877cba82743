"""How often 95 % intervals of `geoseg accuracy estimate` hold the truth, by points and rarity of a class.

Run it as a script; it prints the table of docs/accuracy.md::

    python tests/benchmarks/bench_coverage.py [--samples 1000] [--seed 0]

The map has a class of 80 %, one of 20 % less the rare one, and the rare one. Its truth is known: a tenth of what is
mapped is something else, and a quarter of the rare class is mapped as the largest one, in which it hides. Of each
design 1,000 samples are drawn: stratified by the map with as many points in each stratum ("equal") or in proportion to
area with at least 10, or simple random, which is stratified by the map's classes afterwards if each
has two points. What counts is how often the interval of the rare class's area, of its producer's and its user's
accuracy, and of the overall accuracy holds the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.allocation import allocate
from geoseg.assessment.accuracy.estimators import Estimate, LabelledSample

PIXELS = 1_000_000
RARITIES = (0.1, 0.03, 0.01, 0.003)
SIZES = (75, 225, 450, 1500)
DESIGNS = ("equal", "proportional", "simple")
Ints = npt.NDArray[np.int64]


def truth_of(rarity: float) -> Ints:
    """Return pixels by (map, reference), whose sum is the map."""
    rare = round(PIXELS * rarity)
    hidden = rare // 4
    small = PIXELS // 5 - rare
    large = PIXELS - small - rare
    return np.array(
        [
            [large - large // 10 - hidden, large // 10, hidden],
            [small // 10, small - small // 10, 0],
            [rare // 10, 0, rare - hidden],
        ]
    )


def sample_of(truth: Ints, counts: Ints, strata: Ints, random: np.random.Generator) -> LabelledSample:
    """Draw labels; `strata` are the stratum of each class of the map, `counts` the points of each stratum."""
    mapped, reference, stratum = [], [], []
    for index, count in enumerate(counts):
        cells = np.where(strata[:, np.newaxis] == index, truth, 0).ravel()
        drawn = random.multivariate_hypergeometric(cells, count, method="marginals")
        cell = np.repeat(np.arange(9), drawn)
        mapped.append(cell // 3)
        reference.append(cell % 3)
        stratum.append(np.full(count, index))
    of_map = np.concatenate(mapped)
    place = np.concatenate(stratum)
    if len(counts) == 1 and np.bincount(of_map, minlength=3).min() >= 2:
        strata, place = np.arange(3), of_map
    pixels = np.bincount(strata, truth.sum(axis=1))
    return LabelledSample(
        share=pixels / pixels.sum(), pixels=pixels, stratum=place, mapped=of_map,
        reference=np.concatenate(reference), area=np.ones(len(of_map)), classes=3,
    )  # fmt: skip


def holds(found: Estimate, true: float, place: int) -> bool:
    """Tell whether an interval holds the truth; one that cannot be computed does not."""
    return bool(found.low[place] <= true <= found.high[place])


def rows(samples: int, seed: int) -> Iterator[tuple[str, float, int, float, list[float]]]:
    """Yield design, rarity, points, expected points of the rare class outside its stratum, and shares that hold."""
    for design in DESIGNS:
        for rarity in RARITIES:
            truth = truth_of(rarity)
            sizes = truth.sum(axis=1)
            area, right = truth[:, 2].sum() / truth.sum(), np.trace(truth) / truth.sum()
            true = (area, truth[2, 2] / truth[:, 2].sum(), truth[2, 2] / truth[2].sum(), right)
            for size in SIZES:
                random = np.random.default_rng([seed, size, round(1e4 * rarity), DESIGNS.index(design)])
                if design == "simple":
                    strata, counts = np.zeros(3, np.int64), np.array([size])
                    expected = size * truth[0, 2] / truth.sum()
                else:
                    strata = np.arange(3)
                    low = np.full(3, 10 if design == "proportional" else 2)
                    rule = "proportional" if design == "proportional" else "equal"
                    counts = allocate(size, rule, sizes / sizes.sum(), np.full(3, 0.9), (low, sizes))
                    expected = counts[0] * truth[0, 2] / sizes[0]
                held = np.zeros(4)
                for _ in range(samples):
                    one = sample_of(truth, counts, strata, random)
                    held += [
                        holds(one.areas(), true[0], 2),
                        holds(one.producers(), true[1], 2),
                        holds(one.users(), true[2], 2),
                        holds(one.overall(), true[3], 0),
                    ]
                yield design, rarity, size, float(expected), (held / samples).tolist()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        "| design | rare class | points | of it hidden, expected | its area | its producer's | its user's | overall |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for design, rarity, size, expected, held in rows(arguments.samples, arguments.seed):
        cells = " | ".join(f"{100 * share:.0f} %" for share in held)
        print(f"| {design} | {100 * rarity:g} % | {size:,} | {expected:.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
