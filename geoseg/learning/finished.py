"""Recognise a finished training, so that it is not repeated and can be extended by more epochs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ELSEWHERE, Message, ModelError, OptionError, OutputExistsError, plural
from geoseg.learning.monitor import Monitor, beats
from geoseg.learning.records import METRICS, validation_scores
from geoseg.learning.state import TrainingPosition
from geoseg.learning.story import STORY
from geoseg.models.card_file import read_card

_SETTINGS: Final = ("data.", "model.", "train.")
_EPOCHS: Final = "train.epochs"
_OF_MORE_EPOCHS: Final = ("train.epochs", "train.learning_rate", "train.patience", "train.schedule")
"""Settings that may differ when a finished training is extended: they affect only the added epochs."""
TRAIN_ANEW: Final = Message("pass {overwrite} to train it again", overwrite=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Record of a finished training in its folder.

    Parameters
    ----------
    folder, model : Path
        Folder of the run, and the model file.
    fingerprint : mapping
        Everything that the result depended on.
    weights : str
        Checksum of the model's weights.
    """

    folder: Path
    model: Path
    fingerprint: Mapping[str, Any]
    weights: str

    @classmethod
    def read(cls, folder: Path, model: Path) -> Finished | None:
        """Read the record; None if the model file is missing or is not the one in the record."""
        try:
            story = json.loads((folder / STORY).read_text(encoding="utf-8"))
            found = cls(
                folder=folder, model=model, fingerprint=dict(story["fingerprint"]), weights=story["weights"]
            )
            return found if read_card(model).weights_sha256 == found.weights else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ModelError):
            return None

    def differences(self, wanted: Mapping[str, Any]) -> list[str]:
        """Return the keys that differ from a whole fingerprint, or from the settings in it."""
        plain, known = json.loads(json.dumps(dict(wanted))), self.fingerprint
        if not plain.keys() >= {"device", "data"}:
            known = {key: value for key, value in known.items() if key.startswith(_SETTINGS)}
        return sorted(key for key in known.keys() | plain.keys() if known.get(key) != plain.get(key))

    def refuse_other(self, wanted: Mapping[str, Any], *, extend: bool) -> None:
        """Raise OutputExistsError if another training would replace this one.

        Parameters
        ----------
        wanted : mapping
            The whole fingerprint of the requested training, or the settings in it.
        extend : bool
            Whether epochs are to be added.

        Raises
        ------
        OutputExistsError
            If the trainings differ; names the difference and what can be done.
        """
        found = self.differences(wanted)
        if not found:
            return
        more = self._more(wanted)
        if more and all(key.startswith(_OF_MORE_EPOCHS) for key in found):
            if extend:
                return
            raise OutputExistsError(
                f"{self.model}: already exists, trained for {plural(self.fingerprint[_EPOCHS], 'epoch')}",
                Message(
                    "pass {extend} to go on to {}, or {overwrite} to train it again",
                    wanted[_EPOCHS],
                    extend=True,
                    overwrite=True,
                ),
            )
        key = next((key for key in found if not (more and key.startswith(_OF_MORE_EPOCHS))), found[0])
        raise OutputExistsError(
            f"{self.model}: already exists, trained with {key} {self.fingerprint.get(key)!r}, and this command has "
            f"{wanted.get(key)!r}",
            Message("{}, or {}", ELSEWHERE, TRAIN_ANEW),
        )

    def _more(self, wanted: Mapping[str, Any]) -> bool:
        return bool(wanted[_EPOCHS] > self.fingerprint.get(_EPOCHS, 0))

    def extension(self, monitor: Monitor) -> dict[str, Any]:
        """Return the journal entry about the training that is extended.

        Raises
        ------
        OptionError
            If the metrics of its epochs cannot be read.
        """
        path = self.folder / METRICS
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            begin = TrainingPosition(
                epoch=int(lines[-1]["epoch"]),
                seconds=float(lines[-1]["seconds"]),
                cpu_seconds=float(lines[-1].get("cpu_seconds", 0)),
            )
            for line in lines:
                found = monitor.standing(validation_scores(line))
                if not begin.best_epoch or beats(found, begin.best):
                    begin.best, begin.best_epoch = found, int(line["epoch"])
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise OptionError(
                f"{path}: does not tell how the training went ({type(error).__name__}), so that no epochs can be "
                "added to it",
                Message("{} with model.start, or {}", ELSEWHERE, TRAIN_ANEW),
            ) from error
        return {"progress": asdict(begin), "weights": self.weights}
