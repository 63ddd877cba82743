"""Attributes of pieces of polygons, and of polygons made of several pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.mapping.ragged import Ragged
from geoseg.polygons.features import Features
from geoseg.polygons.rings import offsets

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]
Columns = dict[str, npt.NDArray[Any]]

_SUMMED = ("area_m2", "perimeter_m", "vertices_before")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Polygons at the border of their zone's territory.

    Parameters
    ----------
    shape : (piece,) object
        Shapely polygons in the plan's CRS, without `holes`.
    zone : (piece,) int64
        Zone of each.
    amount : (piece,) float64
        Number of pixels, not rounded.
    columns : dict
        By name, a value for each piece.
    holes : Ragged
        Holes that touch no border, each as a polygon.
    holed : (hole,) int64
        The piece of each hole.
    """

    shape: Objects
    zone: Longs
    amount: Floats
    columns: Columns
    holes: Ragged
    holed: Longs

    @classmethod
    def joined(cls, parts: Sequence[Pieces]) -> Pieces:
        """Put pieces one after the other."""
        starts = offsets(np.array([len(part.shape) for part in parts], np.int64))
        return cls(
            shape=np.concatenate([part.shape for part in parts]),
            zone=np.concatenate([part.zone for part in parts]),
            amount=np.concatenate([part.amount for part in parts]),
            columns={
                name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
            },
            holes=Ragged.joined([part.holes for part in parts]),
            holed=np.concatenate([part.holed + start for part, start in zip(parts, starts, strict=False)]),
        )

    def chosen(self, index: Longs) -> Pieces:
        """Return some of the pieces, in ascending order."""
        place = np.full(len(self.shape), -1, np.int64)
        place[index] = np.arange(len(index))
        _, holes, _ = self.holes.without(place[self.holed] >= 0)
        return Pieces(
            shape=self.shape[index],
            zone=self.zone[index],
            amount=self.amount[index],
            columns={name: column[index] for name, column in self.columns.items()},
            holes=holes,
            holed=place[self.holed][place[self.holed] >= 0],
        )


def columns_of(features: Features) -> Columns:
    """Return all attributes that features have one value each of, by name."""
    given = {each.name: getattr(features, each.name) for each in fields(features)}
    return {
        name: column
        for name, column in given.items()
        if isinstance(column, np.ndarray) and name not in ("buffer", "offset")
    }


def combined(pieces: Pieces, group: Longs) -> Columns:
    """Return the attributes of groups of pieces, in the order of the groups' numbers, which are 0 and up.

    Pixels and areas are summed; the confidence is the mean over pixels, and so is the share of the second class over
    pieces that have the second class of the largest one. What else there is comes from the largest piece. Perimeters
    are those of all pieces, inner borders included.

    Parameters
    ----------
    pieces : Pieces
        The pieces.
    group : (piece,) int64
        Group of each piece.
    """
    order = np.lexsort((np.arange(len(group)), -pieces.amount, group))
    largest = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    count = len(largest)
    found = {name: column[largest] for name, column in pieces.columns.items()}
    several = np.bincount(group, minlength=count) > 1

    def total(values: Floats) -> Floats:
        return np.bincount(group, weights=values, minlength=count).astype(np.float64)

    found["pixels"] = np.rint(total(pieces.amount)).astype(np.int64)
    for name in _SUMMED:
        if name in found:
            found[name] = total(pieces.columns[name]).astype(found[name].dtype)
    alike = np.ones(len(group), np.bool_)
    if "second_code" in found:
        alike = pieces.columns["second_code"] == found["second_code"][group]
    for name, counts in (("confidence", np.ones(len(group), np.bool_)), ("second_share", alike)):
        if name in found:
            values = pieces.columns[name]
            weight = np.where(counts & ~np.isnan(values), pieces.amount, 0.0)
            with np.errstate(invalid="ignore"):
                mean = total(weight * np.nan_to_num(values)) / total(weight)
            found[name] = np.where(several, mean, found[name])
    return found
