"""What is tried: stages of configurations, from a grid or from a file."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geoseg.errors import Message, OptionError
from geoseg.experiments.parameters import GridLike, Values, combinations, parse_grid, refuse_seed, value_text
from geoseg.experiments.ranges import Range, drawn, refuse_ranges, space_of
from geoseg.storage.foreign_yaml import read_yaml

_KEYS = {"name", "grid", "choices"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a sweep.

    Parameters
    ----------
    name : str
        Its name.
    values : tuple of mapping
        Values of each configuration, in place of those that earlier stages have chosen.
    """

    name: str
    values: tuple[Values, ...]


def stages_of(grid: GridLike, stages: Any, count: int | None) -> list[Stage]:
    """Return what is tried.

    Parameters
    ----------
    grid : mapping or sequence of str
        Values by path: one stage of all their combinations.
    stages : path, mapping or None
        Stages, or the file that says them.
    count : int or None
        Number of combinations of the grid to draw at random; all by default.

    Raises
    ------
    OptionError
    """
    if stages is not None:
        if grid or count is not None:
            raise OptionError(
                Message(
                    "{stages} says what varies, and {} is another way to; leave one out",
                    Message("{grid}") if grid else Message("{random}"),
                    stages=None,
                )
            )
        return _read(stages)
    parsed = parse_grid(grid)
    if count is None:
        refuse_ranges(parsed)
        return [Stage(name="grid", values=tuple(combinations(parsed)))]
    if count < 1:
        raise OptionError(Message("{random}: expected 1 or more", random=count))
    space = space_of(parsed)
    if any(isinstance(each, Range) for each in space.values()):
        return [Stage(name="random", values=tuple(drawn(space, count)))]
    values = combinations(parsed)
    chosen = random.Random(0).sample(range(len(values)), min(count, len(values)))  # noqa: S311 - no secret
    return [Stage(name="random", values=tuple(values[place] for place in sorted(chosen)))]


def texts_of(stages: Sequence[Stage]) -> dict[str, list[str]]:
    """Return the texts that stand for the values of each path, over all stages."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        for values in stage.values:
            for path, text in values.items():
                known = found.setdefault(path, [])
                if text not in known:
                    known.append(text)
    return found


def _read(stages: Any) -> list[Stage]:
    """Read stages from a file, or from what it would hold."""
    name = "stages"
    if isinstance(stages, str | PathLike):
        name = str(stages)
        try:
            stages = read_yaml(Path(stages).read_text(encoding="utf-8"))
        except OSError as error:
            raise OptionError(f"{name}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise OptionError(f"{name}: is not YAML that geoseg reads ({error})") from error
    found = stages.get("stages") if isinstance(stages, Mapping) else stages
    if not isinstance(found, list | tuple) or not found:
        raise OptionError(f"{name}: holds no stages, expected a list under the key stages")
    made = [_stage(each, f"{name}, stage {number}") for number, each in enumerate(found, start=1)]
    names = [each.name for each in made]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise OptionError(f"{name}: two stages are called {twice}; give each its own name")
    return made


def _stage(fields: Any, where: str) -> Stage:
    """Return one stage: every one of its choices with every combination of its grid."""
    if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
        raise OptionError(f"{where}: expected a name, and a grid or choices")
    odd = sorted(set(map(str, fields)) - _KEYS)
    if odd:
        raise OptionError(f"{where}: {odd[0]} is not known, expected name, grid and choices")
    grid, choices = fields.get("grid", {}), fields.get("choices", [{}])
    if not isinstance(grid, Mapping):
        raise OptionError(f"{where}: its grid is no mapping of paths to lists of values")
    if not isinstance(choices, list) or not all(isinstance(each, Mapping) for each in choices) or not choices:
        raise OptionError(f"{where}: its choices are no list of mappings of paths to values")
    for path in {path for each in choices for path in each}:
        refuse_seed(str(path))
    try:
        combined = combinations(parse_grid(grid))
    except OptionError as error:
        raise error.into(OptionError, where) from error
    chosen = [{str(path): value_text(value) for path, value in each.items()} for each in choices]
    return Stage(name=fields["name"], values=tuple({**each, **more} for each in chosen for more in combined))
