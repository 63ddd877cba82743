"""What a sweep is and which trials it has: `sweep.json` in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from geoseg.errors import OutputError
from geoseg.storage.durable import write_bytes

SWEEP: Final = "sweep.json"
TRIALS: Final = "trials"
"""Folder of the trials' run folders."""
_FORMAT: Final = 1

Status: TypeAlias = Literal["waiting", "running", "finished", "failed", "pruned"]
Goal: TypeAlias = Literal["max", "min"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One training of a sweep.

    Parameters
    ----------
    trial : str
        Its name, ``t0001`` and so on, which is that of its run's folder.
    stage : str
        The stage that it was first needed in.
    parameters : mapping of str to str
        Values, as YAML text, by their paths in the configuration.
    seed : int
        Seed of the training.
    fold : int or None
        Number of the fold that it holds back, from 1; None without folds.
    settings : str
        Digest of all settings of the training, which tells equal trials.
    """

    trial: str
    stage: str
    parameters: Mapping[str, str]
    seed: int
    fold: int | None
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a stage has decided.

    Parameters
    ----------
    stage : str
        Name of the stage.
    chosen : mapping of str to str
        Values that the later stages keep.
    said : str
        Sentence on how sure that is.
    """

    stage: str
    chosen: Mapping[str, str]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRecord:
    """A sweep as its folder keeps it.

    Parameters
    ----------
    name : str
        Name of the sweep.
    created_by : str
        Program and version.
    score : str
        Column of the score that counts, such as ``val/per_image/dice/roof``.
    goal : "max" or "min"
        Whether more of it is better.
    base : mapping
        Settings of the configuration before anything varies, by their paths.
    folds : int, "groups" or None
        Number of folds that each configuration is trained on.
    stages : sequence of str
        Names of the stages in their order.
    parameters : sequence of str
        Paths that vary, in order.
    trials : sequence of TrialRecord
        All trials so far.
    decisions : sequence of Decision
        What the finished stages have decided.
    """

    name: str
    created_by: str
    score: str
    goal: Goal
    base: Mapping[str, Any]
    folds: int | Literal["groups"] | None = None
    stages: Sequence[str] = ()
    parameters: Sequence[str] = ()
    trials: Sequence[TrialRecord] = field(default=())
    decisions: Sequence[Decision] = field(default=())

    @classmethod
    def read(cls, folder: Path) -> SweepRecord | None:
        """Read the record in a folder; None if there is none.

        Raises
        ------
        OutputError
            If it cannot be read.
        """
        path = folder / SWEEP
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                name=found["name"],
                created_by=found["created_by"],
                score=found["score"]["name"],
                goal=found["score"]["goal"],
                base=found["base"],
                folds=found["folds"],
                stages=tuple(found["stages"]),
                parameters=tuple(found["parameters"]),
                trials=tuple(TrialRecord(**each) for each in found["trials"]),
                decisions=tuple(Decision(**each) for each in found["decisions"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise OutputError(
                f"{path}: is no record of a sweep ({type(error).__name__}: {error}); choose another folder"
            ) from error

    def write(self, folder: Path) -> None:
        """Write it, atomically."""
        content = {
            "format": _FORMAT,
            "name": self.name,
            "created_by": self.created_by,
            "score": {"name": self.score, "goal": self.goal},
            "stages": list(self.stages),
            "parameters": list(self.parameters),
            "folds": self.folds,
            "base": dict(self.base),
            "decisions": [
                {"stage": each.stage, "chosen": dict(each.chosen), "said": each.said} for each in self.decisions
            ],
            "trials": [
                {
                    "trial": each.trial, "stage": each.stage, "parameters": dict(each.parameters),
                    "seed": each.seed, "fold": each.fold, "settings": each.settings,
                }
                for each in self.trials
            ],
        }  # fmt: skip
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        write_bytes(folder / SWEEP, text.encode())
