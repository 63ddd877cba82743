"""Read the folder of a training run, finished or not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, DataError
from geoseg.learning.config import Config
from geoseg.learning.finished import Finished
from geoseg.learning.monitor import Monitor
from geoseg.learning.records import METRICS, kept_line, validation_scores
from geoseg.learning.story import BEST, MODEL, STORY
from geoseg.models.card import Card
from geoseg.models.card_file import read_card
from geoseg.storage.foreign_yaml import read_yaml
from geoseg.storage.journal import JOURNAL

Fields = dict[str, Any]
_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """Contents of a training run's folder.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    config : dict
        The configuration, with all defaults filled in.
    story : dict
        The training's history, as written by `write_story`; empty if it is missing.
    epochs : tuple of dict
        Lines of ``metrics.jsonl``.
    model : Path or None
        The finished model file.
    card : Card or None
        Card of the finished model, or of the best model so far.
    """

    folder: Path
    config: Fields
    story: Fields
    epochs: tuple[Fields, ...]
    model: Path | None
    card: Card | None

    @property
    def training(self) -> Fields:
        """Training section of the finished model's card; empty if there is none."""
        finished = self.model is not None and self.card is not None
        return dict(self.card.training or {}) if finished and self.card is not None else {}

    @property
    def monitor(self) -> Monitor:
        """The monitored score."""
        return Monitor(name=self.config["train"]["monitor"])

    @property
    def monitored(self) -> list[float | None]:
        """Values of the monitored score, epoch by epoch."""
        return [self.monitor.value(validation_scores(line)) for line in self.epochs]

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is kept, and not the best one."""
        return bool(self.config["train"].get("keep") == "last")

    @property
    def kept_epoch(self) -> int | None:
        """Number (from 1) of the epoch whose weights the model has: the best one, or the last."""
        line = kept_line(self.epochs, self.monitor, last=self.keeps_last)
        return None if line is None else int(line["epoch"])

    @property
    def stopped(self) -> int | None:
        """Epoch after which the training stopped early; None if it did not, or is still running."""
        if self.model is None or not self.epochs:
            return None
        last = int(self.epochs[-1]["epoch"])
        return last if last < self.config["train"]["epochs"] else None

    def resolved(self) -> Config:
        """Return the configuration with the folder of its data.

        Raises
        ------
        ConfigError
        """
        if "data_root" not in self.story:
            raise ConfigError(f"{self.folder / STORY}: is missing, so the data are not known")
        fields = {**self.config, "data": {**self.config["data"], "root": self.story["data_root"]}}
        return Config.of(fields, str(self.folder / "config.yaml"), self.folder)


def read_run(run: Path | str) -> TrainingRecord:
    """Read the results that a training has written so far.

    Parameters
    ----------
    run : path
        Folder of the run, or its model file.

    Raises
    ------
    DataError
        If there is no run, or its files are damaged.
    ModelError
    """
    folder = Path(run)
    if folder.suffix.lower() == _SUFFIX:
        beside = folder.with_suffix(".run")
        folder = beside if beside.is_dir() else folder.parent
    try:
        config = read_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        story = folder / STORY
        found = json.loads(story.read_text(encoding="utf-8")) if story.exists() else {}
        epochs = _lines(folder / METRICS)
    except OSError as error:
        raise DataError(
            f"{folder}: is not a run ({Path(error.filename or folder).name}: {error.strerror}), expected the folder "
            "of a training"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{folder}: is damaged ({' '.join(str(error).split())}); train it again") from error
    if not story.exists() and not (folder / METRICS).exists():
        raise DataError(f"{folder}: is not a run (no {STORY}), expected the folder of a training")
    if not isinstance(config, dict) or not {"data", "model", "train"} <= config.keys():
        raise DataError(
            f"{folder / 'config.yaml'}: is not the configuration of a run, expected data, model and train"
        )
    model = folder / found.get("model", MODEL)
    # While a training runs, the model file is that of an earlier one; the journal is removed last.
    goes_on = (folder / JOURNAL).exists() and Finished.read(folder, model) is None
    finished = model.exists() and not goes_on
    return TrainingRecord(
        folder=folder,
        config=config,
        story=found,
        epochs=epochs,
        model=model if finished else None,
        card=_card(model if finished else folder / BEST),
    )


def _lines(path: Path) -> tuple[Fields, ...]:
    """Return the lines of a JSON-lines file; an incomplete last line is ignored."""
    text = path.read_bytes() if path.exists() else b""
    return tuple(json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines())


def _card(path: Path) -> Card | None:
    return read_card(path) if path.exists() else None
