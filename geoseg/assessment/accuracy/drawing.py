"""Drawing of a sample from a population that has been counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.allocation import ALLOCATIONS, allocate, sample_size, whole_number
from geoseg.assessment.accuracy.picking import Choose, by_rank, on_lattice, pick
from geoseg.assessment.accuracy.population import Population, ReadRows
from geoseg.assessment.accuracy.record import Drawing, Part, Record
from geoseg.assessment.accuracy.strata import Strata
from geoseg.assessment.accuracy.wanted import MINIMUM, Wanted
from geoseg.errors import Message, OptionError, plural
from geoseg.grid.legend import Legend
from geoseg.progress import OnProgress

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


Reads = tuple[ReadRows, ReadRows | None]
"""Read the map, and the strata if they are another layer."""


def drawn(
    population: Population,
    classes: Legend,
    wanted: Wanted,
    other: Strata | None,
    reads: Reads,
    progress: OnProgress | None,
) -> Record:
    """Draw the points of a population, and describe what was done; the name of the map is left out.

    Parameters
    ----------
    population : Population
        Counted pixels.
    classes : Legend
        Classes of the map.
    wanted : Wanted
        What was asked for.
    other : Strata or None
        Strata that are another layer.
    reads : (callable, callable or None)
        Read the map and the strata.
    progress : callable or None
        Called with (rows done, rows, what).

    Raises
    ------
    OptionError
        If the population has too few pixels, or the sample too few points.
    """
    groups = _groups(population, classes, wanted, other)
    stratified = wanted.design == "stratified"
    size = _size(wanted, groups)
    random = np.random.default_rng(wanted.seed)
    step = _step(int(groups.pixels[0]) / size) if wanted.design == "systematic" else None
    choose = _choice(size, wanted, groups, step, random)
    if stratified:
        places = pick(population.grid, reads, choose, progress)
    else:
        places = pick(population.grid, (reads[0], None), _everywhere(choose), progress)
        places = replace(places, stratum=np.zeros_like(places.row))
    if len(places.row) < 2:
        raise OptionError(
            f"the lattice of {step} meets {plural(len(places.row), 'valid pixel')}, expected 2 or more",
            Message("pass more {points}"),
        )
    places = places.at(random.permutation(len(places.row)))
    drawing = Drawing(
        method=wanted.design,
        strata=None if other is None else other.title,
        allocation=(wanted.allocation or ALLOCATIONS[0]) if stratified else None,
        minimum=(wanted.minimum or MINIMUM) if stratified else None,
        standard_error=wanted.standard_error,
        expected=dict(zip(groups.names.values(), groups.accuracy.tolist(), strict=True)),
        step=step,
        seed=wanted.seed,
    )
    called = {c.code: c.name for c in classes.classes}
    by = population.strata if stratified else np.zeros_like(population.strata)
    return Record(
        map_name="", map_path="", digest=population.digest, transform=population.grid.transform,
        drawing=drawing, legend=classes, places=places,
        classes=_parts(population, population.classes, called, places.mapped),
        strata=_parts(population, by, groups.names, places.stratum),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Groups:
    """Strata before points are drawn: names by code, and pixels, share of the area and expected accuracy of each."""

    names: dict[int, str]
    pixels: Ints
    share: Floats
    accuracy: Floats


def _groups(population: Population, classes: Legend, wanted: Wanted, other: Strata | None) -> _Groups:
    """Return the strata; without any, one in which the map is right as often as in all of them."""
    codes, pixels, share = _grouped(population, population.strata)
    names = {c.code: c.name for c in classes.classes} if other is None else other.called(codes)
    names = {code: names[code] for code in codes}
    accuracy = wanted.accuracies(names)
    if wanted.design != "stratified":
        names = {0: "all of the map"}
        accuracy, share, pixels = np.array([share @ accuracy]), np.ones(1), np.array([pixels.sum()])
    return _Groups(names=names, pixels=pixels, share=share, accuracy=accuracy)


def _choice(
    size: int, wanted: Wanted, groups: _Groups, step: tuple[int, int] | None, random: np.random.Generator
) -> Choose:
    """Return a random choice of pixels."""
    if step is not None:
        return on_lattice((int(random.integers(step[0])), int(random.integers(step[1]))), step)
    counts = _counts(size, wanted, groups) if wanted.design == "stratified" else [size]
    return by_rank(
        {
            code: np.sort(random.choice(int(n), int(k), replace=False, shuffle=False))
            for code, n, k in zip(groups.names, groups.pixels, counts, strict=True)
        }
    )


def _size(wanted: Wanted, groups: _Groups) -> int:
    """Return the number of points."""
    size, pixels = wanted.points, int(groups.pixels.sum())
    if size is None:
        assert wanted.standard_error is not None
        size = max(2, whole_number(sample_size(groups.share, groups.accuracy, wanted.standard_error)))
    if size > pixels:
        raise OptionError(
            f"the sample has {plural(size, 'point')} and the map {plural(pixels, 'pixel')}",
            Message("pass fewer {points} or a larger {standard_error}"),
        )
    return size


def _counts(size: int, wanted: Wanted, groups: _Groups) -> Ints:
    """Return the points of each stratum."""
    minimum = wanted.minimum or MINIMUM
    low = np.minimum(groups.pixels, minimum)
    rule = wanted.allocation or ALLOCATIONS[0]
    if size < low.sum():
        raise OptionError(
            f"{plural(size, 'point')} are too few for {minimum} in each of {len(groups.names)} strata, expected "
            f"{low.sum():,} or more",
            Message("pass more {points} or a smaller {minimum}"),
        )
    return allocate(size, rule, groups.share, groups.accuracy, (low, groups.pixels))


def _step(pixels: float) -> tuple[int, int]:
    """Return rows and columns between points, so that there is one in about so many pixels."""
    rows = max(1, round(pixels**0.5))
    return rows, max(1, round(pixels / rows))


def _everywhere(choose: Choose) -> Choose:
    """Return a choice that takes all of the map for one stratum, of code 0."""
    return lambda row, strata, valid: choose(row, np.zeros(strata.shape, np.uint8), valid)


def _grouped(population: Population, by: Any) -> tuple[list[int], Any, Floats]:
    """Return the codes of groups, their pixels, and their shares of the area."""
    codes, place = np.unique(by, return_inverse=True)
    pixels = np.bincount(place, population.pixels).astype(np.int64)
    size = np.bincount(place, population.weight)
    return codes.tolist(), pixels, size / size.sum()


def _parts(population: Population, by: Any, names: Mapping[int, str], drawn: Any) -> tuple[Part, ...]:
    codes, place = np.unique(by, return_inverse=True)
    pixels, area = np.bincount(place, population.pixels), np.bincount(place, population.area_m2)
    return tuple(
        Part(
            code=int(code),
            name=names[int(code)],
            pixels=int(pixels[i]),
            area_m2=float(area[i]) if population.known else None,
            points=int((drawn == code).sum()),
        )
        for i, code in enumerate(codes)
    )
