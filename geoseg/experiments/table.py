"""Read the folder of a sweep: its record, and a row for each trial and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from geoseg.errors import DataError
from geoseg.experiments.record import TRIALS, Decision, Goal, SweepRecord, TrialRecord

if TYPE_CHECKING:
    import pandas as pd

RESULTS: Final = "results.parquet"
LEADERBOARD: Final = "leaderboard.csv"
DASHBOARD: Final = "dashboard.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTable:
    """A sweep as far as it is.

    Parameters
    ----------
    folder : Path
        Its folder.
    name : str
        Its name.
    created_by : str
        Program and version.
    score : str
        Column of the score that counts, such as ``val/per_image/dice/roof``.
    goal : "max" or "min"
        Whether more of it is better.
    stages : tuple of str
        Stages in their order.
    parameters : tuple of str
        Paths in the configuration that vary, each the column ``param/PATH``.
    trials : tuple of TrialRecord
        All trials.
    decisions : tuple of Decision
        What the finished stages have decided.
    rows : DataFrame
        A row for each trial and epoch, as in ``results.parquet``: trial, stage, status, reason, seed, fold,
        ``param/...``, epoch, cpu_seconds, seconds, ``train/loss``, ``val/...``, best, and ``test/...`` once revealed.
    """

    folder: Path
    name: str
    created_by: str
    score: str
    goal: Goal
    stages: tuple[str, ...]
    parameters: tuple[str, ...]
    trials: tuple[TrialRecord, ...]
    decisions: tuple[Decision, ...]
    rows: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> SweepTable:
        """Read a folder.

        Raises
        ------
        DataError
            If it holds no sweep.
        OutputError
            If its record cannot be read.
        """
        import pandas as pd

        record = SweepRecord.read(folder)
        path = folder / RESULTS
        if record is None or not path.is_file():
            raise DataError(
                f"{folder}: holds no sweep; expected sweep.json and {RESULTS}, as geoseg sweep writes them"
            )
        try:
            rows = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); the same sweep writes it again") from error
        return cls(
            folder=folder,
            name=record.name,
            created_by=record.created_by,
            score=record.score,
            goal=record.goal,
            stages=tuple(record.stages),
            parameters=tuple(record.parameters),
            trials=tuple(record.trials),
            decisions=tuple(record.decisions),
            rows=rows,
        )

    def run_folder(self, trial: str) -> Path:
        """Return the folder of a trial's run.

        Parameters
        ----------
        trial : str
            Its name.
        """
        return self.folder / TRIALS / trial

    def best_rows(self) -> pd.DataFrame:
        """Return a row for each trial that has been scored: its best epoch."""
        return self.rows[self.rows["best"]]
