"""The configuration that a sweep varies."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

from geoseg.errors import OptionError
from geoseg.experiments.parameters import Values, value_text
from geoseg.learning.config import Config, set_value
from geoseg.learning.described import is_configuration
from geoseg.learning.folds import fold_configs
from geoseg.learning.preparation import settings_of
from geoseg.storage.journal import flat

Folds: TypeAlias = int | Literal["groups"]


@dataclass(frozen=True, kw_only=True)
class Base:
    """A configuration, before anything in it varies.

    Parameters
    ----------
    source : Config, mapping or path
        As `geoseg.train` takes it.
    changes : sequence of str
        Values in place of its own, as ``train.epochs=5``.
    folds : int, "groups" or None
        Number of folds that each configuration is trained on.
    """

    source: Config | Mapping[str, Any] | str | PathLike[str]
    changes: Sequence[str] = ()
    folds: Folds | None = None
    _splits: dict[tuple[str, ...], list[Config]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is no configuration."""
        if not is_configuration(self.source):
            raise OptionError(
                "expected the configuration of a training: a YAML file, or a mapping with the keys data, model and "
                "train, such as the config.yaml in the folder of a run"
            )

    def config(self, values: Values | None = None, seed: int | None = None) -> Config:
        """Return the configuration with values in place of its own.

        Parameters
        ----------
        values : mapping of str to str, optional
            YAML text by path.
        seed : int, optional
            Seed of the training.

        Raises
        ------
        ConfigError
            If the configuration refuses one.
        """
        changes = [*self.changes, *(f"{path}={text}" for path, text in (values or {}).items())]
        if seed is not None:
            changes.append(f"train.seed={seed}")
        if isinstance(self.source, str | PathLike):
            return Config.read(Path(self.source), changes)
        given = self.source if isinstance(self.source, Config) else None
        fields = (
            copy.deepcopy(dict(self.source)) if isinstance(self.source, Mapping) else self.source.fields()
        )
        for change in changes:
            set_value(fields, change)
        folder = Path.cwd() if given is None else given.folder
        return Config.of(fields, "configuration", folder, None if given is None else given.data_root)

    def folded(self, config: Config, values: Values) -> list[tuple[int | None, Config]]:
        """Return the configuration on each fold with the fold's number, or alone with None where there are none.

        Parameters
        ----------
        config : Config
            The configuration.
        values : mapping of str to str
            What differs in it from the base: folds of equal data are found once.

        Raises
        ------
        OptionError, ConfigError, DataError
            If the data cannot be divided so.
        """
        if self.folds is None:
            return [(None, config)]
        key = tuple(f"{path}={text}" for path, text in values.items() if path.split(".")[0] == "data")
        if key not in self._splits:
            self._splits[key] = fold_configs(config, self.folds)
        return [
            (number, config.model_copy(update={"data": each.data}))
            for number, each in enumerate(self._splits[key], start=1)
        ]


def digest(config: Config) -> str:
    """Return a short text that is the same for trainings with the same settings, and for no others."""
    return hashlib.sha256(json.dumps(settings_of(config), sort_keys=True).encode()).hexdigest()[:16]


def text_at(config: Config, path: str) -> str:
    """Return the value at a path of a configuration as YAML on one line; ``null`` where there is none."""
    inner: Any = config.fields()
    for part in path.split("."):
        if isinstance(inner, Mapping):
            inner = next((value for key, value in inner.items() if str(key) == part), None)
        elif isinstance(inner, list) and part.isdecimal() and int(part) < len(inner):
            inner = inner[int(part)]
        else:
            inner = None
    return value_text(inner)


def base_settings(config: Config, without: Sequence[str]) -> dict[str, Any]:
    """Return the settings that must be the same in all calls for one sweep: those that do not vary, by path."""
    under = tuple(f"{path}." for path in (*without, "train.seed"))
    plain = flat(settings_of(config))
    return {key: value for key, value in plain.items() if not f"{key}.".startswith(under)}
