"""The trials of a sweep: known ones are found again, new ones get the next name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.experiments.configuration import Base, digest, text_at
from geoseg.experiments.parameters import Values
from geoseg.experiments.record import SweepRecord, TrialRecord
from geoseg.learning.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training that a sweep needs.

    Parameters
    ----------
    record : TrialRecord
        What it is.
    config : Config
        Its configuration.
    """

    record: TrialRecord
    config: Config

    @property
    def name(self) -> str:
        """Name of the trial."""
        return self.record.trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One configuration of a stage, with its trainings over seeds and folds.

    Parameters
    ----------
    values : mapping of str to str
        What differs from the base.
    trials : tuple of Trial
        A training for each seed and fold, in the order of the seeds.
    """

    values: Values
    trials: tuple[Trial, ...]


class Roster:
    """All trials of a sweep, written to its record as they become known.

    Parameters
    ----------
    folder : Path
        Folder of the sweep.
    base : Base
        The configuration that varies.
    record : SweepRecord
        The sweep so far.
    seeds : sequence of int
        Seeds of each configuration.
    """

    def __init__(self, folder: Path, base: Base, record: SweepRecord, seeds: Sequence[int]) -> None:
        self.folder, self.base, self.record, self.seeds = folder, base, record, tuple(seeds)
        self._known = {each.settings: each for each in record.trials}

    def candidates(
        self, stage: str, wanted: Sequence[Values], texts: Mapping[str, Sequence[str]]
    ) -> list[Candidate]:
        """Return the configurations of a stage with their trials; new ones are added to the record.

        Parameters
        ----------
        stage : str
            Name of the stage.
        wanted : sequence of mapping
            Values of each configuration.
        texts : mapping of str to sequence of str
            Texts that the values of a path are called by, wherever they mean the same.

        Raises
        ------
        ConfigError
            If the configuration refuses a value.
        """
        paths = [path for path in texts if path not in self.record.parameters]
        self.record = replace(self.record, parameters=(*self.record.parameters, *paths))
        if stage not in self.record.stages:
            self.record = replace(self.record, stages=(*self.record.stages, stage))
        if paths:
            self._complete(paths, texts)
        found = [
            Candidate(values=values, trials=tuple(self._trials(stage, values, texts))) for values in wanted
        ]
        self.record = replace(self.record, trials=tuple(self._known.values()))
        self.record.write(self.folder)
        return found

    def _complete(self, paths: Sequence[str], texts: Mapping[str, Sequence[str]]) -> None:
        """Say of the known trials what value they have at paths that vary only now."""
        for key, each in self._known.items():
            config = self.base.config(each.parameters, each.seed)
            more = {path: self._text(config, each.parameters, path, texts) for path in paths}
            self._known[key] = replace(each, parameters={**each.parameters, **more})

    def _trials(self, stage: str, values: Values, texts: Mapping[str, Sequence[str]]) -> Iterator[Trial]:
        """Yield the trainings of one configuration."""
        shown: dict[str, str] = {}
        for seed in self.seeds:
            whole = self.base.config(values, seed)
            if not shown:
                shown = {
                    path: values[path] if path in values else self._text(whole, values, path, texts)
                    for path in self.record.parameters
                }
            for fold, config in self.base.folded(whole, values):
                key = digest(config)
                if key not in self._known:
                    name = f"t{len(self._known) + 1:04d}"
                    self._known[key] = TrialRecord(
                        trial=name, stage=stage, parameters=shown, seed=seed, fold=fold, settings=key
                    )
                yield Trial(record=self._known[key], config=config)

    def _text(self, config: Config, values: Values, path: str, texts: Mapping[str, Sequence[str]]) -> str:
        """Return the text of a value that a configuration has from its base, as the sweep calls it elsewhere."""
        wanted = digest(config)
        for text in texts.get(path, ()):
            with suppress(ConfigError):  # a text that does not go with the other values is not the one
                if digest(self.base.config({**values, path: text}, config.train.seed)) == wanted:
                    return text
        return text_at(config, path)
