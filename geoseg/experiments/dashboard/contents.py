"""What the page of a sweep is made of: its trials, curves, confusion and pictures, as JSON values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from geoseg.experiments.dashboard.kept import confusion_of, pictures_of
from geoseg.experiments.record import TRIALS, TrialRecord
from geoseg.experiments.table import SweepTable

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
REPORT: Final = "report.html"
_CURVES: Final = 8
"""Scores whose curves are kept."""
_POINTS: Final = 20_000
"""Points of one score's curves: beyond that every curve is thinned."""
_FIRST: Final = (
    "val/loss", "train/loss", "val/mean_iou", "val/mean_dice", "val/per_image/mean_iou", "val/per_image/mean_dice",
    "val/accuracy",
)  # fmt: skip


def contents(table: SweepTable) -> Json:
    """Return everything that the page of a sweep shows, as JSON values without NaN.

    Parameters
    ----------
    table : SweepTable
        The sweep.
    """
    frame = table.rows
    keys = _scores(frame, table.score)
    rows = {str(trial): part for trial, part in frame.groupby("trial", sort=False)}
    step = max(1, math.ceil(len(frame) / _POINTS))
    trials, points = [], []
    for planned in table.trials:
        found = rows.get(planned.trial)
        trial = _trial(table, planned, found)
        best = None if found is None else _best(found, table)
        if found is not None and best is not None:
            row: dict[Any, Any] = found.loc[best].to_dict()
            trial |= {
                "score": _number(row[table.score], 9),
                "best": int(row["epoch"]),
                "scores": [_number(row[key], 6) for key in keys],
            }
        trials.append(trial)
        points.append(_points(found, keys[:_CURVES], best, step))
    return {
        "name": table.name,
        "made": table.created_by,
        "score": _name(table.score),
        "goal": table.goal,
        "stages": list(table.stages),
        "decisions": [{"stage": each.stage, "said": each.said} for each in table.decisions],
        "parameters": list(table.parameters),
        "scores": [_name(key) for key in keys],
        "curves": min(len(keys), _CURVES),
        "thinned": step > 1,
        "trials": trials,
        "points": points,
        **_kept(table, trials),
    }


def _name(column: str) -> str:
    """Return what a column of scores is called on the page."""
    return "training loss" if column == "train/loss" else column.removeprefix("val/")


def _scores(frame: pd.DataFrame, score: str) -> list[str]:
    """Return the columns of scores: the one that counts, losses and means, then all others."""
    known = [str(column) for column in frame.columns if str(column).startswith(("val/", "train/"))]
    order = [score, *_FIRST, *known]
    return [key for key in dict.fromkeys(order) if key in known]


def _trial(table: SweepTable, planned: TrialRecord, found: pd.DataFrame | None) -> Json:
    """Return a trial without its scores; one without rows is waiting."""
    last = None if found is None else found.iloc[-1]
    values = planned.parameters
    report = table.run_folder(planned.trial) / REPORT
    return {
        "trial": planned.trial,
        "stage": planned.stage,
        "seed": planned.seed,
        "fold": planned.fold,
        "values": [values.get(path) for path in table.parameters],
        "status": "waiting" if last is None else str(last["status"]),
        "reason": "" if last is None else str(last["reason"] or ""),
        "epochs": 0 if found is None else int(found["epoch"].notna().sum()),
        "cpu": None if found is None else _number(found["cpu_seconds"].max(), 6),
        "seconds": None if found is None else _number(found["seconds"].max(), 6),
        "report": f"{TRIALS}/{quote(planned.trial)}/{REPORT}" if report.exists() else None,
        "score": None, "best": None, "scores": [],
    }  # fmt: skip


def _best(found: pd.DataFrame, table: SweepTable) -> Any:
    """Return the row of the epoch that the model was taken from, or of the best so far; None without scores."""
    if table.score not in found:
        return None
    scored = found[found[table.score].notna() & found["epoch"].notna()]
    if scored.empty:
        return None
    chosen = scored[scored["best"].fillna(value=False).astype(bool)]
    if not chosen.empty:
        return chosen.index[-1]
    return scored[table.score].idxmin() if table.goal == "min" else scored[table.score].idxmax()


def _points(found: pd.DataFrame | None, keys: list[str], best: Any, step: int) -> list[list[Any]]:
    """Return epochs and, for each score, its values; of a thinned curve the best and the last epoch stay."""
    if found is None:
        return [[], *([] for _ in keys)]
    done = found[found["epoch"].notna()]
    if step > 1 and len(done):
        kept = {*done.index[::step], done.index[-1], best}
        done = done[[at in kept for at in done.index]]
    return [
        [int(epoch) for epoch in done["epoch"]],
        *([_number(value, 4) for value in done[key]] for key in keys),
    ]


def _number(value: Any, digits: int) -> float | None:
    """Return a number with so many digits; None for what JSON has no number for."""
    number = float("nan") if value is None else float(value)
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def _kept(table: SweepTable, trials: list[Json]) -> Json:
    """Return confusion and pictures of the finished trials, or why there are none."""
    finished = [trial["trial"] for trial in trials if trial["status"] == "finished"]
    reports = {name: table.run_folder(name) / REPORT for name in finished}
    return {
        "confusion": {name: confusion_of(table.run_folder(name)) for name in finished},
        **pictures_of({name: path for name, path in reports.items() if path.exists()}),
    }
