"""Profiles: what is expected of a polygon map, as a YAML file says it.

Those of European agencies come with the package. Their numbers are facts of the public rules of quality control of the
European Environment Agency.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from geoseg.errors import ConfigError, Message, OptionError
from geoseg.models.one_line import one_line
from geoseg.storage.foreign_yaml import read_yaml
from geoseg.storage.printable import listed

_STRICT: Final = ConfigDict(extra="forbid", frozen=True)
_SUFFIXES: Final = (".yaml", ".yml")
_LARGEST_FILE: Final = 2**20

Severity = Annotated[
    Literal["error", "warning", "off"],
    BeforeValidator(lambda given: "off" if given is False else given),  # as YAML reads off
]
Area = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Width = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Rule(BaseModel):
    """A check without numbers.

    Attributes
    ----------
    severity
        ``error``, ``warning`` (which changes no exit code) or ``off``.
    """

    model_config = _STRICT

    severity: Severity = "error"


class GapRule(Rule):
    """Enclosed places that no polygon covers.

    Attributes
    ----------
    area_m2, width_m
        A gap counts that is larger than the area, or wider than the width (the largest circle that fits, m).
    no_data_m2
        From this area on a gap is a place without data, and part of the border; by default none is, unless the file
        states that its polygons are all that there is.
    """

    area_m2: Area = 0.0
    width_m: Width | None = None
    no_data_m2: Area | None = None


class OverlapRule(Rule):
    """Places that several polygons cover.

    Attributes
    ----------
    area_m2
        A larger overlap counts.
    """

    area_m2: Area = 0.0


class NeighbourRule(Rule):
    """Neighbours of the same class, which should be one polygon.

    Attributes
    ----------
    exempt
        Patterns of codes that may have such neighbours: ``122*``.
    """

    exempt: tuple[Pattern, ...] = ()


class Unit(BaseModel):
    """Smallest area of some classes.

    Attributes
    ----------
    classes
        Pattern of codes: ``1*``, ``*`` for all. The first unit whose pattern fits counts.
    area_m2
        Smallest area, m².
    """

    model_config = _STRICT

    classes: Pattern = "*"
    area_m2: Area


class UnitRule(Rule):
    """Smallest units.

    Attributes
    ----------
    units
        Smallest areas by class.
    border_m2
        Smallest area of polygons on the border of the map, which cuts them; 0: any.
    exempt
        Patterns of codes that may be smaller.
    """

    units: tuple[Unit, ...] = ()
    border_m2: Area = 0.0
    exempt: tuple[Pattern, ...] = ()


class WidthRule(Rule):
    """Smallest width: the largest circle that fits into a polygon.

    Attributes
    ----------
    width_m
        Smallest diameter, m; 0: any.
    border
        Whether polygons on the border of the map are looked at, too.
    exempt
        Patterns of codes that may be narrower.
    """

    width_m: Width = 0.0
    border: bool = False
    exempt: tuple[Pattern, ...] = ()


class AreaRule(Rule):
    """The column with areas, compared with the geometry on the ground.

    Attributes
    ----------
    columns
        Names of such columns, the first that is there counts, with the m² of their unit.
    share
        Largest difference, as a share of the area of the geometry.
    """

    columns: dict[Name, Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]] = {
        "area_m2": 1.0,
        "area_ha": 1e4,
        "area_km2": 1e6,
    }
    share: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.01


class Profile(BaseModel):
    """What is expected of a polygon map; without a file: one valid coverage, in units of any size.

    Attributes
    ----------
    title
        Name of the rules for people.
    class_field
        Names of the attribute with the class, the first that is there counts.
    validity, parts
        Valid by OGC's rules; a single part.
    gaps, overlaps
        Gaps and overlaps.
    vertices
        Neighbours have the same vertices along their border: else simplifying or moving them tears gaps.
    neighbours, unit, width, area
        Neighbours of the same class, smallest units and widths, the column with areas.
    """

    model_config = _STRICT

    title: Annotated[str, Field(max_length=200)] = "valid coverage"
    class_field: tuple[Name, ...] = ("class_code",)
    validity: Rule = Rule()
    parts: Rule = Rule()
    gaps: GapRule = GapRule()
    overlaps: OverlapRule = OverlapRule()
    vertices: Rule = Rule()
    neighbours: NeighbourRule = NeighbourRule()
    unit: UnitRule = UnitRule()
    width: WidthRule = WidthRule()
    area: AreaRule = AreaRule()

    @property
    def needs_metres(self) -> bool:
        """Whether something is compared with an area or a width on the ground."""
        numbers = [self.gaps.area_m2, self.gaps.width_m, self.gaps.no_data_m2, self.overlaps.area_m2]
        numbers += [self.width.width_m, self.unit.border_m2, *(unit.area_m2 for unit in self.unit.units)]
        return any(numbers)

    def smallest_unit(self, code: str) -> float:
        """Return the smallest area of a class, m²; 0 for any."""
        if self.unit.severity == "off" or fits(code, self.unit.exempt):
            return 0.0
        return next((each.area_m2 for each in self.unit.units if fits(code, (each.classes,))), 0.0)


def fits(code: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a code fits one of the patterns, in which ``*`` stands for any signs and ``?`` for one."""
    return any(fnmatchcase(code, pattern) for pattern in patterns)


def packaged_profiles() -> tuple[str, ...]:
    """Return the names of the profiles that come with the package."""
    folder = files(__package__) / "profiles"
    return tuple(
        sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))
    )


def read_profile(given: str | None) -> Profile:
    """Read a profile by its name or file; None is the default.

    Raises
    ------
    OptionError
        If there is no such profile.
    ConfigError
        If the file cannot be read, or says what a profile cannot say.
    """
    if given is None:
        return Profile()
    if given in packaged_profiles():
        return _parsed((files(__package__) / "profiles" / f"{given}.yaml").read_text(encoding="utf-8"), given)
    path = Path(given)
    if path.suffix.lower() not in _SUFFIXES:
        raise OptionError(
            Message(
                "{profile}: there is no such profile, expected {} or a file that ends in .yaml",
                listed(packaged_profiles()), profile=given,
            )
        )  # fmt: skip
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(
                f"{path}: has {path.stat().st_size:,} bytes, expected a profile of 1 MB at most"
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8") from error
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> Profile:
    try:
        values = read_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected checks with their numbers, such as 'width: {{width_m: 10}}'")
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {one_line(error)}") from error
