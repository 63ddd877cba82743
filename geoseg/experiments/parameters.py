"""What varies in a sweep: paths in the configuration, and their values as YAML text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import yaml

from geoseg.errors import Message, OptionError
from geoseg.storage.foreign_yaml import read_yaml
from geoseg.storage.printable import shortened

Values: TypeAlias = Mapping[str, str]
"""Values, as YAML text, by their paths in the configuration."""
GridLike: TypeAlias = Mapping[str, Sequence[Any]] | Sequence[str]
"""``{"train.loss": ["ce", "dice"]}``, or texts such as ``train.loss=ce,dice``."""

_SEED: Final = "train.seed"
_SHOWN: Final = 80
"""Most characters of a text in a message."""


def value_text(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**30, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def parse_grid(grid: GridLike) -> dict[str, tuple[str, ...]]:
    """Return the values of each path of a grid, as YAML text, each value once.

    Parameters
    ----------
    grid : mapping or sequence of str
        Lists of values by path, or texts ``PATH=VALUE,VALUE`` whose values are YAML.

    Raises
    ------
    OptionError
        If a text is no list of values, a path stands twice, or is that of the seed.
    """
    pairs = grid.items() if isinstance(grid, Mapping) else [_split(text) for text in grid]
    found: dict[str, tuple[str, ...]] = {}
    for path, values in pairs:
        if not isinstance(values, list | tuple) or not values:
            raise OptionError(
                Message("{grid} has {}, expected a list of values", repr(values), grid=[f"{path}=…"])
            )
        if path in found:
            raise OptionError(Message("{grid} stands twice, expected each path once", grid=[f"{path}=…"]))
        refuse_seed(path)
        found[path] = tuple(dict.fromkeys(value_text(value) for value in values))
    return found


def refuse_seed(path: str) -> None:
    """Raise OptionError for the path of the seed, which the number of seeds is for."""
    if path == _SEED:
        raise OptionError(
            "train.seed does not vary like a setting, since scores are means over seeds",
            Message("say how many with {seeds}, and the first one with {changes}", changes=[f"{_SEED}=0"]),
        )


def _split(text: str) -> tuple[str, Any]:
    """Split ``PATH=VALUE,VALUE``."""
    path, equals, values = text.partition("=")
    said = [shortened(text, _SHOWN)]
    if not equals or not all(path.strip().split(".")) or not values.strip():
        raise OptionError(
            Message(
                "{grid}: expected PATH=VALUE,VALUE, as in train.optimizer=adamw,sgd",
                grid=said,
            )
        )
    try:
        return path.strip(), read_yaml(f"[{values}]")
    except ValueError as error:
        raise OptionError(
            Message("{grid}: its values are not YAML that geoseg reads ({})", error, grid=said)
        ) from error


def combinations(grid: Mapping[str, Iterable[str]]) -> list[dict[str, str]]:
    """Return every combination of the values of a grid, the last path varying fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
