"""The design of a sample as its file stores it: what was drawn, from which map, and how."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from affine import Affine

from geoseg.assessment.accuracy.picking import Places
from geoseg.errors import DataError, GeosegError
from geoseg.grid.legend import Legend

Method: TypeAlias = Literal["stratified", "simple", "systematic"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
KEY: Final = "GEOSEG_SAMPLE"
"""Key of the design in the metadata of a sample's layer."""
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stratum, or a class of the map.

    Parameters
    ----------
    code : int
        Its code.
    name : str
        Its name.
    pixels : int
        Its pixels.
    area_m2 : float or None
        Its ground area, m²; None where the map's CRS is not tied to a body.
    points : int
        Points that were drawn in it.
    """

    code: int
    name: str
    pixels: int
    area_m2: float | None
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How a sample was drawn.

    Parameters
    ----------
    method : str
        ``stratified``, ``simple`` (random) or ``systematic``.
    strata : str or None
        Name of the layer of strata; None if these are the map's classes, or there are none.
    allocation : str or None
        Rule by which strata got their points; None without strata.
    minimum : int or None
        Points of each stratum at least.
    standard_error : float or None
        Standard error of the overall accuracy that was aimed at.
    expected : dict of str to float
        Expected accuracies by stratum.
    step : (int, int) or None
        Rows and columns between the points of a systematic sample.
    seed : int
        Seed of the drawing.
    """

    method: Method
    strata: str | None
    allocation: str | None
    minimum: int | None
    standard_error: float | None
    expected: dict[str, float]
    step: tuple[int, int] | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """Everything that an estimate needs besides the labels.

    Parameters
    ----------
    map_name, map_path : str
        Name of the map, and its path from the folder of the sample; both empty for a map that is no file.
    digest : str
        SHA-256 of the map's pixels and grid.
    transform : Affine
        From the map's pixels to its CRS.
    drawing : Drawing
        How the sample was drawn.
    legend : Legend
        Classes of the map.
    classes, strata : tuple of Part
        Its classes that occur, and the strata.
    places : Places
        The points, by their number from 1.
    """

    map_name: str
    map_path: str
    digest: str
    transform: Affine
    drawing: Drawing
    legend: Legend
    classes: tuple[Part, ...]
    strata: tuple[Part, ...]
    places: Places

    @property
    def by_classes(self) -> bool:
        """Whether the strata are the map's classes."""
        return self.drawing.method == "stratified" and self.drawing.strata is None

    def json(self) -> str:
        """Return the design as JSON in ASCII."""
        fields: dict[str, Any] = {
            "format": _FORMAT,
            "map": {
                "name": self.map_name,
                "path": self.map_path,
                "sha256": self.digest,
                "transform": list(self.transform)[:6],
            },
            "drawing": asdict(self.drawing),
            "legend": [[c.code, c.name, c.color] for c in self.legend.classes],
            "classes": [asdict(each) for each in self.classes],
            "strata": [asdict(each) for each in self.strata],
            "points": {
                name: getattr(self.places, name).tolist()
                for name in ("row", "col", "stratum", "mapped", "area_m2")
            },
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str, where: object) -> Record:
        """Read a design.

        Raises
        ------
        DataError
            If it is damaged, or was written by a newer geoseg.
        """
        try:
            fields = json.loads(text)
            newer = fields["format"] > _FORMAT
            record = None if newer else cls._of_fields(fields)
        except (ValueError, TypeError, KeyError, RecursionError, GeosegError) as error:
            raise DataError(
                f"{where}: the design of the sample is damaged; estimate from an earlier copy"
            ) from error
        if record is None:
            raise DataError(
                f"{where}: the design has format {fields['format']}, expected {_FORMAT}; update geoseg"
            )
        return record

    @classmethod
    def _of_fields(cls, fields: dict[str, Any]) -> Record:
        drawing, points = dict(fields["drawing"]), fields["points"]
        drawing["step"] = None if drawing["step"] is None else tuple(map(int, drawing["step"]))
        columns: dict[str, Any] = {
            name: np.array(points[name], np.float64 if name == "area_m2" else np.int64)
            for name in ("row", "col", "stratum", "mapped", "area_m2")
        }
        if len({len(column) for column in columns.values()}) != 1 or drawing["method"] not in METHODS:
            raise ValueError
        strata = tuple(Part(**each) for each in fields["strata"])
        classes = tuple(Part(**each) for each in fields["classes"])
        legend = Legend.of((int(code), str(name), str(color)) for code, name, color in fields["legend"])
        if not set(columns["stratum"].tolist()) <= {each.code for each in strata}:
            raise ValueError
        if not set(columns["mapped"].tolist()) | {c.code for c in classes} <= set(legend.codes):
            raise ValueError
        return cls(
            map_name=str(fields["map"]["name"]),
            map_path=str(fields["map"]["path"]),
            digest=str(fields["map"]["sha256"]),
            transform=Affine(*map(float, fields["map"]["transform"])),
            drawing=Drawing(**drawing),
            legend=legend,
            classes=classes,
            strata=strata,
            places=Places(**columns),
        )
