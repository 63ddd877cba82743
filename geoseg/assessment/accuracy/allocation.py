"""Size of a sample, and its points by stratum."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Allocation: TypeAlias = Literal["proportional", "equal", "neyman"]
ALLOCATIONS: Final[tuple[Allocation, ...]] = ("proportional", "equal", "neyman")


def deviations(accuracy: Floats) -> Floats:
    """Return the standard deviation within strata of being right: √(U (1 - U)), for accuracies U of 0 to 1."""
    return np.sqrt(accuracy * (1 - accuracy))


def sample_size(share: Floats, accuracy: Floats, standard_error: float) -> float:
    """Return the number of points with which the overall accuracy has a standard error; not rounded.

    Olofsson et al. (2014), equation 13, after Cochran (1977), equation 5.25: (Σ W_h S_h / S)².

    Parameters
    ----------
    share : (stratum,) float64
        Share of each stratum in the area, W_h.
    accuracy : (stratum,) float64
        Expected accuracy in each stratum, 0 to 1.
    standard_error : float
        Wanted standard error S of the overall accuracy, as a share.
    """
    return float((share @ deviations(accuracy) / standard_error) ** 2)


def allocate(
    count: int, rule: Allocation, share: Floats, accuracy: Floats, limits: tuple[Ints, Ints] | None = None
) -> Ints:
    """Share points among strata by a rule: ``equal``, ``proportional`` to area, or ``neyman``, area times deviation.

    A stratum whose points would lie outside its limits gets the limit, and the others share what is left by the same
    rule. Equal means as many in each stratum, so that their sum may differ from `count` by rounding. By the other rules
    each gets its share rounded down, and the points that are left go to the largest remainders.

    Parameters
    ----------
    count : int
        Number of points.
    rule : str
        Rule.
    share : (stratum,) float64
        Share of each stratum in the area.
    accuracy : (stratum,) float64
        Expected accuracy in each stratum, 0 to 1.
    limits : (ndarray, ndarray), optional
        Points of each stratum at least and at most, (stratum,) int64 each; 0 and `count` by default.

    Raises
    ------
    ValueError
        If the limits leave no room for so many points; its argument is the number that they do.
    """
    low, high = limits or (np.zeros(len(share), np.int64), np.full(len(share), count))
    if rule != "equal" and not low.sum() <= count <= high.sum():
        raise ValueError(int(low.sum() if count < low.sum() else high.sum()))
    weight = {"equal": np.ones(len(share)), "neyman": share * deviations(accuracy)}.get(rule, share)
    exact = _filled(count, weight, low.astype(np.float64), high.astype(np.float64))
    if exact.sum() < count - 0.5:  # strata in which nothing is expected to be wrong take what no other can
        exact = _filled(count, share, exact, high.astype(np.float64))
    if rule == "equal":
        return np.rint(exact).astype(np.int64)
    points: Ints = np.floor(exact + 1e-6).astype(np.int64)
    left = np.argsort(points - exact, kind="stable")[: count - int(points.sum())]
    points[left] += 1
    return points


def _filled(count: int, weight: Floats, low: Floats, high: Floats) -> Floats:
    """Return points in proportion to weights, between limits, whose sum is `count` if the limits allow it."""
    found, grows = low.copy(), weight > 0
    weight, least, most = weight[grows], low[grows], high[grows]

    def at(factor: float) -> Floats:
        return np.asarray(np.clip(factor * weight, least, most))

    # Between the factors at which a stratum meets a limit the points grow linearly.
    with np.errstate(over="ignore"):
        places = np.sort(np.concatenate([least / weight, most / weight])).tolist()
        steps = [at(factor) for factor in places]
    wanted = count - float(low[~grows].sum())
    stop = int(np.searchsorted([step.sum() for step in steps], wanted))
    if stop in (0, len(steps)):
        found[grows] = least if stop == 0 else most
        return found
    before, after = steps[stop - 1], steps[stop]
    found[grows] = before + (after - before) * ((wanted - before.sum()) / (after.sum() - before.sum()))
    return found


def whole_number(size: float) -> int:
    """Round a sample size up, ignoring errors of floating point."""
    return math.ceil(size - 1e-9)
