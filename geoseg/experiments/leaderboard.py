"""One row for each configuration of a sweep: the scores of its trials put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg.experiments.record import SweepRecord
from geoseg.experiments.table import LEADERBOARD, SweepTable
from geoseg.storage.durable import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def of_table(table: SweepTable) -> pd.DataFrame:
    """Return the leaderboard of a sweep that was read from its folder."""
    return leaderboard(table.rows, table)


def leaderboard(rows: pd.DataFrame, record: SweepRecord | SweepTable) -> pd.DataFrame:
    """Return a row for each configuration, the best mean first; without a finished trial at the end.

    Columns: ``rank``, ``stage``, the parameters, ``mean``, ``min``, ``max``, ``spread`` (standard deviation) and
    ``count`` of the finished trials' scores at their best epochs, ``failed`` and ``pruned`` trials, ``seconds`` and
    ``cpu_seconds`` of a finished trial on average, ``trials`` by name.

    Parameters
    ----------
    rows : DataFrame
        A row for each trial and epoch.
    record : SweepRecord or SweepTable
        The sweep.
    """
    import pandas as pd

    names = [f"param/{path}" for path in record.parameters]
    last = rows.groupby("trial", sort=True).tail(1).set_index("trial")
    best = rows[rows["best"]].set_index("trial")[record.score]
    last = last.assign(score=best.reindex(last.index))
    found: list[dict[str, Any]] = []
    for key, group in last.groupby([*names] or (lambda _: 0), sort=False, dropna=False):
        done = group[group["status"] == "finished"]
        scores = done["score"].dropna()
        texts = dict(zip(names, key if isinstance(key, tuple) else (key,), strict=False))
        found.append(
            {
                "stage": group["stage"].iloc[0],
                **texts,
                "mean": scores.mean(),
                "min": scores.min(),
                "max": scores.max(),
                "spread": scores.std(),
                "count": len(scores),
                "failed": int((group["status"] == "failed").sum()),
                "pruned": int((group["status"] == "pruned").sum()),
                "seconds": done["seconds"].mean(),
                "cpu_seconds": done["cpu_seconds"].mean(),
                "trials": " ".join(group.index),
            }
        )
    columns = [
        "stage", *names, "mean", "min", "max", "spread", "count", "failed", "pruned", "seconds", "cpu_seconds",
        "trials",
    ]  # fmt: skip
    table = pd.DataFrame(found, columns=columns)
    table = table.sort_values("mean", ascending=record.goal == "min", kind="stable", na_position="last")
    table.insert(0, "rank", range(1, len(table) + 1))
    return table.reset_index(drop=True)


def write_leaderboard(table: pd.DataFrame, folder: Path) -> None:
    """Write ``leaderboard.csv``, atomically."""
    write_bytes(folder / LEADERBOARD, table.to_csv(index=False, float_format="%.6g").encode())
