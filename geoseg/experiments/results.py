"""Write what the trials of a sweep have come to: a row for each trial and epoch."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoseg.experiments.record import TRIALS, Status, SweepRecord, TrialRecord
from geoseg.experiments.table import RESULTS
from geoseg.experiments.trial import TEST_SCORES
from geoseg.experiments.trial_process import OUTCOME, Outcome
from geoseg.learning.monitor import Monitor
from geoseg.learning.records import METRICS, kept_line, validation_scores
from geoseg.learning.story import MODEL
from geoseg.storage.durable import write_bytes
from geoseg.storage.foreign_yaml import read_yaml

if TYPE_CHECKING:
    import pandas as pd

_VAL: Final = "val/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """What is known of a trial.

    Parameters
    ----------
    status : str
        ``waiting``, ``running``, ``finished``, ``failed`` or ``pruned``.
    reason : str
        One line; empty where nothing needs to be said.
    """

    status: Status
    reason: str = ""


class Results:
    """The results of a sweep in its folder.

    Parameters
    ----------
    folder : Path
        Folder of the sweep.
    monitor : Monitor
        The score that determines the best epoch.
    """

    def __init__(self, folder: Path, monitor: Monitor) -> None:
        self._folder, self._monitor = folder, monitor
        self._read: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._last: dict[str, bool] = {}

    def run_folder(self, trial: str) -> Path:
        """Return the folder of a trial's run."""
        return self._folder / TRIALS / trial

    def keep(self, trial: str, outcome: Outcome) -> None:
        """Write down how a trial ended."""
        text = json.dumps({"status": outcome.status, "reason": outcome.reason}, ensure_ascii=False) + "\n"
        folder = self.run_folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / OUTCOME, text.encode())

    def standing(self, trial: str) -> Standings:
        """Return what the folder says of a trial that does not run."""
        folder = self.run_folder(trial)
        try:
            found = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
            status, reason = str(found["status"]), str(found["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return Standings(status="waiting")
        if status == "failed":
            return Standings(status="failed", reason=reason)
        if status == "pruned":
            return Standings(status="pruned", reason=reason)
        done = status == "finished" and (folder / MODEL).exists()
        return Standings(status="finished" if done else "waiting")

    def epochs(self, trial: str) -> list[dict[str, Any]]:
        """Return the whole lines of a trial's metrics."""
        path = self.run_folder(trial) / METRICS
        try:
            size = path.stat().st_size
            if self._read.get(trial, (None,))[0] == size:
                return self._read[trial][1]
            text = path.read_bytes()
        except OSError:
            return []
        lines = []
        for line in text[: text.rfind(b"\n") + 1].splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:  # it is being rewritten
                break
        self._read[trial] = (size, lines)
        return lines

    def kept_epoch(self, trial: str) -> dict[str, Any] | None:
        """Return the line of the epoch whose weights the trial keeps so far: the best one, or the last."""
        return kept_line(self.epochs(trial), self._monitor, last=self._keeps_last(trial))

    def score(self, trial: str) -> float | None:
        """Return the score that counts at the kept epoch so far; None where there is none."""
        line = self.kept_epoch(trial)
        return None if line is None else self._monitor.value(validation_scores(line))

    def score_at(self, trial: str, epoch: int) -> float | None:
        """Return the score that counts if a trial ended after so many epochs; None where there is none."""
        line = kept_line(self.epochs(trial)[:epoch], self._monitor, last=self._keeps_last(trial))
        return None if line is None else self._monitor.value(validation_scores(line))

    def _keeps_last(self, trial: str) -> bool:
        """Return whether a trial keeps its last epoch, by the configuration in its folder."""
        if trial not in self._last:
            try:
                text = (self.run_folder(trial) / "config.yaml").read_text(encoding="utf-8")
            except OSError:  # it has not begun
                return False
            self._last[trial] = read_yaml(text)["train"].get("keep") == "last"
        return self._last[trial]

    def write(self, record: SweepRecord, standings: Mapping[str, Standings]) -> pd.DataFrame:
        """Write ``results.parquet``, atomically, and return it.

        Parameters
        ----------
        record : SweepRecord
            The sweep with its trials.
        standings : mapping of str to Standings
            What is known of each trial.
        """
        import pandas as pd

        rows = [
            row
            for trial in sorted(record.trials, key=lambda each: each.trial)
            for row in self._rows(record, trial, standings[trial.trial])
        ]
        frame = pd.DataFrame(rows, columns=_columns(record, rows))
        for name in ("fold", "epoch"):
            frame[name] = frame[name].astype("Int64")
        for name in frame.columns:
            if name in ("cpu_seconds", "seconds") or name.startswith(("train/", _VAL, "test/")):
                frame[name] = frame[name].astype("float64")
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        write_bytes(self._folder / RESULTS, buffer.getbuffer())
        return frame

    def _rows(self, record: SweepRecord, trial: TrialRecord, known: Standings) -> Iterator[dict[str, Any]]:
        """Yield a row for each epoch of a trial; one where there is none yet."""
        head: dict[str, Any] = {
            "trial": trial.trial, "stage": trial.stage, "status": known.status, "reason": known.reason,
            "seed": trial.seed, "fold": trial.fold,
            **{f"param/{path}": trial.parameters.get(path, "null") for path in record.parameters},
        }  # fmt: skip
        lines, best = self.epochs(trial.trial), self.kept_epoch(trial.trial)
        if not lines:
            yield {**head, "best": False}
        for line in lines:
            yield {
                **head,
                "epoch": line["epoch"],
                "cpu_seconds": line.get("cpu_seconds"),
                "seconds": line["seconds"],
                "train/loss": line["loss"],
                **flat_scores(validation_scores(line), _VAL),
                "best": line is best,
                **(self._revealed(trial.trial) if line is best else {}),
            }

    def _revealed(self, trial: str) -> dict[str, float | None]:
        try:
            found = json.loads((self.run_folder(trial) / TEST_SCORES).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return flat_scores(found, "test/")


def flat_scores(scores: Mapping[str, Any], before: str) -> dict[str, float | None]:
    """Return nested scores by their paths.

    Parameters
    ----------
    scores : mapping
        As `geoseg.learning.monitor.report` gives them.
    before : str
        Beginning of the paths.
    """
    flat: dict[str, float | None] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            flat |= flat_scores(value, f"{before}{key}/")
        else:
            flat[before + key] = value
    return flat


def _columns(record: SweepRecord, rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns: those that every sweep has, then the scores as the trials have them, the test's last."""
    first = [
        "trial",
        "stage",
        "status",
        "reason",
        "seed",
        "fold",
        *(f"param/{path}" for path in record.parameters),
    ]
    first += ["epoch", "cpu_seconds", "seconds", "best", "train/loss", record.score]
    names = dict.fromkeys(name for row in rows for name in row)
    val = [name for name in names if name.startswith(_VAL)]
    test = [name for name in names if name.startswith("test/")]
    return list(dict.fromkeys([*first, *val, *test]))
