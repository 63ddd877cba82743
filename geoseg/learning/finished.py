"""A training that is finished: the same one need not run again, and more epochs can be added to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError, OptionError, OutputExistsError
from geoseg.learning.monitor import Monitor, beats
from geoseg.learning.records import METRICS, validation_scores
from geoseg.learning.state import Progress
from geoseg.learning.story import STORY
from geoseg.models.card import read_card

_SETTINGS: Final = ("data.", "model.", "train.")
_EPOCHS: Final = "train.epochs"
_OF_MORE_EPOCHS: Final = ("train.epochs", "train.learning_rate", "train.patience", "train.schedule")
"""Settings that may differ where a finished training goes on: of the epochs that are added, and no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the folder of a finished training says of it.

    Parameters
    ----------
    folder, model : Path
        Of the run, and the model file.
    fingerprint : mapping
        Everything that the training depended on.
    weights : str
        Checksum of the model's weights.
    """

    folder: Path
    model: Path
    fingerprint: Mapping[str, Any]
    weights: str

    @classmethod
    def read(cls, folder: Path, model: Path) -> Finished | None:
        """Read it; None where the model is not there, or not the one that the folder speaks of."""
        try:
            story = json.loads((folder / STORY).read_text(encoding="utf-8"))
            found = cls(
                folder=folder, model=model, fingerprint=dict(story["fingerprint"]), weights=story["weights"]
            )
            return found if read_card(model).weights_sha256 == found.weights else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ModelError):
            return None

    def differences(self, wanted: Mapping[str, Any]) -> list[str]:
        """Name what differs from a whole fingerprint, or from the settings in it."""
        plain, known = json.loads(json.dumps(dict(wanted))), self.fingerprint
        if not plain.keys() >= {"device", "data"}:
            known = {key: value for key, value in known.items() if key.startswith(_SETTINGS)}
        return sorted(key for key in known.keys() | plain.keys() if known.get(key) != plain.get(key))

    def refuse_other(self, wanted: Mapping[str, Any], *, extend: bool) -> None:
        """Refuse to put another training in its place.

        Parameters
        ----------
        wanted : mapping
            The whole fingerprint of what was asked for, or the settings in it.
        extend : bool
            Whether epochs are to be added.

        Raises
        ------
        OutputExistsError
            Naming the difference, and what can be done.
        """
        found = self.differences(wanted)
        if not found:
            return
        more = self._more(wanted)
        if more and all(key.startswith(_OF_MORE_EPOCHS) for key in found):
            if extend:
                return
            raise OutputExistsError(
                f"{self.model}: already exists, trained for {self.fingerprint[_EPOCHS]} epochs; pass --extend to go "
                f"on to {wanted[_EPOCHS]}, or --overwrite to train it anew"
            )
        key = next((key for key in found if not (more and key.startswith(_OF_MORE_EPOCHS))), found[0])
        raise OutputExistsError(
            f"{self.model}: already exists, trained with {key} {self.fingerprint.get(key)!r}, and this command has "
            f"{wanted.get(key)!r}; choose another -o, or pass --overwrite to train it anew"
        )

    def _more(self, wanted: Mapping[str, Any]) -> bool:
        return bool(wanted[_EPOCHS] > self.fingerprint.get(_EPOCHS, 0))

    def extension(self, monitor: Monitor) -> dict[str, Any]:
        """Return what a journal keeps of the training that more epochs are added to.

        Raises
        ------
        OptionError
            If its epochs are not known.
        """
        path = self.folder / METRICS
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            begin = Progress(epoch=int(lines[-1]["epoch"]), seconds=float(lines[-1]["seconds"]))
            for line in lines:
                found = monitor.standing(validation_scores(line))
                if not begin.best_epoch or beats(found, begin.best):
                    begin.best, begin.best_epoch = found, int(line["epoch"])
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise OptionError(
                f"{path}: does not say how the training went ({type(error).__name__}), so that no epochs can be "
                "added to it; choose another -o with model.start, or pass --overwrite to train it anew"
            ) from error
        return {"progress": asdict(begin), "weights": self.weights}
