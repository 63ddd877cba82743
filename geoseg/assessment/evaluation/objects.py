"""Objects of a map matched with those of the reference.

An object is a region of pixels of one class that touch at edges, as the polygons of `geoseg.vectorize` are. An object
of the map and one of the reference match if their intersection over union is above a threshold of at least 0.5: then
each has one partner at most (Kirillov et al. 2019, arXiv:1801.00868).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.evaluation.reference import IGNORED, Indices
from geoseg.assessment.evaluation.rows import Rows
from geoseg.polygons.runs import find_regions

Ints = npt.NDArray[np.int64]

THRESHOLDS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Intersections over union above which objects match."""


@dataclass(slots=True)
class Regions:
    """Regions of rows that follow one another, joined where the rows meet."""

    count: int = 0
    kinds: list[Ints] = field(default_factory=list)
    sizes: list[Ints] = field(default_factory=list)
    joints: list[Ints] = field(default_factory=list)
    bottom: Ints | None = None
    bottom_kinds: Indices | None = None

    def add(self, indices: Indices) -> Ints:
        """Return the number (row, col) of each pixel's region, from 0; -1 where a pixel is not compared."""
        runs = find_regions(indices, indices != IGNORED)
        width, first = runs.width, runs.first
        stops = np.empty(len(runs.start), dtype=np.int64)
        stops[:-1] = runs.start[1:]
        stops[first[1:] - 1] = width  # of the sentinels, which have no pixels
        own = np.repeat(runs.region.astype(np.int64), stops - runs.start).reshape(indices.shape)
        numbers = np.where(own > 0, own - 1 + self.count, -1)
        self.kinds.append(runs.code)
        self.sizes.append(np.bincount(own[own > 0] - 1, minlength=runs.count))
        if self.bottom is not None:
            same = (self.bottom_kinds == indices[0]) & (indices[0] != IGNORED)
            self.joints.append(_distinct(self.bottom[same], numbers[0][same]))
        self.count += runs.count
        self.bottom, self.bottom_kinds = numbers[-1], indices[-1]
        return numbers

    def joined(self) -> tuple[Ints, Ints, Ints]:
        """Return the final region of each part, and the class index and pixels of each region."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if not self.count:
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing, nothing
        one, other = np.concatenate([np.zeros((2, 0), dtype=np.int64), *self.joints], axis=1)
        touching = coo_array(
            (np.ones(len(one), dtype=np.bool_), (one, other)), shape=(self.count, self.count)
        )
        count, region = connected_components(touching, directed=False)
        kinds = np.zeros(count, dtype=np.int64)
        kinds[region] = np.concatenate(self.kinds)
        sizes = np.bincount(region, weights=np.concatenate(self.sizes), minlength=count).astype(np.int64)
        return region, kinds, sizes


@dataclass(slots=True)
class ObjectMatcher:
    """Collects the objects of a map and of its reference, rows by rows."""

    found: Regions = field(default_factory=Regions)
    truth: Regions = field(default_factory=Regions)
    shared: list[Ints] = field(default_factory=list)

    def add(self, rows: Rows) -> None:
        """Add the next rows."""
        found, truth = self.found.add(rows.found), self.truth.add(rows.truth)
        both = rows.compared & (rows.found == rows.truth)
        self.shared.append(_distinct(truth[both], found[both], counted=True))

    def matches(self, classes: int) -> Objects:
        """Count the objects and their matches after the last row."""
        found_region, found_kinds, found_sizes = self.found.joined()
        truth_region, truth_kinds, truth_sizes = self.truth.joined()
        truth, found, pixels = np.concatenate([np.zeros((3, 0), dtype=np.int64), *self.shared], axis=1)
        pairs = _distinct(truth_region[truth], found_region[found], weights=pixels, counted=True)
        truth, found, pixels = pairs
        union = truth_sizes[truth] + found_sizes[found] - pixels
        matched = np.stack(
            [
                np.bincount(truth_kinds[truth[_above(pixels, union, threshold)]], minlength=classes)
                for threshold in THRESHOLDS
            ]
        )
        return Objects(
            reference=np.bincount(truth_kinds, minlength=classes),
            mapped=np.bincount(found_kinds, minlength=classes),
            matched=matched,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objects:
    """Numbers of objects.

    Parameters
    ----------
    reference, mapped : (class,) int64
        Objects of each class in the reference and in the map.
    matched : (threshold, class) int64
        Pairs that match at each of `THRESHOLDS`.
    """

    reference: Ints
    mapped: Ints
    matched: Ints

    def __add__(self, other: Objects) -> Objects:
        """Add the objects of another map."""
        return Objects(
            reference=self.reference + other.reference,
            mapped=self.mapped + other.mapped,
            matched=self.matched + other.matched,
        )

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Share of the map's objects that match, (threshold, class); NaN where a class has none."""
        return _share(self.matched, self.mapped)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of the reference's objects that match, (threshold, class); NaN where a class has none."""
        return _share(self.matched, self.reference)

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """F1 score of the objects, (threshold, class); NaN where a class has none in either."""
        return _share(2 * self.matched, self.mapped + self.reference)


def _above(pixels: Ints, union: Ints, threshold: float) -> npt.NDArray[np.bool_]:
    """Compare pixels / union with a threshold of whole hundredths without rounding."""
    above: npt.NDArray[np.bool_] = 100 * pixels > round(100 * threshold) * union
    return above


def _share(part: Ints, whole: Ints) -> npt.NDArray[np.float64]:
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=np.broadcast_to(whole > 0, part.shape))
    return result


def _distinct(one: Ints, other: Ints, *, weights: Ints | None = None, counted: bool = False) -> Ints:
    """Return the distinct pairs (2, pair) of two lists; with `counted` also how often, or their summed weights."""
    if not len(one):
        return np.zeros((3 if counted else 2, 0), dtype=np.int64)
    wide = int(other.max()) + 1
    keys, inverse = np.unique(one * wide + other, return_inverse=True)
    pairs = [keys // wide, keys % wide]
    if counted:
        sums = np.bincount(inverse, weights=weights)
        pairs.append(np.rint(sums).astype(np.int64))
    return np.stack(pairs)
